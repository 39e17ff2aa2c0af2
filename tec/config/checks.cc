#include "tec/config/checks.h"

#include <cmath>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "google/protobuf/descriptor.h"
#include "tec/base/path.h"
#include "tec/base/status.h"
#include "tec/config/embedded.h"
#include "tec/config/row.pb.h"
#include "tec/config/text.h"

namespace tec::config_internal {

using google::protobuf::FieldDescriptor;

namespace {

// Bounds that no sound experiment meets, so that products of sizes stay far from overflow.
constexpr int64_t kLargestImage = 1 << 14;
constexpr int64_t kLargestWidth = 1 << 16;
constexpr int64_t kLargestDepth = 1 << 10;
constexpr int64_t kLargestCount = int64_t{1} << 31;
constexpr int64_t kMostChannels = 64;  // NormalizePixels'.

constexpr char kExtension[] = ".textproto";

}  // namespace

void Problems::Range(absl::string_view field, int64_t value, int64_t least, int64_t most) {
  if (value >= least && value <= most) return;
  Add(absl::StrCat(field, " is ", value, "; it must be from ", least, " to ", most));
}

void Problems::Range(absl::string_view field, double value, double least, double most) {
  if (std::isnan(value) || (value >= least && value <= most)) return;
  Add(std::isinf(most) ? absl::StrCat(field, " is ", value, "; it must be at least ", least)
                       : absl::StrCat(field, " is ", value, "; it must be from ", least, " to ", most));
}

void Problems::NotFinite(const google::protobuf::Message& message, const std::string& prefix) {
  const google::protobuf::Reflection* reflection = message.GetReflection();
  std::vector<const FieldDescriptor*> fields;
  reflection->ListFields(message, &fields);
  for (const FieldDescriptor* field : fields) {
    const std::string name = prefix + field->name();
    if (field->message_type() != nullptr && field->is_repeated()) {
      for (int i = 0; i < reflection->FieldSize(message, field); ++i) {
        NotFinite(reflection->GetRepeatedMessage(message, field, i), absl::StrCat(name, "[", i, "]."));
      }
    } else if (field->message_type() != nullptr) {
      NotFinite(reflection->GetMessage(message, field), name + ".");
    } else if (field->cpp_type() == FieldDescriptor::CPPTYPE_DOUBLE) {
      const int count = field->is_repeated() ? reflection->FieldSize(message, field) : 1;
      for (int i = 0; i < count; ++i) {
        const double value = field->is_repeated() ? reflection->GetRepeatedDouble(message, field, i)
                                                  : reflection->GetDouble(message, field);
        AddIf(!std::isfinite(value), absl::StrCat(name, " is ", value, "; it must be a finite number"));
      }
    }
  }
}

void Problems::Append(absl::string_view prefix, const Problems& other) {
  for (const std::string& problem : other.problems_) Add(absl::StrCat(prefix, problem));
}

absl::Status Problems::ToStatus(absl::string_view what) const {
  if (problems_.empty()) return absl::OkStatus();
  if (problems_.size() == 1) return absl::InvalidArgumentError(problems_[0]);
  return absl::InvalidArgumentError(
      absl::StrCat(problems_.size(), " problems in the ", what, ":\n  ", absl::StrJoin(problems_, "\n  ")));
}

void CheckEncoder(const std::string& path, const config::Vit& vit, bool sincos_positions, Problems* problems) {
  const auto set = [&](bool has, absl::string_view field) {
    problems->AddIf(!has, absl::StrCat(path, ".", field, " is not set; a custom model needs it"));
    return has;
  };
  const bool image = set(vit.has_image_size(), "image_size"), patch = set(vit.has_patch_size(), "patch_size"),
             width = set(vit.has_width(), "width"), depth = set(vit.has_depth(), "depth"),
             heads = set(vit.has_heads(), "heads");
  if (image) problems->Range(path + ".image_size", vit.image_size(), 1, kLargestImage);
  if (patch) problems->Range(path + ".patch_size", vit.patch_size(), 1, kLargestImage);
  if (width) problems->Range(path + ".width", vit.width(), 1, kLargestWidth);
  if (depth) problems->Range(path + ".depth", vit.depth(), 1, kLargestDepth);
  if (heads) problems->Range(path + ".heads", vit.heads(), 1, kLargestWidth);
  if (image && patch && vit.patch_size() > 0 && vit.image_size() % vit.patch_size() != 0) {
    problems->Add(absl::StrCat(path, ".image_size (--input_size) ", vit.image_size(),
                               " is not a multiple of patch_size ", vit.patch_size()));
  }
  if (width && heads && vit.heads() > 0 && vit.width() % vit.heads() != 0) {
    problems->Add(absl::StrCat(path, ".width ", vit.width(), " is not a multiple of heads ", vit.heads()));
  }
  if (width && sincos_positions && vit.width() % 4 != 0) {
    problems->Add(absl::StrCat(path, ".width ", vit.width(), " is not a multiple of 4, as its sin-cos positions need"));
  }
}

void CheckData(const config::Data& data, Paths paths, Problems* problems) {
  if (paths == Paths::kRequired && data.path().empty()) {
    problems->Add("data.path is empty; give --data_path=FOLDER or --data_path=LIST_FILE");
  }
  problems->Range("data.crop_scale_min", data.crop_scale_min(), 1e-6, 1.0);
  problems->Range("data.crop_scale_max", data.crop_scale_max(), 1e-6, 1.0);
  problems->Range("data.crop_ratio_min", data.crop_ratio_min(), 1e-3, 1e3);
  problems->Range("data.crop_ratio_max", data.crop_ratio_max(), 1e-3, 1e3);
  problems->AddIf(data.crop_scale_min() > data.crop_scale_max(),
                  absl::StrCat("data.crop_scale_min ", data.crop_scale_min(), " is larger than crop_scale_max ",
                               data.crop_scale_max()));
  problems->AddIf(data.crop_ratio_min() > data.crop_ratio_max(),
                  absl::StrCat("data.crop_ratio_min ", data.crop_ratio_min(), " is larger than crop_ratio_max ",
                               data.crop_ratio_max()));
  problems->Range("data.flip_probability", data.flip_probability(), 0.0, 1.0);
  problems->Range("data.channels (--channels)", data.channels(), 1, kMostChannels);
  problems->AddIf(data.mean_size() != data.channels() || data.std_size() != data.channels(),
                  absl::StrCat("data.mean has ", data.mean_size(), " values and data.std ", data.std_size(),
                               ", but data.channels (--channels) is ", data.channels(),
                               "; give --mean and --std with a number for each channel (//tools:verify_dataset --stats "
                               "computes them)"));
  for (const double value : data.std()) {
    problems->AddIf(value <= 0, absl::StrCat("data.std has the value ", value, "; each must be larger than 0"));
  }
  problems->Range("data.max_bad_fraction (--max_bad_fraction)", data.max_bad_fraction(), 0.0, 1.0);
  problems->AddIf(data.sampler() != "own" && data.sampler() != "reference",
                  absl::StrCat("data.sampler (--sampler) is \"", data.sampler(), "\"; it must be own or reference"));
  problems->Range("data.train_fraction (--train_fraction)", data.train_fraction(), 0.0, 1.0);
  problems->AddIf(data.train_fraction() == 0, "data.train_fraction (--train_fraction) is 0: no pictures");
  problems->Range("data.num_workers (--num_workers)", data.num_workers(), 0, 4096);
}

void CheckOptimizer(const config::Optimizer& optimizer, Problems* problems) {
  problems->Range("optimizer.batch_size (--batch_size)", optimizer.batch_size(), 1, kLargestCount);
  problems->Range("optimizer.accum_iter (--accum_iter)", optimizer.accum_iter(), 1, kLargestCount);
  problems->Range("optimizer.lr (--lr)", optimizer.lr(), 0.0, INFINITY);
  problems->Range("optimizer.blr (--blr)", optimizer.blr(), 0.0, INFINITY);
  problems->AddIf(optimizer.lr() == 0 && optimizer.blr() == 0,
                  "optimizer.lr and optimizer.blr are both 0; give --lr or --blr");
  problems->Range("optimizer.weight_decay (--weight_decay)", optimizer.weight_decay(), 0.0, INFINITY);
  for (const auto& [name, beta] :
       {std::pair("optimizer.beta1", optimizer.beta1()), std::pair("optimizer.beta2", optimizer.beta2())}) {
    problems->AddIf(beta < 0 || beta >= 1, absl::StrCat(name, " is ", beta, "; it must be at least 0 and less than 1"));
  }
  problems->AddIf(optimizer.epsilon() <= 0,
                  absl::StrCat("optimizer.epsilon is ", optimizer.epsilon(), "; it must be larger than 0"));
  problems->Range("optimizer.clip_grad (--clip_grad)", optimizer.clip_grad(), 0.0, INFINITY);
}

void CheckSchedule(const config::Schedule& schedule, Problems* problems) {
  problems->Range("schedule.epochs (--epochs)", schedule.epochs(), 1, kLargestCount);
  // More warm-up than epochs is sound: the rate then never reaches its peak, as in a short trial of a long recipe.
  problems->Range("schedule.warmup_epochs (--warmup_epochs)", schedule.warmup_epochs(), 0.0, INFINITY);
  problems->Range("schedule.min_lr (--min_lr)", schedule.min_lr(), 0.0, INFINITY);
  problems->Range("schedule.start_epoch (--start_epoch)", schedule.start_epoch(), 0, kLargestCount);
  problems->AddIf(
      schedule.epochs() > 0 && schedule.start_epoch() > schedule.epochs(),
      absl::StrCat("schedule.start_epoch ", schedule.start_epoch(), " is beyond epochs ", schedule.epochs()));
}

void CheckCheckpointing(const config::Checkpointing& checkpointing, Problems* problems) {
  problems->AddIf(
      absl::StartsWith(checkpointing.resume(), "https://") || absl::StartsWith(checkpointing.resume(), "http://"),
      absl::StrCat("checkpointing.resume (--resume) is an address, ", checkpointing.resume(),
                   "; download the file and give its path"));
  problems->Range("checkpointing.save_period (--save_period)", checkpointing.save_period(), 1, kLargestCount);
  problems->Range("checkpointing.save_every_minutes (--save_every_minutes)", checkpointing.save_every_minutes(), 0.0,
                  INFINITY);
}

void CheckLogging(const config::Logging& logging, Problems* problems) {
  problems->AddIf(logging.output_dir().empty(), "logging.output_dir is empty; give --output_dir=FOLDER");
  problems->Range("logging.print_freq (--print_freq)", logging.print_freq(), 1, kLargestCount);
}

void CheckRuntime(const config::Runtime& runtime, Problems* problems) {
  const bool cuda = runtime.device() == "cuda";
  if (absl::StartsWith(runtime.device(), "cuda:")) {
    problems->Add(absl::StrCat("runtime.device (--device) is \"", runtime.device(),
                               "\"; write cuda, and choose the GPU by the environment variable CUDA_VISIBLE_DEVICES"));
  } else if (!cuda && runtime.device() != "cpu") {
    problems->Add(absl::StrCat("runtime.device (--device) is \"", runtime.device(), "\"; it must be cuda or cpu"));
  }
  if (!config::Precision_IsValid(runtime.precision()) || runtime.precision() == config::PRECISION_UNSPECIFIED) {
    problems->Add("runtime.precision (--precision) must be FLOAT32, BFLOAT16 or FLOAT16");
  }
  problems->AddIf(!cuda && runtime.precision() == config::FLOAT16,
                  "runtime.precision FLOAT16 (--precision=float16) needs --device=cuda; a CPU computes in float32 or "
                  "bfloat16");
  problems->Range("runtime.threads (--threads)", runtime.threads(), 0, 4096);
}

const std::vector<NamedEncoder>& NamedEncoders() {
  // Base, large and huge are the reference's (MAE's); tiny and small are DeiT's.
  static const auto* const encoders = new std::vector<NamedEncoder>{
      {"tiny_patch16", 16, 192, 12, 3},    {"small_patch16", 16, 384, 12, 6},  {"base_patch16", 16, 768, 12, 12},
      {"large_patch16", 16, 1024, 24, 16}, {"huge_patch14", 14, 1280, 32, 16},
  };
  return *encoders;
}

const NamedEncoder* FindEncoder(absl::string_view name) {
  for (const NamedEncoder& encoder : NamedEncoders()) {
    if (name == encoder.name) return &encoder;
  }
  return nullptr;
}

void FillEncoder(const NamedEncoder& named, config::Vit* vit) {
  if (!vit->has_patch_size()) vit->set_patch_size(named.patch_size);
  if (!vit->has_width()) vit->set_width(named.width);
  if (!vit->has_depth()) vit->set_depth(named.depth);
  if (!vit->has_heads()) vit->set_heads(named.heads);
}

void FillRun(const Machine& machine, config::Logging* logging, config::Runtime* runtime) {
  if (logging->log_dir().empty()) logging->set_log_dir(logging->output_dir());
  if (runtime->precision() == config::PRECISION_UNSPECIFIED) {
    const bool bfloat16 = runtime->device() == "cpu" ? machine.cpu_bfloat16 : machine.gpu_bfloat16;
    runtime->set_precision(bfloat16 ? config::BFLOAT16 : config::FLOAT32);
  }
}

absl::StatusOr<Source> FindSource(const std::string& name_or_file) {
  if (const char* text = FindEmbedded(name_or_file)) {
    return Source{name_or_file, absl::StrCat("experiments/", name_or_file, kExtension), text};
  }
  const std::string path = UserPath(name_or_file);
  absl::StatusOr<std::string> text = ReadConfigFile(path);
  // What looks like a name is one: whoever mistypes it should see the names, not a missing file.
  if (absl::IsNotFound(text.status()) && !absl::StrContains(name_or_file, '/')) {
    const std::vector<std::string> names = EmbeddedNames();
    return absl::NotFoundError(absl::StrCat("no experiment and no file is named \"", name_or_file, "\"",
                                            DidYouMean(name_or_file, names),
                                            "\n  experiments: ", absl::StrJoin(names, ", ")));
  }
  if (!text.ok()) return text.status();
  absl::string_view name = name_or_file;
  if (const size_t slash = name.rfind('/'); slash != absl::string_view::npos) name.remove_prefix(slash + 1);
  absl::ConsumeSuffix(&name, kExtension);
  return Source{std::string(name), path, *std::move(text)};
}

bool Declares(const std::string& text, absl::string_view full_name, bool otherwise) {
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    if (absl::ConsumePrefix(&line, "# proto-message:")) return absl::StripAsciiWhitespace(line) == full_name;
  }
  return otherwise;
}

absl::Status ParseSettings(const std::string& text, const std::string& file, absl::string_view what,
                           google::protobuf::Message* settings) {
  const google::protobuf::Descriptor* schema = settings->GetDescriptor();
  if (Declares(text, schema->full_name(), /*otherwise=*/true)) return ParseText(text, file, settings);
  config::Row row;
  if (!Declares(text, row.GetDescriptor()->full_name(), /*otherwise=*/false)) {
    return absl::InvalidArgumentError(absl::StrCat(file, " says by its \"# proto-message:\" line that it is no ",
                                                   schema->full_name(), "; a ", what, " experiment is needed"));
  }
  TEC_RETURN_IF_ERROR(ParseText(text, file, &row));
  const bool pretraining = schema == config::Experiment::descriptor();
  if (pretraining ? !row.has_pretrain() : !row.has_finetune()) {
    return absl::InvalidArgumentError(
        absl::StrCat(file, ": this row has no \"", pretraining ? "pretrain" : "finetune", "\""));
  }
  if (pretraining) {
    settings->CopyFrom(row.pretrain());
  } else {
    settings->CopyFrom(row.finetune());
  }
  return absl::OkStatus();
}

}  // namespace tec::config_internal
