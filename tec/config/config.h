// From a name or a text file to an experiment in which every field is set and sound.
//
//   TEC_ASSIGN_OR_RETURN(config::Experiment experiment, LoadExperiment("vit_b_mae_300ep"));
//   experiment.mutable_data()->set_path("/imagenet");
//   experiment.mutable_base_model()->set_path("/checkpoints/mae_pretrain_vit_base.pth");
//   experiment = Resolve(experiment);
//   TEC_RETURN_IF_ERROR(Validate(experiment));
//   WriteFile(output_dir + "/experiment.textproto", ToText(experiment));   // LoadExperiment reads it back
//
// Order of precedence, weakest first: ReferenceExperiment(), the file, the command line (flags.h). Named sizes and
// other derived values are filled in last, by Resolve, and only where nothing else was said.

#ifndef TEC_CONFIG_CONFIG_H_
#define TEC_CONFIG_CONFIG_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tec/config/experiment.pb.h"

namespace tec {

// What the choice of the default precision depends on.
struct Machine {
  bool cpu_bfloat16 = false;  // The processor multiplies bfloat16 (AVX512_BF16, which every AMX processor has too).
  bool gpu_bfloat16 = true;   // Every GPU since 2020 does. A program that sees LibTorch may ask and correct this.
};
Machine ThisMachine();

// The defaults of the reference's main_pretrain.py (recipe.md sections 6, 7 and 9), and for what it lacks a value that
// changes nothing about its results. Not resolved: sizes that follow from a name are unset.
config::Experiment ReferenceExperiment();

// The experiment of an embedded name (ExperimentNames) or of a text file, which may be a row's (row.proto), over
// ReferenceExperiment(). Not resolved.
// Errors: NotFound with the nearest known name; InvalidArgument with "file:line:column: problem" (text.h).
absl::StatusOr<config::Experiment> LoadExperiment(const std::string& name_or_file);

// The same for text in memory; `file` is what messages call it.
absl::StatusOr<config::Experiment> ParseExperiment(const std::string& text, const std::string& file);

// Names that LoadExperiment knows: the files of tec/config/experiments, without the quickstart.
std::vector<std::string> ExperimentNames();

// `experiment` with every field set, but for a model's mlp_ratio of 4: named sizes, adaptor groups, the base model's
// image size, log_dir, precision. Resolve(Resolve(e)) == Resolve(e), on any machine. Fields of an unknown name stay
// unset; Validate says so.
config::Experiment Resolve(config::Experiment experiment, const Machine& machine = ThisMachine());

enum class Paths {
  kRequired,  // An empty data.path, or base_model.path with method TEC, is a problem. No file is touched.
  kOptional,  // To show an experiment whose paths are still to be given.
};

// OK, or InvalidArgument listing every problem of a resolved experiment, one a line, each naming the field, its value
// and what would be right.
absl::Status Validate(const config::Experiment& resolved, Paths paths = Paths::kRequired);

// lr, or where that is 0: blr * batch_size * accum_iter * world_size / 256 (recipe.md section 6).
double LearningRate(const config::Optimizer& optimizer, int64_t world_size);

// int(width * mlp_ratio): hidden width of the new model's MLPs over `width`, as the reference has it.
int64_t HiddenWidth(const config::Model& model, int64_t width);

// The quickstart: its two experiments over ReferenceExperiment() like any other. "quickstart" is the embedded default;
// a file is one of a quickstart if it has the line "# proto-message: tec.config.Quickstart".
absl::StatusOr<config::Quickstart> LoadQuickstart(const std::string& name_or_file);
absl::StatusOr<bool> IsQuickstart(const std::string& name_or_file);

// Fills in the paths, all under output_dir: pictures in pictures/ (train/ and test/ in it), the two runs in mae/ and
// tec/, base_model.path = the last numbered checkpoint of mae/. The shape of tec.base_model is that of mae.model.
config::Quickstart Resolve(config::Quickstart quickstart, const Machine& machine = ThisMachine());
absl::Status Validate(const config::Quickstart& resolved);

// Text that the loaders above read back to an equal message, headed by lines that name the schema and its file.
std::string ToText(const config::Experiment& experiment);
std::string ToText(const config::Quickstart& quickstart);

}  // namespace tec

#endif  // TEC_CONFIG_CONFIG_H_
