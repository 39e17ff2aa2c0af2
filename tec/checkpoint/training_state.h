// Everything a training run needs to go on as if it had never stopped, and the folder it is kept in.
//
// A file is laid out as the reference's, {model, optimizer, epoch, scaler, args}, under the reference's names, and
// opens with torch.load(weights_only=True), so that official scripts can go on with it; what the reference does not
// save (the position inside an epoch, counters, the resolved experiment) is in one more entry, "tec". Equal states give
// equal bytes.
//
//   TEC_ASSIGN_OR_RETURN(CheckpointFolder folder, CheckpointFolder::Open(output_dir));
//   absl::StatusOr<LoadedState> newest = folder.LoadNewest();      // NotFound: nothing to resume from
//   TEC_RETURN_IF_ERROR(folder.SaveThis(state));                   // this_checkpoint.pth, one generation kept
//   TEC_RETURN_IF_ERROR(folder.SaveNumbered(state, epoch));        // checkpoint-<epoch>.pth
//
// A run saves in the background: background_saver.h.
//
// No LibTorch here: tensors are views (tensor_view.h); torch_tensors.h makes views of at::Tensors without a copy.

#ifndef TEC_CHECKPOINT_TRAINING_STATE_H_
#define TEC_CHECKPOINT_TRAINING_STATE_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "tec/checkpoint/tensor_view.h"
#include "tec/checkpoint/value.h"

namespace tec {

// One of AdamW's parameter groups. Parameters are numbered through all groups in order, as PyTorch does: group 0 holds
// 0..n0-1, group 1 n0.., whatever their place in the model.
struct OptimizerGroup {
  double lr = 0;
  double beta1 = 0.9, beta2 = 0.999;
  double eps = 1e-8;
  double weight_decay = 0;
  // Multiplies the schedule (layer-wise decay); written only if set, as the reference does.
  std::optional<double> lr_scale;
  int64_t num_parameters = 0;
};

// AdamW's state of one parameter.
struct MomentState {
  // Updates done. Written as a float32 scalar tensor, PyTorch's present form; a plain number is read too.
  int64_t step = 0;
  TensorView exp_avg, exp_avg_sq;  // The parameter's shape.
};

struct OptimizerState {
  std::vector<OptimizerGroup> groups;
  // By parameter number. A parameter without a key has had no update.
  std::map<int64_t, MomentState> moments;
};

// State of torch.cuda.amp.GradScaler, as a new one has it. Absent without loss scaling: the file then holds these
// values, because an enabled GradScaler refuses an empty dict and the reference's scripts always load one, and "tec"
// says that there was none.
struct ScalerState {
  double scale = 65536;
  double growth_factor = 2;
  double backoff_factor = 0.5;
  int64_t growth_interval = 2000;
  int64_t growth_tracker = 0;
};

struct TrainingState {
  // In state-dict order, under the reference's names, with frozen tables.
  StateDict model;
  OptimizerState optimizer;
  // The last epoch that is finished; -1 while the first one runs. `next_micro_step` micro-steps of the epoch after it
  // are done (0: at a boundary).
  int64_t epoch = -1;
  int64_t next_micro_step = 0;
  std::optional<ScalerState> scaler;
  // The reference's args, as a plain dict of None, bool, int, float, str.
  Value args = Value::Dict();
  // "tec" or "mae" or "finetune": what kind of training this belongs to.
  std::string method;
  // The resolved experiment as textproto.
  std::string experiment;
  // Whatever else must survive: total updates, images seen, sums of a running average. Named; exact.
  std::map<std::string, int64_t> counters;
  std::map<std::string, double> numbers;
  // An average of the model's weights, as timm's and MAE's files have it, under the names of `model`. Usually empty;
  // the file then has no such entry.
  StateDict model_ema;
  // Tensors beside the model's, e.g. gradients of an unfinished accumulation. Usually empty.
  StateDict extra;
};

// To and from the value tree of the file. FromValue checks everything: kinds, that groups and moments fit together,
// that moments are there for no parameter beyond the groups. It reads files of the reference's own scripts too (no
// "tec" entry; args a Namespace); what they lack stays at its default.
Value ToValue(const TrainingState& state);
absl::StatusOr<TrainingState> TrainingStateFromValue(const Value& root);

// What evaluating and finetuning need of a state: the encoder with its input adaptor or, of a finetuned model, all of
// the model, and the record of the run; no optimiser. A quarter of the file. Nothing goes on from it, which it says.
TrainingState EncoderOf(const TrainingState& state);
bool IsEncoderOnly(const TrainingState& state);

// Writes one file whole or not at all. Before the first byte the free space is looked at: ResourceExhausted names what
// is needed and what is there. A disk that fills up meanwhile gives the same code and leaves the old file as it was.
absl::Status SaveTrainingState(const std::string& path, const TrainingState& state);

// Reads and checks the whole file. InvalidArgument or DataLoss: it is damaged, the device cannot read it, or it is no
// training state.
absl::StatusOr<TrainingState> LoadTrainingState(const std::string& path);

// A state and where it came from.
struct LoadedState {
  TrainingState state;
  std::string path;
  // Newer files that could not be used, "path: why".
  std::vector<std::string> skipped;
};

class CheckpointFolder {
 public:
  static constexpr char kThis[] = "this_checkpoint.pth";
  static constexpr char kPrevious[] = "this_checkpoint.prev.pth";
  // What was this_checkpoint.pth and turned out to be damaged when the next one was saved.
  static constexpr char kDamaged[] = "this_checkpoint.damaged.pth";

