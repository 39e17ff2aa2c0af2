// Which programs, in which order and with which settings, make a row of the paper's table, or the same chain on a
// small scale. A plan is made before anything runs: --dry_run prints it, and a second start goes through the same one.

#ifndef TEC_EVAL_REPRODUCE_PLAN_H_
#define TEC_EVAL_REPRODUCE_PLAN_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "tec/config/row.pb.h"

namespace tec {

enum class Scale {
  kPaper,  // The row as published.
  kMini,   // Minutes on two cores: a base model, then new models against it, on small pictures.
};

struct ReproduceOptions {
  std::string row = "vit_b_mae_300ep";
  Scale scale = Scale::kPaper;
  std::string data_path;  // A folder with train/, and val/ or test/, one folder a class in each.
  std::string
      base_model;  // kPaper: the row's base model. With stages: the first model of the chain; empty: it is made.
  std::string output_dir;
  std::string device = "cuda";
  int ranks = 0;  // Processes on this machine; 0: one or, in a dry run of a row, as many as published. kMini: 1.
  std::vector<int64_t> seeds;                            // kPaper: one; empty: the reference's.
  int64_t threads = 0;                                   // As --threads of the programs.
  int64_t num_workers = 0;                               // As --num_workers.
  int64_t train_images = 10000, held_out_images = 2000;  // kMini: at most so many of data_path.
  int64_t epochs = 0;                                    // kMini: of each training run, for a trial; 0: the chain's.
  // kMini: a chain of so many models, the first a base model (MAE), each further one against the one before; 0: the
  // comparison of MiniEncoders.
  int64_t stages = 0;
  bool finetune = false;  // With stages: finetunes each, too.
  bool dry_run = false;   // Nothing will be run: a missing data_path or base_model is told in the plan.
};

enum class Program { kPretrain, kConvert, kFinetune, kKnn, kLinear };

// Files that runs leave, by which a stage is known to be done and its result is read.
enum class ResultKind { kNone, kFinetuneLog, kKnnJson, kLinearJson };

struct Stage {
  std::string name;  // Unique, "seed-0/tec": the stage's folder under output_dir.
  std::string what;  // For people, a few words.
  int64_t seed = 0;
  std::string encoder;  // Whose encoder it makes or judges: "base", "tec", ...
  Program program = Program::kPretrain;
  std::vector<std::string> arguments;
  // The same for people: with a row's name for `config_path` and, by the reference's flags, every setting that its
  // README's command gives (recipe.md section 8) and its seed. Equal settings; only paths that are there run as well.
  std::vector<std::string> spelled_out;
  std::string learning_rate;  // Training: "lr 2.4e-3 = blr 1.5e-4 x 4096 images an update / 256".
  int ranks = 1;
  // The settings it is started with, as text files: path -> content.
  std::string config_path, config_text;
  std::string done_file;  // There once the stage has ended well.
  ResultKind result = ResultKind::kNone;
  int64_t link = 0;  // Of a chain: the number of the model that it makes or judges, from 0.
  // What it costs; 0 where nothing is counted.
  double images = 0;            // Training images seen, times epochs.
  double flops = 0;             // Of training.
  double evaluation_flops = 0;  // Of what kNN or finetuning evaluates, in all epochs.
  double written_bytes = 0;     // Checkpoints; finetuning: at most, with a better accuracy after every epoch.
};

struct ReproducePlan {
  ReproduceOptions options;
  config::Row row;
  std::vector<Stage> stages;
  std::vector<std::string> missing;  // dry_run: inputs that a run needs, and where they are published.
};

struct ImageCounts {
  int64_t train = 0;
  int64_t held_out = 0;
};
inline constexpr ImageCounts kImageNet = {1281167, 50000};

// InvalidArgument or NotFound for an unknown row, missing or wrong options. Does not look at any file.
// `images`: in the data set, for the costs.
absl::StatusOr<ReproducePlan> MakePlan(const ReproduceOptions& options, const ImageCounts& images);

// Names of the encoders in the order of the small scale's comparison, and what they are.
struct MiniEncoder {
  std::string name;
  std::string what;
};
const std::vector<MiniEncoder>& MiniEncoders();
// Of a chain: "stage-0", "base model (MAE)"; "stage-1", "new model 1 (TEC)"; ...
std::vector<MiniEncoder> ChainEncoders(const ReproduceOptions& options);

// The program's path in this workspace: "tec/pretrain".
const char* PathOf(Program program);

// What a process is taken to sustain unless the user says otherwise, with the reason for people.
struct Throughput {
  double flops_per_second = 0;
  const char* what = "";
};
Throughput DefaultThroughput(Scale scale);

// The stages as text: commands with their settings, images, FLOPs, bytes, and hours at `throughput` a rank.
std::string DescribePlan(const ReproducePlan& plan, const Throughput& throughput);

}  // namespace tec

#endif  // TEC_EVAL_REPRODUCE_PLAN_H_
