#include "eval/program/frozen_program.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <optional>
#include <utility>

#include "ATen/ATen.h"
#include "absl/flags/flag.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "eval/features/feature_store.h"
#include "eval/features/pretrained.h"
#include "tec/base/file.h"
#include "tec/base/fingerprint.h"
#include "tec/base/logging.h"
#include "tec/base/path.h"
#include "tec/base/printable.h"
#include "tec/base/status.h"
#include "tec/base/version.h"
#include "tec/config/distributed_flags.h"
#include "tec/config/vit_flags.h"
#include "tec/dist/environment.h"
#include "tec/dist/flags.h"
#include "tec/dist/replicas.h"
#include "tec/nn/module_state.h"
#include "tec/run/count_progress.h"
#include "tec/run/rank_runtime.h"
#include "tec/run/torch_runtime.h"

ABSL_FLAG(std::string, checkpoint, "",
          "The weights: a checkpoint of //tec:pretrain or //eval:finetune, or a ViT encoder.");
ABSL_FLAG(
    std::string, data_path, "",
    "A folder with train/, and val/ or test/, each with one folder a class, or with labelled lists, shards or packed "
    "files of these names.");
ABSL_FLAG(std::string, classes, "", "These classes alone: names separated by commas; empty: all.");
ABSL_FLAG(std::string, exclude, "",
          "Shell patterns (*, ?, [...]) of files and folders of the data set to leave out, with commas between them.");
ABSL_FLAG(double, train_fraction, 1, "Part of the training images of each class to use, 0.01 for the 1 % setting.");
ABSL_FLAG(int64_t, shots, 0, "Training images of each class to use; 0: no limit.");
ABSL_FLAG(int64_t, subset_seed, 0,
          "Which images --train_fraction and --shots choose, whatever --seed; the same in every evaluator.");
ABSL_FLAG(std::string, mean, "",
          "Of each channel, in units of the range [0, 1], to normalise by; empty: as recorded in the checkpoint, or "
          "as the model does itself (RADIO), or ImageNet's for RGB.");
ABSL_FLAG(std::string, std, "", "Standard deviation of each channel; as --mean.");
ABSL_FLAG(std::string, feature_cache, "",
          "Folder where features of unaugmented images are kept for the next run on the same checkpoint and images, "
          "and from where a run that was stopped goes on; empty: OUTPUT_DIR/features.");
ABSL_FLAG(std::string, output_dir, "", "Folder for the results; empty: print only.");

ABSL_FLAG(std::string, device, "cuda", "cuda or cpu.");
ABSL_FLAG(std::string, precision, "float32", "Of the encoder: float32, bfloat16 or float16 (CUDA only).");
ABSL_FLAG(int64_t, threads, 0, "Compute threads on the CPU; 0: all cores.");
ABSL_FLAG(int64_t, num_workers, 0, "Threads that decode images; 0: as many as this rank has cores.");
ABSL_FLAG(double, max_bad_fraction, 0.001, "More unreadable images than this part of a set end the run.");
ABSL_FLAG(int64_t, seed, 0, "Of everything random.");

