// //eval:knn: how well the nearest training images name a held-out image's class, by frozen features.
//
//   ./bazelw run //eval:knn -- --checkpoint=runs/tec/checkpoint-299.pth --data_path=/imagenet
//
// Exit codes: 0 done, 1 bad use or input, 2 failed while running.

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "ATen/ATen.h"
#include "ATen/Parallel.h"
#include "absl/flags/flag.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "data/dataset/dataset.h"
#include "eval/features/features.h"
#include "eval/features/pretrained.h"
#include "eval/knn/knn_classifier.h"
#include "eval/metrics/class_map.h"
#include "eval/progress/count_progress.h"
#include "nlohmann/json.hpp"
#include "tec/base/exit_code.h"
#include "tec/base/file.h"
#include "tec/base/logging.h"
#include "tec/base/path.h"
#include "tec/base/status.h"
#include "tec/config/flag_parser.h"
#include "tec/train/torch_runtime.h"

ABSL_FLAG(std::string, checkpoint, "",
          "The weights: a checkpoint of //tec:pretrain or //eval:finetune, or a ViT encoder.");
ABSL_FLAG(std::string, data_path, "", "A folder with train/, and val/ or test/, each with one folder a class.");
ABSL_FLAG(std::string, k, "10,20,100,200", "Numbers of neighbours that vote, separated by commas.");
ABSL_FLAG(double, temperature, 0.07, "A neighbour's vote counts exp(cosine / temperature).");
ABSL_FLAG(std::string, features, "cls", "cls: the [CLS] token after the final norm; pool: the patch tokens' mean.");
ABSL_FLAG(int64_t, heads, 0,
          "Attention heads of an encoder that is wider or narrower than the named sizes, where the "
          "checkpoint does not record them; 0: as recorded, or the usual number for the width.");
ABSL_FLAG(int64_t, batch_size, 64, "Images a forward pass.");
ABSL_FLAG(int64_t, num_workers, 10, "Threads that decode images.");
ABSL_FLAG(double, max_bad_fraction, 0.001, "More unreadable images than this part of a set end the run.");
ABSL_FLAG(std::string, device, "cuda", "cuda or cpu.");
ABSL_FLAG(int64_t, threads, 0, "Compute threads on the CPU; 0: all cores.");
ABSL_FLAG(std::string, output_dir, "", "Folder for results.json; empty: print only.");

namespace tec {
namespace {

std::vector<FlagGroup> Flags() {
  return {{"What is evaluated",
           {{"checkpoint"}, {"data_path"}, {"features"}, {"k"}, {"temperature"}, {"heads"}, {"output_dir"}}},
          {"How it runs", {{"device"}, {"threads"}, {"batch_size"}, {"num_workers"}, {"max_bad_fraction"}}}};
}

constexpr char kUsage[] =
    "Weighted k-nearest-neighbour classification of frozen features.\n\n"
    "  ./bazelw run //eval:knn -- --checkpoint=runs/tec/checkpoint-299.pth --data_path=/imagenet\n\n"
    "The bank is data_path/train, the queries are data_path/val or data_path/test. An image that has exactly the "
    "model's\n"
    "size is used as it is; any other is resized and cut as for finetuning's evaluation.\n\n";

struct KnnSettings {
  std::string checkpoint, data_path, output_dir;
  FeatureOptions features;
  KnnOptions knn;
};

absl::StatusOr<KnnSettings> SettingsFromFlags() {
  KnnSettings settings;
  settings.checkpoint = UserPath(absl::GetFlag(FLAGS_checkpoint));
  settings.data_path = UserPath(absl::GetFlag(FLAGS_data_path));
  settings.output_dir = UserPath(absl::GetFlag(FLAGS_output_dir));
  if (settings.checkpoint.empty()) return absl::InvalidArgumentError("--checkpoint is needed: the weights to evaluate");
  if (settings.data_path.empty()) {
    return absl::InvalidArgumentError("--data_path is needed: a folder with train/, and val/ or test/");
  }
  settings.knn.temperature = absl::GetFlag(FLAGS_temperature);
  settings.knn.k.clear();
  for (absl::string_view part : absl::StrSplit(absl::GetFlag(FLAGS_k), ',')) {
    int64_t k = 0;
    if (!absl::SimpleAtoi(part, &k) || k <= 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("--k=", absl::GetFlag(FLAGS_k), ": \"", part, "\" is not a whole number from 1"));
    }
    settings.knn.k.push_back(k);
  }
  TEC_RETURN_IF_ERROR(Validate(settings.knn));
  const std::string kind = absl::GetFlag(FLAGS_features);
  if (kind != "cls" && kind != "pool") {
    return absl::InvalidArgumentError(absl::StrCat("--features=", kind, ": it must be cls or pool"));
  }
  settings.features.kind = kind == "cls" ? FeatureKind::kCls : FeatureKind::kPool;
  settings.features.batch_size = absl::GetFlag(FLAGS_batch_size);
  settings.features.threads = static_cast<int>(absl::GetFlag(FLAGS_num_workers));
  settings.features.max_bad_fraction = absl::GetFlag(FLAGS_max_bad_fraction);
  if (settings.features.batch_size < 1 || settings.features.threads < 1) {
    return absl::InvalidArgumentError("--batch_size and --num_workers must be at least 1");
  }
  return settings;
}

absl::StatusOr<std::shared_ptr<const Dataset>> OpenLabelled(const std::string& path, Split split) {
  TEC_ASSIGN_OR_RETURN(std::unique_ptr<Dataset> dataset, OpenDataset(path, split));
  if (!dataset->labelled()) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, split == Split::kTrain ? ": the training" : ": the held-out",
                     " images have no labels; kNN needs one folder a class, or a list with labels"));
  }
  return std::shared_ptr<const Dataset>(std::move(dataset));
}

