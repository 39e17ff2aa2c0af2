// One forward and backward pass of each small model: every intermediate value, every loss, every gradient.

#include <cmath>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "tec/base/status.h"
#include "tec/checkpoint/torch_tensors.h"
#include "tec/losses/losses.h"
#include "tec/models/base_model.h"
#include "tec/models/encoder.h"
#include "tec/models/tec_model.h"
#include "tec/nn/autocast.h"
#include "tools/goldens/checks.h"
#include "tools/goldens/model_items.h"
#include "tools/goldens/torch_item.h"

namespace tec {
namespace {

// Of the stored numbers' README.
constexpr double kTokenTolerance = 1e-6;
constexpr double kLatentTolerance = 5e-5;
constexpr double kPredictionTolerance = 3e-5;
constexpr double kTecLossTolerance = 5e-6;
constexpr double kBaseFeatureTolerance = 5e-5;
constexpr double kBaseRelationTolerance = 3e-5;
constexpr double kFinetuneTolerance = 1e-5;

at::ScalarType ComputeType(const GoldenItem& item) { return item.bfloat16() ? at::kBFloat16 : at::kFloat; }

// A wrong epsilon in a norm changes a result by about a millionth: less than the tolerance of a single value, but of
// all values alike. Their common factor, <actual, expected> / <expected, expected>, is known better: rounding of
// float32 (6e-8) leaves a part of 5e-7 of it at most, and errors of single values, a tenth of the tolerance, average
// out as those of a sum do.
constexpr double kFactorTolerance = 5e-7;

void ExpectFactor(GoldenItem& item, GoldenTensors& file, const std::string& name, const at::Tensor& actual,
                  double tolerance) {
  const TensorView* stored = file.Expected(name);
  if (item.bfloat16() || stored == nullptr || !actual.defined()) return;
  const at::Tensor a = actual.detach().to(at::kDouble).reshape({-1});
  const at::Tensor b = TensorOf(*stored).to(at::kDouble).reshape({-1});
  if (a.numel() != b.numel()) return;  // Compared, and failed, as it is.
  const double norm = b.norm().item<double>(), off = (a * b).sum().item<double>() / (norm * norm) - 1;
  const double allowed = kFactorTolerance + tolerance / 10 / norm;
  item.Expect(absl::StrCat(name, ", factor"), std::abs(off) <= allowed,
              absl::StrFormat("is off by a factor of 1 %+.2g, more than %.2g", off, allowed));
}

// The file whose inputs a file without its own names in its metadata "uses", else `file` itself.
std::string FileOfInputs(const GoldenTensors& file) {
  const auto& metadata = file.content().metadata;
  const auto uses = metadata.find("uses");
  if (uses == metadata.end()) return file.file();
  for (absl::string_view word : absl::StrSplit(uses->second, ' ')) {
    if (absl::EndsWith(word, ".safetensors")) return std::string(word);
  }
  return file.file();
}

}  // namespace

absl::Status CheckTec(GoldenItem& item) {
  TEC_ASSIGN_OR_RETURN(GoldenTensors * file, item.Tensors(absl::StrCat(item.name(), ".safetensors")));
  const bool own_inputs = FileOfInputs(*file) == file->file();
  GoldenTensors* inputs = file;
  if (!own_inputs) {
    TEC_ASSIGN_OR_RETURN(inputs, item.Inputs(FileOfInputs(*file)));
  }
  TEC_ASSIGN_OR_RETURN(const nlohmann::json config, file->Metadata("config"));
  TEC_ASSIGN_OR_RETURN(const TecOptions options, TecOptionsOf(config));
  TEC_ASSIGN_OR_RETURN(TensorMap parameters, InputsWithPrefix(*inputs, "param."));
  if (file->HasMetadata("parameters_unused")) {
    TEC_ASSIGN_OR_RETURN(const nlohmann::json unused, file->Metadata("parameters_unused"));
    item.Group("parameters_unused");
    for (const std::string name : unused) {
      item.Expect("parameters_unused", parameters.erase(name) == 1, absl::StrCat("there is no param.", name));
    }
    item.Group("");
  }
  for (const auto& [key, epsilon] :
       {std::pair("norm_eps", kNormEpsilon), std::pair("adaptor_norm_eps", kAdaptorNormEpsilon)}) {
    if (!config.contains(key)) continue;
    item.Expect(absl::StrCat("config/", key), config.at(key) == epsilon,
                absl::StrCat("ours is ", epsilon, ", not ", config.at(key).dump()));
  }
  TecModel model(options);
  TEC_RETURN_IF_ERROR(LoadState(model, parameters));

  const int64_t size = options.encoder.image_size, patches = options.encoder.patches();
  const int64_t width = options.encoder.width, heads = options.encoder.heads;
  TEC_ASSIGN_OR_RETURN(const at::Tensor images,
                       InputTensor(*inputs, "in.images", DType::kFloat32, {-1, 3, size, size}));
  const int64_t batch = images.size(0);
  TEC_ASSIGN_OR_RETURN(const at::Tensor noise, InputTensor(*inputs, "in.noise", DType::kFloat32, {batch, patches}));
  TEC_ASSIGN_OR_RETURN(const at::Tensor ratio_tensor, InputTensor(*inputs, "in.mask_ratio", DType::kFloat64, {1}));
  TEC_ASSIGN_OR_RETURN(const at::Tensor features,
                       InputTensor(*inputs, "in.targets.0", DType::kFloat32, {batch, patches, width}));
  const double ratio = ratio_tensor.item<double>();
  if (!(ratio > 0 && ratio < 1)) return absl::InvalidArgumentError(absl::StrCat("in.mask_ratio is ", ratio));
  at::Tensor relations, idx;
  if (options.pred_att) {
    TEC_ASSIGN_OR_RETURN(idx, InputTensor(*inputs, "in.targets.2", DType::kInt64, {batch, 1, -1}));
    TEC_ASSIGN_OR_RETURN(
        relations, InputTensor(*inputs, "in.targets.1", DType::kFloat32, {batch, 1, 1 + idx.size(2), heads, patches}));
  } else {
    for (const char* unused : {"in.targets.1", "in.targets.2"}) inputs->Expected(unused);
  }

  at::Tensor token, adapted, feature_loss, relation_loss, total;
  TecModel::Encoded encoded;
  TecOutput output;
  {
    AutocastGuard autocast(at::kCPU, ComputeType(item));
    token = model.ClassToken();
    encoded = model.Encode(images, noise, ratio);
    adapted = model.Adapt(encoded.latents);
    output = model.forward(images, noise, ratio, idx);
    feature_loss = FeatureLoss(output.feature_prediction, features, output.mask);
    total = feature_loss;
    if (options.pred_att) {
      relation_loss = RelationLoss(output.relation_logits, relations, config.at("att_tau"));
      total = feature_loss + relation_loss;
    }
  }
  total.backward();

  // A file that uses another's inputs holds a part of the outputs.
  const auto compare = [&](const std::string& name, const at::Tensor& actual, const GoldenTolerance& tolerance) {
    if (own_inputs || file->Has(name)) Compare(item, *file, name, actual, tolerance);
  };
  compare("out.cls_token_mlp", token, item.Model(kTokenTolerance));
  for (size_t i = 0; i < encoded.latents.size(); ++i) {
    compare(absl::StrCat("out.latent.", i), encoded.latents[i], item.Model(kLatentTolerance));
  }
  compare("out.mask", output.mask, GoldenTolerance::Bits());
  compare("out.ids_restore", output.ids_restore, GoldenTolerance::Bits());
  compare("out.adaptor", adapted, item.Model(kPredictionTolerance));
  if (file->Has("out.adaptor")) ExpectFactor(item, *file, "out.adaptor", adapted, kPredictionTolerance);
  compare("out.fea_pred", output.feature_prediction, item.Model(kPredictionTolerance));
  Compare(item, *file, "out.loss_fea", feature_loss, item.Model(kTecLossTolerance));
  if (options.pred_att) {
    compare("out.att_pred", output.relation_logits, item.Model(kPredictionTolerance));
    Compare(item, *file, "out.loss_att", relation_loss, item.Model(kTecLossTolerance));
  }
  Compare(item, *file, "out.loss_total", total, item.Model(kTecLossTolerance));
  CompareGradients(item, *file, "grad.", model, /*all=*/own_inputs);
  return absl::OkStatus();
}

absl::Status CheckBaseModel(GoldenItem& item) {
  TEC_ASSIGN_OR_RETURN(GoldenTensors * file, item.Tensors(absl::StrCat(item.name(), ".safetensors")));
  TEC_ASSIGN_OR_RETURN(const nlohmann::json config, file->Metadata("config"));
  TEC_ASSIGN_OR_RETURN(BaseModelOptions options, BaseModelOptionsOf(config, "depth", 1, config.at("topkatt")));
  TEC_ASSIGN_OR_RETURN(const TensorMap parameters, InputsWithPrefix(*file, "param."));
  const int64_t size = options.encoder.image_size;
  TEC_ASSIGN_OR_RETURN(const at::Tensor images, InputTensor(*file, "in.images", DType::kFloat32, {-1, 3, size, size}));

  AutocastGuard autocast(at::kCPU, ComputeType(item));
  BaseModel model(options);
  TEC_RETURN_IF_ERROR(LoadBaseModel(model, parameters));
  const std::vector<at::Tensor> blocks = model.BlockOutputs(images);
  for (size_t i = 0; i < blocks.size(); ++i) {
    Compare(item, *file, absl::StrCat("out.block.", i), blocks[i], item.Model(kBaseFeatureTolerance));
  }

  // out.last<n>.fea, .att, .idx
  constexpr absl::string_view kLast = "out.last";
  std::set<int64_t> last_layers;
  for (const std::string& name : file->Names(std::string(kLast))) {
    int64_t n;
    const absl::string_view rest = absl::string_view(name).substr(kLast.size());
    if (absl::SimpleAtoi(rest.substr(0, rest.find('.')), &n)) last_layers.insert(n);
  }
  if (last_layers.empty()) return absl::NotFoundError(absl::StrCat(file->file(), " has no tensor ", kLast, "<n>.*"));
  for (const int64_t n : last_layers) {
    options.last_layers = n;
    TEC_RETURN_IF_ERROR(Validate(options));
    BaseModel with_targets(options);
    TEC_RETURN_IF_ERROR(LoadBaseModel(with_targets, parameters));
    const Targets targets = with_targets.forward(images);
    const std::string prefix = absl::StrCat(kLast, n, ".");
    Compare(item, *file, prefix + "fea", targets.features, item.Model(kBaseFeatureTolerance));
    if (options.top_patches == 0) continue;
    GoldenSkip skip;
    if (item.bfloat16()) {
      TEC_ASSIGN_OR_RETURN(const at::Tensor expected,
                           InputTensor(*file, prefix + "idx", DType::kInt64, targets.idx.sizes().vec()));
      skip = SkipOtherRanks(targets.idx, expected, options.encoder.heads, options.encoder.patches());
    } else {
      Compare(item, *file, prefix + "idx", targets.idx, GoldenTolerance::Bits());
    }
    Compare(item, *file, prefix + "att", targets.relations, item.Model(kBaseRelationTolerance), skip);
  }
  return absl::OkStatus();
}

absl::Status CheckFinetuneModel(GoldenItem& item) {
  TEC_ASSIGN_OR_RETURN(GoldenTensors * file, item.Tensors(absl::StrCat(item.name(), ".safetensors")));
  TEC_ASSIGN_OR_RETURN(const nlohmann::json config, file->Metadata("config"));
  TEC_ASSIGN_OR_RETURN(const FinetuneOptions options, FinetuneOptionsOf(config));
  TEC_ASSIGN_OR_RETURN(const TensorMap parameters, InputsWithPrefix(*file, "param."));
  const int64_t size = options.encoder.image_size;
  TEC_ASSIGN_OR_RETURN(const at::Tensor images, InputTensor(*file, "in.images", DType::kFloat32, {-1, 3, size, size}));
  const int64_t batch = images.size(0);
  TEC_ASSIGN_OR_RETURN(const at::Tensor labels, InputTensor(*file, "in.labels", DType::kInt64, {batch}));
  TEC_ASSIGN_OR_RETURN(const at::Tensor soft_targets,
                       InputTensor(*file, "in.soft_targets", DType::kFloat32, {batch, options.classes}));

  const GoldenTolerance tolerance = item.Model(kFinetuneTolerance);
  {
    FinetuneModel model(options);
    TEC_RETURN_IF_ERROR(LoadState(model, parameters));
    at::Tensor pooled, logits, loss;
    {
      AutocastGuard autocast(at::kCPU, ComputeType(item));
      pooled = model.Pool(images);
      logits = model.forward(images);
      loss = SoftTargetCrossEntropy(logits, soft_targets);
    }
    Compare(item, *file, "out.pooled", pooled, tolerance);
    Compare(item, *file, "out.logits", logits, tolerance);
    Compare(item, *file, "out.loss_ce", LabelSmoothingCrossEntropy(logits, labels, 0), tolerance);
    Compare(item, *file, "out.loss_label_smoothing", LabelSmoothingCrossEntropy(logits, labels, config.at("smoothing")),
            tolerance);
    Compare(item, *file, "out.loss_soft", loss, tolerance);
    loss.backward();
    CompareGradients(item, *file, "grad.", model, /*all=*/true);
  }

  // The same values in other models.
  for (const char* variant : {"cls", "notoken"}) {
    const std::string prefix = absl::StrCat("out.", variant, ".");
    if (file->Names(prefix).empty()) continue;
    const bool cls = variant == absl::string_view("cls");
    FinetuneOptions other = options;
    (cls ? other.global_pool : other.mlp_token) = false;
    TensorMap renamed;
    for (const auto& [name, value] : parameters) {
      if (cls && absl::StartsWith(name, "fc_norm.")) {
        renamed.emplace(name.substr(3), value);
      } else if (cls || !absl::StartsWith(name, "cls_token_mlp.")) {
        renamed.emplace(name, value);
      }
    }
    FinetuneModel model(other);
    TEC_RETURN_IF_ERROR(LoadState(model, renamed));
    at::Tensor logits, loss;
    {
      AutocastGuard autocast(at::kCPU, ComputeType(item));
      logits = model.forward(images);
      loss = SoftTargetCrossEntropy(logits, soft_targets);
    }
    Compare(item, *file, prefix + "logits", logits, tolerance);
    Compare(item, *file, prefix + "loss_soft", loss, tolerance);
    loss.backward();
    CompareGradients(item, *file, prefix + "grad.", model, /*all=*/false);
  }
  return absl::OkStatus();
}

}  // namespace tec