namespace tec {
namespace {

absl::StatusOr<at::ScalarType> PrecisionFromFlag() {
  const std::string name = absl::GetFlag(FLAGS_precision);
  if (name == "float32") return at::kFloat;
  if (name == "bfloat16") return at::kBFloat16;
  if (name == "float16" && absl::GetFlag(FLAGS_device) != "cpu") return at::kHalf;
  return absl::InvalidArgumentError(
      absl::StrCat("--precision=", name, ": it must be float32, bfloat16 or, with CUDA, float16"));
}

// The numbers of --mean or --std; none if it is not given.
absl::StatusOr<std::vector<float>> NumbersOf(const char* flag, const std::string& text, bool positive) {
  std::vector<float> numbers;
  for (absl::string_view part : absl::StrSplit(text, ',', absl::SkipWhitespace())) {
    float number;
    if (!absl::SimpleAtof(part, &number) || !std::isfinite(number) || (positive && number <= 0)) {
      return absl::InvalidArgumentError(
          absl::StrCat("--", flag, "=", text, ": \"", part, "\" is not a ", positive ? "positive number" : "number"));
    }
    numbers.push_back(number);
  }
  return numbers;
}

// What the settings say, else what the checkpoint says.
absl::Status SetStatistics(const Pretrained& pretrained, FrozenSettings* settings) {
  FeatureOptions& features = settings->features;
  features.mean = settings->mean.empty() ? pretrained.mean : settings->mean;
  features.std = settings->std.empty() ? pretrained.std : settings->std;
  const size_t channels = pretrained.encoder.channels, means = features.mean.size(), deviations = features.std.size();
  if (means == channels && deviations == channels) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(settings->checkpoint, " (", pretrained.description,
                                                 ") takes images of ", channels, " channels, for which there are ",
                                                 means, " means and ", deviations,
                                                 " deviations: give --mean and --std with a number for each channel"));
}

uint64_t FingerprintOfEncoder(const Encoder& encoder, const FeatureOptions& options) {
  Fingerprint fingerprint;
  for (const auto& [name, tensor] : NamedState(encoder)) {
    const at::Tensor values = tensor.detach().cpu().contiguous();
    fingerprint.Add(name).Add(values.const_data_ptr(), values.nbytes());
  }
  const VitOptions& vit = encoder.options();
  for (const int64_t size : {vit.image_size, vit.patch_size, vit.heads}) fingerprint.Add(&size, sizeof(size));
  // What no tensor's shape shows.
  const VitVariant& variant = vit.variant;
  const int64_t activation = static_cast<int64_t>(variant.activation);
  fingerprint.Add(&activation, sizeof(activation)).Add(&variant.norm_epsilon, sizeof(variant.norm_epsilon));
  for (const int64_t value :
       {variant.registers, variant.hidden, int64_t{variant.pre_norm}, int64_t{variant.relative_positions}}) {
    fingerprint.Add(&value, sizeof(value));
  }
  // Of what came later only where it is not as it was: runs and features of before stay good.
  const VitVariant usual;
  const auto add_unusual = [&fingerprint](absl::string_view name, int64_t value, int64_t usual_value) {
    if (value != usual_value) fingerprint.Add(name).Add(&value, sizeof(value));
  };
  add_unusual("pool_hidden", variant.pool_hidden, usual.pool_hidden);
  add_unusual("class_token", variant.class_token, usual.class_token);
  add_unusual("rms_norm", variant.rms_norm, usual.rms_norm);
  add_unusual("patch_norm", variant.patch_norm, usual.patch_norm);
  add_unusual("post_norm", variant.post_norm, usual.post_norm);
  add_unusual("attention_norm", variant.attention_norm, usual.attention_norm);
  add_unusual("mlp_norm", variant.mlp_norm, usual.mlp_norm);
  add_unusual("final_norm", variant.final_norm, usual.final_norm);
  const RotaryGrid& rotary = variant.rotary;
  if (!rotary.frequencies.empty()) {
    for (const double value : {rotary.shift, rotary.span, rotary.origin}) fingerprint.Add(&value, sizeof(value));
    fingerprint.Add(rotary.frequencies.data(), rotary.frequencies.size() * sizeof(double));
  }
  for (const std::vector<float>& values : {options.mean, options.std}) {
    fingerprint.Add(values.data(), values.size() * sizeof(float));
  }
  return fingerprint.value();
}

// How ExtractFeatures makes an image of a file. To be changed with it: features that are stored are then not used.
constexpr char kImageTransform[] = "own size, or EvalCrop, bicubic";

// Runs `body` on the first rank; all learn how it ended.
absl::Status OnFirstRank(const FrozenSettings& settings, const std::function<absl::Status()>& body, const char* what) {
  return settings.context == nullptr ? body() : settings.context->OnFirstRank(body, what);
}

}  // namespace