absl::StatusOr<Features> Extract(Encoder& encoder, std::shared_ptr<const Dataset> dataset, FeatureOptions options,
                                 const std::string& what) {
  CountProgress progress(absl::StrCat("features of ", what), stderr);
  options.progress = [&](int64_t done, int64_t total) { progress.Update(done, total); };
  return ExtractFeatures(encoder, std::move(dataset), options);
}

absl::Status Run(KnnSettings settings) {
  // Everything that can be wrong with the input is looked at before the long work starts.
  TEC_ASSIGN_OR_RETURN(const at::Device device, SelectDevice(absl::GetFlag(FLAGS_device)));
  if (absl::GetFlag(FLAGS_threads) > 0) at::set_num_threads(static_cast<int>(absl::GetFlag(FLAGS_threads)));
  TEC_ASSIGN_OR_RETURN(const Pretrained pretrained, ReadPretrained(settings.checkpoint, absl::GetFlag(FLAGS_heads)));
  absl::StatusOr<std::shared_ptr<Encoder>> encoder = MakeEncoder(pretrained);
  if (!encoder.ok()) return Annotate(encoder.status(), settings.checkpoint);
  (*encoder)->to(device);
  TEC_ASSIGN_OR_RETURN(std::shared_ptr<const Dataset> train, OpenLabelled(settings.data_path, Split::kTrain));
  TEC_ASSIGN_OR_RETURN(std::shared_ptr<const Dataset> held_out, OpenLabelled(settings.data_path, Split::kHeldOut));
  absl::StatusOr<std::vector<int64_t>> map = MapClasses(train->classes(), held_out->classes());
  if (!map.ok()) return Annotate(map.status(), settings.data_path);
  if (!settings.output_dir.empty()) TEC_RETURN_IF_ERROR(MakeDirectories(settings.output_dir));
  settings.features.mean = pretrained.mean;
  settings.features.std = pretrained.std;

  std::printf("%s: %s\n", settings.checkpoint.c_str(), pretrained.description.c_str());
  std::printf("%s: %d training images, %d held-out images, %d classes\n", settings.data_path.c_str(),
              static_cast<int>(train->size()), static_cast<int>(held_out->size()),
              static_cast<int>(train->classes().size()));
  const int64_t classes = static_cast<int64_t>(train->classes().size());
  TEC_ASSIGN_OR_RETURN(const Features bank, Extract(**encoder, train, settings.features, "the training images"));
  TEC_ASSIGN_OR_RETURN(const Features queries, Extract(**encoder, held_out, settings.features, "the held-out images"));
  const at::Tensor labels = at::tensor(*map, at::kLong).index_select(0, queries.labels);

  TEC_ASSIGN_OR_RETURN(const KnnClassifier knn,
                       KnnClassifier::Create(bank.values.to(device), bank.labels.to(device), classes, settings.knn));
  TEC_ASSIGN_OR_RETURN(const std::vector<KnnAccuracy> results, knn.Evaluate(queries.values.to(device), labels));

  nlohmann::ordered_json json = {{"checkpoint", settings.checkpoint},
                                 {"encoder", pretrained.description},
                                 {"data_path", settings.data_path},
                                 {"features", absl::GetFlag(FLAGS_features)},
                                 {"temperature", settings.knn.temperature},
                                 {"train_images", bank.values.size(0)},
                                 {"test_images", queries.values.size(0)},
                                 {"unreadable_train_images", bank.unreadable},
                                 {"unreadable_test_images", queries.unreadable},
                                 {"classes", train->classes()}};
  std::printf("\n%8s %8s %8s\n", "k", "top-1", "top-5");
  for (const KnnAccuracy& result : results) {
    const bool whole_bank = result.k > knn.bank_size();
    std::printf(
        "%8d %8.2f %8.2f%s\n", static_cast<int>(result.k), result.top1, result.top5,
        whole_bank ? absl::StrCat("   (k is larger than the bank: all ", knn.bank_size(), " voted)").c_str() : "");
    // A class without held-out images has no accuracy: NaN, which JSON writes as null.
    json["results"].push_back({{"k", result.k},
                               {"neighbours", std::min(result.k, knn.bank_size())},
                               {"top1", result.top1},
                               {"top5", result.top5},
                               {"per_class_top1", result.per_class_top1}});
  }
  if (!settings.output_dir.empty()) {
    const std::string path = absl::StrCat(settings.output_dir, "/results.json");
    TEC_RETURN_IF_ERROR(WriteFile(path, absl::StrCat(json.dump(2), "\n")));
    std::printf("\nwritten to %s\n", path.c_str());
  }
  return absl::OkStatus();
}

int Main(int argc, char** argv) {
  InitLogging(argv[0]);
  const std::vector<FlagGroup> flags = Flags();
  const absl::StatusOr<ParsedFlags> parsed = ParseFlags(argc, argv, flags);
  if (parsed.ok() && parsed->help) {
    std::printf("%s%s", kUsage, DescribeFlags(flags).c_str());
    return 0;
  }
  absl::Status status = parsed.status();
  if (status.ok()) {
    const absl::StatusOr<KnnSettings> settings = SettingsFromFlags();
    status = settings.ok() ? CatchTorch([&] { return Run(*settings); }) : settings.status();
  }
  if (!status.ok()) std::fprintf(stderr, "knn: %s\n", std::string(status.message()).c_str());
  return ExitCodeOf(status);
}

}  // namespace
}  // namespace tec

int main(int argc, char** argv) { return tec::Main(argc, argv); }
