// One forward and backward pass at the real sizes: targets, every intermediate value, losses and the gradient of every
// parameter.

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "ATen/ops/empty.h"
#include "absl/strings/str_cat.h"
#include "tec/base/status.h"
#include "tec/losses/losses.h"
#include "tec/nn/autocast.h"
#include "tec/nn/module_state.h"
#include "tools/goldens/checks.h"
#include "tools/goldens/full_size.h"
#include "tools/goldens/torch_item.h"

namespace tec {
namespace {

// Of the stored numbers' README.
constexpr double kLossTolerance = 1e-5;
constexpr double kSliceTolerance = 1e-4;
constexpr double kRelationSliceTolerance = 1e-5;
constexpr double kRelativeGradientTolerance = 1e-3;
// A gradient that is rounding noise there may be ten times as much here.
constexpr double kNoiseBound = 10 * kRoundingNoise;
// Sums of small integers in double.
constexpr double kExact = 1e-12;
// A vector at an angle of cosine 0.98 from another is, as its noise is at a right angle to it, longer by up to 1/0.98.
constexpr double kBfloat16Norm = 0.05;

constexpr int64_t kSliceValues = 64;

// 64 values at flat index floor(i * n / 64).
at::Tensor Slice(const at::Tensor& tensor) {
  const at::Tensor flat = tensor.detach().contiguous().view(-1);
  at::Tensor places = at::empty({kSliceValues}, at::kLong);
  for (int64_t i = 0; i < kSliceValues; ++i) places.data_ptr<int64_t>()[i] = i * flat.numel() / kSliceValues;
  return flat.index_select(0, places);
}

class Comparison {
 public:
  // slices: null where the .safetensors is not there.
  Comparison(GoldenItem& item, GoldenJson& json, GoldenTensors* slices) : item_(item), json_(json), slices_(slices) {}

  // An intermediate value: its shape, sum, L2 norm and slice. `tolerance` bounds the error of every single value; by
  // it, that of the norm is at most sqrt(n) and that of the sum n times as much. 0: the same values.
  void Output(const std::string& name, const at::Tensor& value, GoldenTolerance tolerance) {
    compared_.insert(name);
    const std::string pointer = absl::StrCat("/outputs/", name);
    const at::Tensor wide = value.detach().to(at::kDouble);
    const double n = static_cast<double>(wide.numel());
    GoldenTolerance of_norm = tolerance, of_sum = tolerance;
    if (tolerance.kind == GoldenTolerance::Kind::kBits) {
      of_norm = of_sum = GoldenTolerance::Relative(kExact);
    } else if (tolerance.kind == GoldenTolerance::Kind::kAbsolute) {
      of_norm.bound *= std::sqrt(n);
      of_sum.bound *= n;
    }
    item_.Group("outputs/*");
    item_.CompareJson(json_, pointer + "/shape", nlohmann::json(value.sizes().vec()));
    item_.CompareNumber(json_, pointer + "/l2", wide.norm().item<double>(), of_norm);
    // In bfloat16 a sum over values of both signs can be off by any part of itself.
    if (tolerance.kind != GoldenTolerance::Kind::kDirection) {
      item_.CompareNumber(json_, pointer + "/sum", wide.sum().item<double>(), of_sum);
    }
    item_.Group("");
    if (slices_ != nullptr) Compare(item_, *slices_, "slice." + name, Slice(value), tolerance);
  }

  void Whole(const std::string& name, const at::Tensor& value) {
    Output(name, value, GoldenTolerance::Bits());
    if (slices_ != nullptr) Compare(item_, *slices_, "full." + name, value, GoldenTolerance::Bits());
  }

  bool Compared(const std::string& output) const { return compared_.count(output) != 0; }

  // [L2 norm, sum] of every gradient. The norm may be off by a part in a thousand of itself; so may then, by Cauchy and
  // Schwarz, the sum by sqrt(n) times as much.
  void Gradients(const torch::nn::Module& model) {
    const nlohmann::json& stored = json_["gradient_l2_and_sum"];
    const NamedTensors trainable = NamedTrainable(model);
    item_.Expect("gradient_l2_and_sum", stored.size() == trainable.size(),
                 absl::StrCat(stored.size(), " gradients are stored, the model has ", trainable.size()));
    for (const auto& [name, parameter] : trainable) {
      const at::Tensor gradient = parameter.grad();
      const std::string pointer = absl::StrCat("/gradient_l2_and_sum/", name);
      if (!stored.contains(name) || !gradient.defined()) {
        item_.Fail(pointer.substr(1), gradient.defined() ? "is not stored" : "the parameter has no gradient");
        continue;
      }
      const double norm = stored.at(name).at(0), n = static_cast<double>(gradient.numel());
      const at::Tensor wide = gradient.to(at::kDouble);
      item_.Group("gradient_l2_and_sum/*");
      item_.CompareNumber(json_, pointer + "/0", wide.norm().item<double>(), OfNorm(norm));
      if (norm >= kRoundingNoise && !item_.bfloat16()) {
        item_.CompareNumber(json_, pointer + "/1", wide.sum().item<double>(),
                            GoldenTolerance::Absolute(std::sqrt(n) * kRelativeGradientTolerance * norm));
      }
      item_.Group("");
      const std::string slice = absl::StrCat("slice.grad.", name);
      if (slices_ == nullptr || !slices_->Has(slice)) continue;
      // No value is larger than the norm, by which small gradients have a tighter bound.
      Compare(item_, *slices_, slice, Slice(gradient),
              item_.Model(std::min(kSliceTolerance, std::max(kRelativeGradientTolerance * norm, kNoiseBound))));
    }
  }