FlagGroup FrozenInputFlags() {
  FlagGroup group = {"What is evaluated",
                     {{"checkpoint"},
                      {"data_path"},
                      {"classes"},
                      {"exclude"},
                      {"train_fraction"},
                      {"shots"},
                      {"subset_seed"},
                      {"mean"},
                      {"std"},
                      {"feature_cache"},
                      {"output_dir"}}};
  const std::vector<FlagSpec> vit = VitFlags();
  group.flags.insert(group.flags.begin() + 1, vit.begin(), vit.end());
  return group;
}

FlagGroup FrozenRuntimeFlags() {
  return {"How it runs",
          {{"device"}, {"precision"}, {"threads"}, {"num_workers"}, {"fast_jpeg"}, {"max_bad_fraction"}, {"seed"}}};
}

absl::StatusOr<FrozenSettings> FrozenSettingsFromFlags() {
  FrozenSettings settings;
  settings.checkpoint = UserPath(absl::GetFlag(FLAGS_checkpoint));
  settings.data_path = UserPath(absl::GetFlag(FLAGS_data_path));
  settings.output_dir = UserPath(absl::GetFlag(FLAGS_output_dir));
  settings.feature_cache = UserPath(absl::GetFlag(FLAGS_feature_cache));
  if (settings.checkpoint.empty()) return absl::InvalidArgumentError("--checkpoint is needed: the weights to evaluate");
  if (settings.data_path.empty()) {
    return absl::InvalidArgumentError("--data_path is needed: a folder with train/, and val/ or test/");
  }
  settings.device = absl::GetFlag(FLAGS_device);
  TEC_ASSIGN_OR_RETURN(settings.encoder, VitRequestFromFlags());
  settings.threads = absl::GetFlag(FLAGS_threads);
  settings.seed = static_cast<uint64_t>(absl::GetFlag(FLAGS_seed));
  settings.classes = absl::GetFlag(FLAGS_classes);
  settings.exclude = ParseExclude(absl::GetFlag(FLAGS_exclude));
  settings.subset.fraction = absl::GetFlag(FLAGS_train_fraction);
  settings.subset.per_class = absl::GetFlag(FLAGS_shots);
  settings.subset.seed = static_cast<uint64_t>(absl::GetFlag(FLAGS_subset_seed));
  TEC_RETURN_IF_ERROR(Annotate(Validate(settings.subset), "--train_fraction or --shots"));
  TEC_ASSIGN_OR_RETURN(settings.features.precision, PrecisionFromFlag());
  TEC_ASSIGN_OR_RETURN(settings.mean, NumbersOf("mean", absl::GetFlag(FLAGS_mean), /*positive=*/false));
  TEC_ASSIGN_OR_RETURN(settings.std, NumbersOf("std", absl::GetFlag(FLAGS_std), /*positive=*/true));
  const int64_t workers = absl::GetFlag(FLAGS_num_workers);
  if (workers < 0 || workers > 1024) return absl::InvalidArgumentError("--num_workers must be from 0 to 1024");
  settings.features.threads = static_cast<int>(workers);
  settings.features.max_bad_fraction = absl::GetFlag(FLAGS_max_bad_fraction);
  return settings;
}

void ShareOver(RunContext& context, FrozenSettings* settings) {
  settings->context = &context;
  settings->features.stop = [&context] { return context.stop_requested(); };
  settings->features.group = context.group().world_size() > 1 ? &context.group() : nullptr;
}

absl::Status OverRanks(FrozenSettings* settings, const std::function<absl::Status(RunContext& context)>& body) {
  RunContext::Options options;
  const Distributed flags = DistributedFlags();
  TEC_ASSIGN_OR_RETURN(options.environment, LaunchEnvironmentOf(flags));
  TEC_RETURN_IF_ERROR(PrepareRank({settings->device, flags.bind, flags.deterministic}, options.environment));
  options.device = settings->device;
  options.threads = settings->threads;
  TEC_ASSIGN_OR_RETURN(const std::unique_ptr<RunContext> context, RunContext::Open(options));
  ShareOver(*context, settings);
  const absl::Status status = CatchTorch([&] { return body(*context); });
  // Where the others do not know of it yet, they would wait for this rank.
  if (!status.ok()) context->group().Fail(status);
  settings->context = nullptr;
  settings->features.group = nullptr;
  settings->features.stop = nullptr;
  return status;
}

