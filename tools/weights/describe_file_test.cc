#include "tools/weights/describe_file.h"

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tec/base/file.h"
#include "tec/checkpoint/pth.h"
#include "tec/checkpoint/safetensors.h"
#include "tec/checkpoint/state_dict_file.h"

namespace tec {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kConvert[] = "tec/testing/goldens/weight_convert/";
constexpr char kCheckpoints[] = "tec/testing/goldens/checkpoints/";

VitRequest OfFamily(const std::string& name) {
  VitRequest request;
  request.family = name;
  return request;
}

TEST(DescribeFileTest, TellsContainerEntriesTensorsAndFamily) {
  const absl::StatusOr<std::string> text = DescribeFile(absl::StrCat(kConvert, "pretrain.pth"));
  ASSERT_TRUE(text.ok()) << text.status();
  EXPECT_THAT(*text, AllOf(HasSubstr("zip .pth"), HasSubstr("CRC-32"), HasSubstr("epoch: 12\n"),
                           HasSubstr("model/blocks.0.attn.qkv.weight  F32[48,16]  mean"),
                           HasSubstr("base model: entry model, family tec"), HasSubstr("width 16, 3 blocks")));
  const absl::StatusOr<std::string> other = DescribeFile(absl::StrCat(kCheckpoints, "zip_dtypes.safetensors"));
  ASSERT_TRUE(other.ok()) << other.status();
  EXPECT_THAT(*other, AllOf(HasSubstr("safetensors, "), HasSubstr("NOT FINITE"), HasSubstr("no base model: ")));
}

TEST(DescribeFileTest, ShowsArgumentsAndTexts) {
  const absl::StatusOr<std::string> text = DescribeFile(absl::StrCat(kConvert, "pretrain.pth"));
  ASSERT_TRUE(text.ok()) << text.status();
  EXPECT_THAT(*text,
              AllOf(HasSubstr("  args: object argparse.Namespace\n"), HasSubstr("    basemodel: \"mae1kbase\"\n"),
                    HasSubstr("    scale: 65536\n"), HasSubstr("  optimizer: dict of 2\n")));
  Value root = Value::Dict(), run = Value::Dict();
  run.Set("experiment", Value::String("name: \"x\"\nsteps: 3"));
  run.Set("betas", Value::Tuple({Value::Double(0.5), Value::None()}));
  root.Set("tec", run);
  root.Set("model", Value::FromStateDict(StateDict()));
  // What would clear a terminal, and make a line of its own.
  root.Set("a\x1b[2J\nepoch: 9", Value::String("\x1b[2J"));
  const std::string path = ::testing::TempDir() + "/texts.pth";
  ASSERT_TRUE(WritePth(path, root).ok());
  const absl::StatusOr<std::string> shown = DescribeFile(path);
  ASSERT_TRUE(shown.ok()) << shown.status();
  EXPECT_THAT(*shown, AllOf(HasSubstr("    experiment: str\n      name: \"x\"\n      steps: 3\n"),
                            HasSubstr("    betas: [0.5, None]\n"),
                            HasSubstr("  a\\x1b[2J\\x0aepoch: 9: \"\\x1b[2J\"\n"), Not(HasSubstr("\x1b"))));
}

Value SmallVit(const std::string& prefix) {
  StateDict tensors;
  const auto add = [&](const std::string& name, const std::vector<int64_t>& shape) {
    int64_t count = 1;
    for (int64_t size : shape) count *= size;
    EXPECT_TRUE(tensors.Add(prefix + name, TensorView::FromFloats(shape, std::vector<float>(count))).ok());
  };
  add("cls_token", {1, 1, 2});
  add("pos_embed", {1, 5, 2});
  add("masked_embed", {1, 2});
  for (const auto& [name, shape] : {std::pair<const char*, std::vector<int64_t>>{"patch_embed.proj", {2, 3, 1, 1}},
                                    {"blocks.0.norm1", {2}},
                                    {"blocks.0.attn.qkv", {6, 2}},
                                    {"blocks.0.attn.proj", {2, 2}},
                                    {"blocks.0.norm2", {2}},
                                    {"blocks.0.mlp.fc1", {8, 2}},
                                    {"blocks.0.mlp.fc2", {2, 8}},
                                    {"norm", {2}}}) {
    add(absl::StrCat(name, ".weight"), shape);
    add(absl::StrCat(name, ".bias"), {shape[0]});
  }
  return Value::FromStateDict(tensors);
}

TEST(DescribeFileTest, SaysThatATeacherIsThereAndTakesIt) {
  Value root = Value::Dict();
  root.Set("student", SmallVit("module.backbone."));
  const std::string path = ::testing::TempDir() + "/ibot.pth";
  ASSERT_TRUE(WritePth(path, root).ok());
  EXPECT_THAT(*DescribeFile(path), AllOf(HasSubstr("entry student, family ibot:"), Not(HasSubstr("teacher"))));
  root.Set("teacher", SmallVit("backbone."));
  ASSERT_TRUE(WritePth(path, root).ok());
  EXPECT_THAT(*DescribeFile(path),
              AllOf(HasSubstr("entry student, family ibot:"), HasSubstr("--family=ibot_teacher takes the teacher")));
  EXPECT_THAT(*DescribeFile(path, OfFamily("ibot_teacher")), HasSubstr("entry teacher, family ibot_teacher:"));
  EXPECT_THAT(*DescribeFile(path, OfFamily("ibt")), HasSubstr("did you mean ibot?"));
}

TEST(DescribeFileTest, TakesAFolder) {
  const std::string folder = ::testing::TempDir() + "/folder";
  ASSERT_TRUE(MakeDirectories(folder).ok());
  EXPECT_FALSE(DescribeFile(folder).ok());
  ASSERT_TRUE(WritePth(folder + "/pytorch_model.bin", SmallVit("")).ok());
  EXPECT_THAT(*DescribeFile(folder),
              AllOf(HasSubstr("/folder/pytorch_model.bin\nzip .pth"), HasSubstr("family ibot:")));
  const absl::StatusOr<FileDifference> difference = DiffFiles(folder, folder + "/pytorch_model.bin");
  ASSERT_TRUE(difference.ok()) << difference.status();
  EXPECT_TRUE(difference->equal);
}

TEST(DescribeFileTest, SaysWhyAFileIsRefused) {
  EXPECT_THAT(std::string(DescribeFile(absl::StrCat(kCheckpoints, "hostile/os_system.pth")).status().message()),
              AllOf(HasSubstr("os_system.pth"), HasSubstr("system")));
  EXPECT_THAT(std::string(DescribeFile(absl::StrCat(kCheckpoints, "hostile/bad_crc.pth")).status().message()),
              HasSubstr("CRC"));
}

TEST(DiffFilesTest, NamesEveryTensorThatDiffers) {
  const std::string whole = absl::StrCat(kConvert, "pretrain.safetensors");
  const absl::StatusOr<StateDictFile> file = ReadStateDict(whole);
  ASSERT_TRUE(file.ok());
  StateDict changed;
  for (const auto& [name, tensor] : file->tensors) {
    if (name == "norm.bias") continue;
    std::vector<float> values = tensor.Values<float>();
    if (name == "cls_token") values[3] += 0.5f;
    ASSERT_TRUE(changed.Add(name, TensorView::FromFloats(tensor.shape, values)).ok());
  }
  ASSERT_TRUE(changed.Add("more", TensorView::FromFloats({1}, {1})).ok());
  const std::string other = ::testing::TempDir() + "/other.safetensors";
  ASSERT_TRUE(WriteSafetensors(other, changed).ok());
  const absl::StatusOr<FileDifference> difference = DiffFiles(whole, other);
  ASSERT_TRUE(difference.ok()) << difference.status();
  EXPECT_FALSE(difference->equal);
  EXPECT_THAT(difference->text, AllOf(HasSubstr("cls_token  F32[1,1,16]: 1 of 16 elements differ, by 0.5 at most"),
                                      HasSubstr(absl::StrCat("only in ", whole, ": norm.bias")),
                                      HasSubstr(absl::StrCat("only in ", other, ": more")),
                                      HasSubstr("1 differ, 2 are in one file only")));
  EXPECT_TRUE(DiffFiles(whole, whole)->equal);
  const absl::StatusOr<FileDifference> twins =
      DiffFiles(absl::StrCat(kConvert, "converted.pth"), absl::StrCat(kConvert, "converted.safetensors"));
  ASSERT_TRUE(twins.ok()) << twins.status();
  EXPECT_TRUE(twins->equal) << twins->text;
  // A model and a whole checkpoint: what they share, the model, is compared.
  const absl::StatusOr<FileDifference> parts = DiffFiles(absl::StrCat(kConvert, "pretrain.pth"), whole);
  ASSERT_TRUE(parts.ok()) << parts.status();
  EXPECT_THAT(parts->text, AllOf(HasSubstr("pretrain.pth: optimizer/"),
                                 HasSubstr("83 tensors are equal bit for bit, 0 differ, 243 are in one file only")));
  EXPECT_FALSE(parts->equal);
}

}  // namespace
}  // namespace tec