 private:
  GoldenTolerance OfNorm(double norm) const {
    if (norm < kRoundingNoise) return GoldenTolerance::Absolute(item_.bfloat16() ? kBfloat16Norm : kNoiseBound);
    return GoldenTolerance::Relative(item_.bfloat16() ? kBfloat16Norm : kRelativeGradientTolerance);
  }

  GoldenItem& item_;
  GoldenJson& json_;
  GoldenTensors* slices_;
  std::set<std::string> compared_;
};

}  // namespace

absl::Status CheckFullSize(GoldenItem& item) {
  TEC_ASSIGN_OR_RETURN(GoldenJson * json, item.Json(absl::StrCat(item.name(), ".json")));
  const std::string slices_file = absl::StrCat(item.name(), ".safetensors");
  GoldenTensors* slices = nullptr;
  if (item.HasFile(slices_file)) {
    TEC_ASSIGN_OR_RETURN(slices, item.Tensors(slices_file));
  }
  json->Documentation({"min_topk_gap", "fp64_check", "trainable_without_grad"});
  for (const char* key : {"config", "hash", "parameters", "teacher_parameters"}) (*json)[key];
  TEC_ASSIGN_OR_RETURN(const FullSizeSetting setting, FullSizeSettingOf(json->content()));
  item.CompareJson(*json, "/config/num_adap", setting.options.groups());

  // "j=0x8000": the first values of a stream.
  item.Group("first_values/*");
  for (const auto& [stream, values] : (*json)["first_values"].items()) {
    const uint64_t j = std::strtoull(stream.c_str() + stream.find('=') + 1, nullptr, 0);
    for (size_t i = 0; i < values.size(); ++i) {
      item.CompareNumber(*json, absl::StrCat("/first_values/", stream, "/", i), FullSizeParameter(setting.seed, j, i),
                         GoldenTolerance::Bits());
    }
  }
  item.Group("");

  const at::ScalarType type = item.bfloat16() ? at::kBFloat16 : at::kFloat;
  const GoldenTolerance value = item.Model(kSliceTolerance), relation = item.Model(kRelationSliceTolerance);
  Comparison compare(item, *json, slices);
  item.Progress("the base model");
  Targets targets;
  {
    TEC_ASSIGN_OR_RETURN(const std::unique_ptr<BaseModel> base_model, MakeFullSizeBaseModel(json->content()));
    targets = base_model->forward(setting.images);
    compare.Whole("target.idx", targets.idx);
    compare.Output("target.att", targets.relations, GoldenTolerance::Absolute(kRelationSliceTolerance));
    if (item.bfloat16()) {
      // But for the patches selected, and with them the relations: another choice among near-equal patches is another
      // target, not an error.
      AutocastGuard autocast(at::kCPU, type);
      targets.features = base_model->forward(setting.images).features;
    }
    compare.Output("target.fea", targets.features, value);
  }  // Its memory is the new model's.

  item.Progress("the new model");
  TEC_ASSIGN_OR_RETURN(const std::unique_ptr<TecModel> model, MakeFullSizeModel(json->content()));
  at::Tensor feature_loss, relation_loss, total;
  {
    AutocastGuard autocast(at::kCPU, type);
    {
      at::NoGradGuard no_grad;
      compare.Output("cls_token_mlp", model->ClassToken(), value);
      const TecModel::Encoded encoded = model->Encode(setting.images, setting.noise, setting.mask_ratio);
      for (size_t i = 0; i < encoded.latents.size(); ++i) {
        compare.Output(absl::StrCat("latent.", i), encoded.latents[i], value);
      }
      compare.Output("encoder_adaptor", model->Adapt(encoded.latents), value);
    }
    const TecOutput output = model->forward(setting.images, setting.noise, setting.mask_ratio, targets.idx);
    compare.Whole("mask", output.mask);
    compare.Whole("ids_restore", output.ids_restore);
    compare.Output("forward_fea_decoder", output.feature_prediction, value);
    total = feature_loss = FeatureLoss(output.feature_prediction, targets.features, output.mask);
    if (setting.options.pred_att) {
      compare.Output("forward_att_decoder", output.relation_logits, relation);
      relation_loss = RelationLoss(output.relation_logits, targets.relations, setting.att_tau);
      total = feature_loss + relation_loss;
    }
  }
  for (const auto& [name, stored] : (*json)["outputs"].items()) {
    if (!compare.Compared(name)) item.Fail("outputs", absl::StrCat("no check computes ", name));
  }
  const GoldenTolerance loss = item.Model(kLossTolerance);
  for (const char* losses : {"losses", "losses_fp64"}) {
    if (!(*json).Has(losses)) continue;
    (*json)[losses];
    item.CompareNumber(*json, absl::StrCat("/", losses, "/loss_fea"), feature_loss.item<double>(), loss);
    if (setting.options.pred_att) {
      item.CompareNumber(*json, absl::StrCat("/", losses, "/loss_att"), relation_loss.item<double>(), loss);
    }
  }
  (*json)["loss_total"];
  item.CompareNumber(*json, "/loss_total", total.item<double>(), loss);

  item.Progress("gradients");
  total.backward();
  compare.Gradients(*model);
  return absl::OkStatus();
}

}  // namespace tec