  // Makes the folder if it is missing and removes what killed saves left there.
  static absl::StatusOr<CheckpointFolder> Open(const std::string& directory);

  // Replaces this_checkpoint.pth; what it was becomes this_checkpoint.prev.pth. At every moment, a crash included, at
  // least one of the two is whole. A file from before this object is read through first: a damaged one is renamed to
  // kDamaged, with a warning, and does not push the generation before out.
  // twin: a name in the folder that holds this very state already, or "": the file then gets a second name there, where
  // the file system has hard links, in place of being written again. As in the next ones.
  absl::Status SaveThis(const TrainingState& state, const std::string& twin = "") const;
  // Writes checkpoint-<epoch>.pth.
  absl::Status SaveNumbered(const TrainingState& state, int64_t epoch) const;
  // Writes the file of that name: this_checkpoint.pth as SaveThis does, any other one whole or not at all.
  absl::Status Save(const TrainingState& state, const std::string& name, const std::string& twin = "") const;
  // Removes all numbered files but the `count` newest; 0: none.
  absl::Status KeepLast(int64_t count) const;

  // The newest state that is whole: this_checkpoint.pth, else the previous one, else checkpoint-N by falling N, those
  // with the encoder alone (EncoderOf) passed over. Falling
  // back is logged with the names of both files. NotFound if there is no checkpoint at all; DataLoss listing every file
  // if all are damaged (starting anew would overwrite them); any other error (no permission) as it came.
  absl::StatusOr<LoadedState> LoadNewest() const;

  std::string PathOf(const std::string& name) const;
  std::string NumberedPath(int64_t epoch) const { return PathOf(NumberedName(epoch)); }
  // "checkpoint-<epoch>.pth", and the epoch of such a name; nothing for another name.
  static std::string NumberedName(int64_t epoch);
  static std::optional<int64_t> EpochOfName(absl::string_view name);

 private:
  // Puts the state at `path`: written, or linked to `twin`.
  absl::Status Place(const TrainingState& state, const std::string& path, const std::string& twin) const;
  // Of the numbered files, falling.
  absl::StatusOr<std::vector<int64_t>> Epochs() const;

  explicit CheckpointFolder(std::string directory) : directory_(std::move(directory)) {}
  std::string directory_;
  mutable bool this_is_ours_ = false;  // Written by this object: whole.
};

}  // namespace tec

#endif  // TEC_CHECKPOINT_TRAINING_STATE_H_