absl::Status CompareRanks(const FrozenSettings& settings, const FrozenEncoder& encoder,
                          const std::vector<std::pair<std::string, const Dataset*>>& datasets) {
  if (settings.features.group == nullptr) return absl::OkStatus();
  RankFacts facts = {{"version", kVersion},
                     {"kind of device", encoder.device.is_cpu() ? "cpu" : "cuda"},
                     {"encoder's fingerprint", absl::StrCat(absl::Hex(encoder.encoder_fingerprint))},
                     {"precision", at::toString(settings.features.precision)},
                     {"features", NameOf(settings.features.spec)},
                     {"images a forward pass", absl::StrCat(settings.features.batch_size)},
                     {"max_bad_fraction", absl::StrCat(settings.features.max_bad_fraction)}};
  for (const auto& [name, dataset] : datasets) {
    facts.emplace_back(absl::StrCat("number of ", name), absl::StrCat(dataset->size()));
    facts.emplace_back(absl::StrCat("fingerprint of ", name), absl::StrCat(absl::Hex(FingerprintOf(*dataset))));
  }
  return CompareFacts(*settings.features.group, facts);
}

absl::StatusOr<FrozenEncoder> OpenFrozenEncoder(FrozenSettings* settings) {
  FrozenEncoder opened;
  if (settings->context != nullptr) {
    opened.device = settings->context->device();
  } else {
    TEC_ASSIGN_OR_RETURN(opened.device, SelectDevice(settings->device));
    SetComputeThreads(settings->threads, LaunchEnvironment());
  }
  settings->features.threads = static_cast<int>(DecodingThreads(settings->features.threads));
  TEC_ASSIGN_OR_RETURN(const Pretrained pretrained, ReadPretrained(settings->checkpoint, settings->encoder));
  absl::StatusOr<std::shared_ptr<Encoder>> encoder = MakeEncoder(pretrained);
  if (!encoder.ok()) return Annotate(encoder.status(), settings->checkpoint);
  opened.encoder = *std::move(encoder);
  opened.description = pretrained.description;
  TEC_RETURN_IF_ERROR(SetStatistics(pretrained, settings));
  opened.encoder_fingerprint = FingerprintOfEncoder(*opened.encoder, settings->features);
  opened.encoder->to(opened.device);
  return opened;
}

absl::StatusOr<std::unique_ptr<FolderLock>> LockOutput(const FrozenSettings& settings) {
  std::unique_ptr<FolderLock> lock;
  const auto take = [&]() -> absl::Status {
    TEC_ASSIGN_OR_RETURN(lock, FolderLock::Take(settings.output_dir));
    return absl::OkStatus();
  };
  if (!settings.output_dir.empty()) TEC_RETURN_IF_ERROR(OnFirstRank(settings, take, "locking the output folder"));
  return lock;
}

absl::Status MakeFrozenFolders(FrozenSettings* settings) {
  if (!settings->output_dir.empty()) {
    TEC_RETURN_IF_ERROR(MakeDirectories(settings->output_dir));
    if (settings->feature_cache.empty()) settings->feature_cache = absl::StrCat(settings->output_dir, "/features");
  }
  return settings->feature_cache.empty() ? absl::OkStatus() : MakeDirectories(settings->feature_cache);
}

absl::StatusOr<FrozenInputs> OpenFrozenInputs(FrozenSettings* settings, absl::string_view use) {
  FrozenInputs inputs;
  TEC_ASSIGN_OR_RETURN(static_cast<FrozenEncoder&>(inputs), OpenFrozenEncoder(settings));
  LabelledDataOptions data_options;
  data_options.classes = settings->classes;
  data_options.exclude = settings->exclude;
  data_options.subset = settings->subset;
  data_options.index_folder = settings->output_dir.empty() ? settings->feature_cache : settings->output_dir;
  TEC_ASSIGN_OR_RETURN(inputs.data, OpenLabelledData(settings->data_path, use, data_options));
  if (settings->first_rank()) {
    std::printf("%s: %s\n", Printable(settings->checkpoint).c_str(), Printable(inputs.description).c_str());
    std::printf("%s: %d training images, %d held-out images, %d classes\n", Printable(settings->data_path).c_str(),
                static_cast<int>(inputs.data.train->size()), static_cast<int>(inputs.data.held_out->size()),
                static_cast<int>(inputs.data.classes().size()));
  }
  TEC_RETURN_IF_ERROR(MakeFrozenFolders(settings));
  return inputs;
}

