#include "tec/checkpoint/families/own_encoder.h"

#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tec/checkpoint/families/vit_builder.h"
#include "tec/checkpoint/families/vit_file.h"
#include "tec/checkpoint/pth.h"

namespace tec {
namespace {

// CLIP's: a norm before the blocks, QuickGELU.
OwnEncoder Clip() {
  OwnEncoder encoder;
  encoder.family = "timm_clip";
  VitTraits& traits = encoder.traits;
  traits.width = kWidth;
  traits.depth = kDepth;
  traits.heads = 2;
  traits.hidden = 4 * kWidth;
  traits.patch_size = kPatch;
  traits.channels = 3;
  traits.grid = kGrid;
  traits.activation = Activation::kQuickGelu;
  traits.norm_epsilon = 1e-5;
  traits.interpolation = PositionInterpolation::kAntialias;
  traits.pre_norm = true;
  return encoder;
}

Builder Tensors() {
  Builder builder = Plain();
  builder.Norm("norm_pre").Linear("head", 3, kWidth);
  return builder;
}

// A checkpoint with that record and those tensors.
std::string Write(const std::string& name, const Value& record, const StateDict& tensors) {
  const char* base = std::getenv("TEST_TMPDIR");
  const std::string path = absl::StrCat(base == nullptr ? "/tmp" : base, "/", name, ".pth");
  Value args = Value::Dict();
  args.Set("encoder", record);
  Value root = Value::Dict();
  root.Set("model", Value::FromStateDict(tensors));
  root.Set("args", std::move(args));
  root.Set("tec", Value::Dict());
  EXPECT_TRUE(WritePth(path, root).ok());
  return path;
}

void ExpectRefused(const std::string& path, const std::string& why, const VitRequest& request = {}) {
  const absl::Status status = ReadVitFile(path, request).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), path)) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), why)) << why << "\n" << status;
}

TEST(OwnEncoderTest, ARecordSaysWhatTensorsDoNot) {
  const Builder file = Tensors();
  const absl::StatusOr<VitFile> read = ReadVitFile(Write("clip", RecordOfEncoder(Clip()), file.tensors()));
  ASSERT_TRUE(read.ok()) << read.status();
  const VitPlan& plan = read->plan;
  EXPECT_EQ(plan.family, "timm_clip");
  EXPECT_EQ(plan.traits.heads, 2);
  EXPECT_EQ(plan.traits.activation, Activation::kQuickGelu);
  EXPECT_EQ(plan.traits.norm_epsilon, 1e-5);
  EXPECT_EQ(plan.traits.interpolation, PositionInterpolation::kAntialias);
  EXPECT_TRUE(plan.traits.pre_norm);
  EXPECT_TRUE(plan.traits.final_norm);
  EXPECT_TRUE(plan.traits.assumed.empty());
  EXPECT_EQ(plan.tensors.size(), 4 + 2 + 12 * kDepth + 2);
  EXPECT_EQ(plan.classifier.size(), 2u);
  for (const PlannedTensor& planned : plan.tensors) {
    const TensorView* own = file.tensors().Find(planned.name);
    ASSERT_NE(own, nullptr) << planned.name;
    EXPECT_EQ(planned.read().bytes, own->bytes) << planned.name;
  }
}

TEST(OwnEncoderTest, RotaryPositionsAreThoseOfTheRun) {
  OwnEncoder encoder = Clip();
  encoder.traits.heads = 1;
  RotaryTraits& rotary = encoder.traits.rotary.emplace();
  rotary.shift = 0.5;
  rotary.span = 2;
  rotary.origin = -1;
  rotary.theta = 100;
  rotary.scale = 6.25;
  encoder.traits.absolute_positions = false;
  const absl::StatusOr<OwnEncoder> again = EncoderOfRecord(RecordOfEncoder(encoder));
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_FALSE(again->traits.absolute_positions);
  const RotaryGrid grid = RotaryGridOf(encoder.traits);
  EXPECT_EQ(grid.frequencies, std::vector<double>{6.25});
  EXPECT_TRUE(RotaryGridOf(again->traits) == grid);
  Value record = RecordOfEncoder(encoder);
  record.Set("heads", Value::Int(2));
  EXPECT_TRUE(absl::StrContains(EncoderOfRecord(record).status().message(), "rotary: heads of width 2 need"))
      << EncoderOfRecord(record).status();
}

