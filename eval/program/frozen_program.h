// What the programs that judge a frozen encoder (kNN, linear probe, logistic regression) share: flags, opening the
// inputs, features with a store on disk, several ranks, and how a program ends.

#ifndef TEC_EVAL_PROGRAM_FROZEN_PROGRAM_H_
#define TEC_EVAL_PROGRAM_FROZEN_PROGRAM_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "c10/core/Device.h"
#include "eval/features/features.h"
#include "eval/features/labelled_data.h"
#include "tec/checkpoint/families/vit_file.h"
#include "tec/config/flag_parser.h"
#include "tec/models/encoder.h"
#include "tec/run/folder_lock.h"
#include "tec/run/run_context.h"

namespace tec {

// --checkpoint and what it does not tell (VitFlags), --data_path --classes --exclude --train_fraction --shots
// --subset_seed --mean --std --feature_cache --output_dir.
FlagGroup FrozenInputFlags();
// --device --precision --threads --num_workers --max_bad_fraction --seed.
FlagGroup FrozenRuntimeFlags();

struct FrozenSettings {
  std::string checkpoint, data_path, output_dir, device;
  // Folder where features are kept for the next run, and while they are computed; empty: output_dir/features, which
  // OpenFrozenInputs fills in, or nowhere without output_dir.
  std::string feature_cache;
  VitRequest encoder;   // What the checkpoint does not tell.
  int64_t threads = 0;  // 0: all cores.
  uint64_t seed = 0;
  std::string classes;               // As KeepClasses takes them.
  std::vector<std::string> exclude;  // As in DatasetOptions.
  SubsetOptions subset;
  std::vector<float> mean, std;  // Of each channel; empty: as the checkpoint says.
  FeatureOptions features;  // Its mean and std are set by OpenFrozenInputs, its spec and batch size by the program.
  // Of the ranks that share the images: set by OverRanks, or by a run with ranks of its own. Null: this process alone.
  RunContext* context = nullptr;

  // Whether this process prints and writes.
  bool first_rank() const { return context == nullptr || context->first_rank(); }
};

// The shared flags' values, checked. InvalidArgument names the flag.
absl::StatusOr<FrozenSettings> FrozenSettingsFromFlags();

struct FrozenEncoder {
  c10::Device device = c10::Device(c10::kCPU);
  std::shared_ptr<Encoder> encoder;  // On the device.
  std::string description;           // Of the encoder.
  uint64_t encoder_fingerprint = 0;  // Of its weights and of how images are normalised for it.
};

struct FrozenInputs : FrozenEncoder {
  LabelledData data;
};

// Gives `settings` a context: from then on its features are computed by all of its ranks.
void ShareOver(RunContext& context, FrozenSettings* settings);

// Meets the ranks that the launcher's environment tells of, for `body`, which all of them run with `settings` sharing
// the images over them (ShareOver). An error of one ends all, with its text; a request to stop is an error, too.
absl::Status OverRanks(FrozenSettings* settings, const std::function<absl::Status(RunContext& context)>& body);

// That the ranks have the same encoder, images and ways of computing features; otherwise InvalidArgument, on all, says
// what differs. Costs nothing with one rank.
absl::Status CompareRanks(const FrozenSettings& settings, const FrozenEncoder& encoder,
                          const std::vector<std::pair<std::string, const Dataset*>>& datasets);

// Reads the encoder. Fills in settings->features.mean and std, and sets the number of compute threads.
absl::StatusOr<FrozenEncoder> OpenFrozenEncoder(FrozenSettings* settings);

// Keeps other runs out of output_dir while it is held; nothing without one. Of several ranks the first one has it, and
// all learn of its error.
absl::StatusOr<std::unique_ptr<FolderLock>> LockOutput(const FrozenSettings& settings);

// Makes output_dir and the folder for stored features, if they are asked for, and fills in settings->feature_cache.
absl::Status MakeFrozenFolders(FrozenSettings* settings);

// Opens everything and looks for what can be wrong with it, before any long work. `use` is what the labels are for, in
// messages. OpenFrozenEncoder, the data set, MakeFrozenFolders; prints what was opened.
absl::StatusOr<FrozenInputs> OpenFrozenInputs(FrozenSettings* settings, absl::string_view use);

// Features of all of `dataset`, read from settings.feature_cache as far as they are there already, else computed and
// kept there (ExtractStored). `what`, "the training images", is for messages; `part`, "train", tells the features of
// two parts of one data set from each other on the disk. bad_images: name of the list of unreadable images in
// output_dir. Stopped, it says how far it came and returns Cancelled. Of several ranks the first one gets them.
absl::StatusOr<Features> StoredFeatures(const FrozenEncoder& encoder, const FrozenSettings& settings,
                                        const std::shared_ptr<const Dataset>& dataset, absl::string_view what,
                                        absl::string_view part, absl::string_view bad_images);

// StoredFeatures of inputs.data.train, or of held_out with its labels in the training set's numbers. A sink is for
// the training images alone.
absl::StatusOr<Features> FrozenFeatures(const FrozenInputs& inputs, const FrozenSettings& settings, Split split);

// Runs a program: parses `groups`, prints the help or the error, runs `body`, and returns the exit code. Several
// processes are refused, as each would do all of the work.
int FrozenMain(int argc, char** argv, const std::string& name, const std::string& usage,
               const std::vector<FlagGroup>& groups,
               const std::function<absl::Status(const ParsedFlags& parsed)>& body);

// The same for a program that runs over ranks, by the flags about them in addition. `prepare` reads the flags, before
// the ranks meet, and returns what is to be done, which meets them (OverRanks).
using FrozenWork = std::function<absl::Status()>;
int FrozenRanksMain(int argc, char** argv, const std::string& name, const std::string& usage,
                    std::vector<FlagGroup> groups,
                    const std::function<absl::StatusOr<FrozenWork>(const ParsedFlags& parsed)>& prepare);

}  // namespace tec

#endif  // TEC_EVAL_PROGRAM_FROZEN_PROGRAM_H_