namespace {

std::string StoreFolder(const FrozenEncoder& encoder, const FrozenSettings& settings, const Dataset& dataset,
                        absl::string_view part) {
  const uint64_t files = FingerprintOfFiles(dataset);
  const uint64_t key = Fingerprint()
                           .Add(&encoder.encoder_fingerprint, sizeof(encoder.encoder_fingerprint))
                           .Add(&files, sizeof(files))
                           .Add(part)
                           .Add(kImageTransform)
                           .Add(NameOf(settings.features.spec))
                           .Add(at::toString(settings.features.precision))
                           .value();
  return absl::StrFormat("%s/%016x", settings.feature_cache, key);
}

}  // namespace

absl::StatusOr<Features> StoredFeatures(const FrozenEncoder& encoder, const FrozenSettings& settings,
                                        const std::shared_ptr<const Dataset>& dataset, absl::string_view images,
                                        absl::string_view part, absl::string_view bad_images) {
  const std::string what = absl::StrCat("features of ", images);
  CountProgress progress(what, stderr);
  FeatureOptions options = settings.features;
  options.progress = [&](int64_t done, int64_t total) { progress.Update(done, total); };
  if (!settings.output_dir.empty()) options.bad_images_path = absl::StrCat(settings.output_dir, "/", bad_images);
  if (settings.feature_cache.empty()) {
    absl::StatusOr<Features> features = ExtractFeatures(*encoder.encoder, dataset, options);
    if (absl::IsCancelled(features.status()) && settings.first_rank()) {
      std::printf("stopped; without --output_dir or --feature_cache nothing is kept\n");
    }
    return features;
  }
  std::string folder;
  std::optional<FeatureStore> store;  // First rank only.
  TEC_RETURN_IF_ERROR(OnFirstRank(
      settings,
      [&]() -> absl::Status {
        folder = StoreFolder(encoder, settings, *dataset, part);
        const int64_t width = settings.features.spec.Width(encoder.encoder->options().width);
        TEC_ASSIGN_OR_RETURN(store, FeatureStore::Open(folder, dataset->size(), width, settings.features.batch_size));
        if (store->images() == 0) return absl::OkStatus();
        std::printf("%s: %d of %d from %s\n", what.c_str(), static_cast<int>(store->images()),
                    static_cast<int>(dataset->size()), Printable(folder).c_str());
        std::fflush(stdout);
        return absl::OkStatus();
      },
      "looking for stored features"));
  absl::StatusOr<Features> features = ExtractStored(*encoder.encoder, dataset, options, store ? &*store : nullptr);
  if (absl::IsCancelled(features.status()) && store) {
    std::printf("stopped; %s: %d of %d are in %s; the same command goes on from there\n", what.c_str(),
                static_cast<int>(store->images()), static_cast<int>(dataset->size()), Printable(folder).c_str());
  }
  return features;
}

absl::StatusOr<Features> FrozenFeatures(const FrozenInputs& inputs, const FrozenSettings& settings, Split split) {
  TEC_CHECK(split != Split::kWhole);
  if (split == Split::kTrain) {
    return StoredFeatures(inputs, settings, inputs.data.train, "the training images", "train", "bad_images.txt");
  }
  TEC_CHECK(!settings.features.sink) << "held-out labels are to be renumbered";
  TEC_ASSIGN_OR_RETURN(Features features, StoredFeatures(inputs, settings, inputs.data.held_out, "the held-out images",
                                                         "held-out", "bad_images_val.txt"));
  if (features.labels.defined()) {
    features.labels = at::tensor(inputs.data.class_of_held_out, at::kLong).index_select(0, features.labels);
  }
  return features;
}

}  // namespace tec