// A model of the reference with mlp_ratio 2: as wide as the blocks' are the input adaptor's.
TEST(OwnEncoderTest, TheTokensMlpIsFoldedOrKept) {
  OwnEncoder encoder;
  encoder.family = "tec";
  VitTraits& traits = encoder.traits;
  traits = Clip().traits;
  traits.pre_norm = false;
  Builder file = Plain();
  file.Linear("cls_token_mlp.fc1", 4 * kWidth, kWidth).Linear("cls_token_mlp.fc2", kWidth, 4 * kWidth);
  const std::string path = Write("token_mlp", RecordOfEncoder(encoder), file.tensors());
  VitRequest request;
  const absl::StatusOr<VitFile> folded = ReadVitFile(path, request);
  ASSERT_TRUE(folded.ok()) << folded.status();
  request.keep_token_mlp = true;
  const absl::StatusOr<VitFile> kept = ReadVitFile(path, request);
  ASSERT_TRUE(kept.ok()) << kept.status();
  EXPECT_EQ(kept->plan.tensors.size(), folded->plan.tensors.size() + 4);
  EXPECT_EQ(kept->plan.tensors[0].read().bytes, file.tensors().Find("cls_token")->bytes);
  EXPECT_NE(folded->plan.tensors[0].read().bytes, file.tensors().Find("cls_token")->bytes);
  EXPECT_EQ(folded->plan.tensors[0].from.size(), 5u);
}

TEST(OwnEncoderTest, NothingIsReadAsAnotherModel) {
  const StateDict tensors = Tensors().tensors();
  const Value good = RecordOfEncoder(Clip());
  const auto with = [&good](const char* key, Value value) {
    Value record = good;
    record.Set(key, std::move(value));
    return record;
  };
  ExpectRefused(Write("later", with("conv_stem", Value::Bool(true)), tensors),
                "it has \"conv_stem\", which this program does not know: a later version wrote it");
  ExpectRefused(Write("activation", with("activation", Value::String("mish")), tensors), "activation is \"mish\"");
  ExpectRefused(Write("heads", with("heads", Value::Int(3)), tensors), "3 heads do not divide the width 4");
  ExpectRefused(Write("depth", with("depth", Value::Int(int64_t{1} << 40)), tensors), "depth is 1099511627776");
  ExpectRefused(Write("epsilon", with("norm_epsilon", Value::Double(-1)), tensors), "norm_epsilon is -1");
  ExpectRefused(Write("kind", with("registers", Value::String("2")), tensors), "registers");
  ExpectRefused(Write("none", Value::Int(1), tensors), "no dict");
  ExpectRefused(Write("registers", with("registers", Value::Int(1)), tensors), "reg_token is missing");
  ExpectRefused(Write("grid", with("grid", Value::Int(2)), tensors),
                "pos_embed has shape [1,10,4], not [1,5,4] as recorded");
  Builder more = Tensors();
  more.Norm("blocks.0.attn.norm");
  ExpectRefused(Write("more", good, more.tensors()), "blocks.0.attn.norm.weight is unexpected");
}

TEST(OwnEncoderTest, AFlagMayAgreeAndNotOverrule) {
  const std::string path = Write("flags", RecordOfEncoder(Clip()), Tensors().tensors());
  VitRequest request;
  request.family = "timm_clip";
  request.heads = 2;
  request.entry = "model";
  request.grid_rows = request.grid_columns = kGrid;
  EXPECT_TRUE(ReadVitFile(path, request).ok()) << ReadVitFile(path, request).status();
  const auto refused = [&](VitRequest other, const std::string& why) { ExpectRefused(path, why, other); };
  VitRequest other;
  other.family = "timm_open_clip";
  refused(other, "--family=timm_open_clip, but the checkpoint says timm_clip");
  other = {};
  other.heads = 4;
  refused(other, "--heads=4, but the checkpoint says 2");
  other = {};
  other.grid_rows = 2;
  other.grid_columns = 5;
  refused(other, "--grid=2x5, but the checkpoint says 3x3");
  other = {};
  other.entry = "teacher";
  refused(other, "no entry \"teacher\"");
}

}  // namespace
}  // namespace tec
