#include "tools/weights/describe_file.h"

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tec/checkpoint/safetensors.h"
#include "tec/checkpoint/state_dict_file.h"

namespace tec {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr char kConvert[] = "tec/testing/goldens/weight_convert/";
constexpr char kCheckpoints[] = "tec/testing/goldens/checkpoints/";

TEST(DescribeFileTest, TellsContainerEntriesTensorsAndFamily) {
  const absl::StatusOr<std::string> text = DescribeFile(absl::StrCat(kConvert, "pretrain.pth"));
  ASSERT_TRUE(text.ok()) << text.status();
  EXPECT_THAT(*text, AllOf(HasSubstr("zip .pth"), HasSubstr("CRC-32"), HasSubstr("epoch: int 12"),
                           HasSubstr("model/blocks.0.attn.qkv.weight  F32[48,16]  mean"),
                           HasSubstr("base model: entry model, family tec"), HasSubstr("width 16, 3 blocks")));
  const absl::StatusOr<std::string> other = DescribeFile(absl::StrCat(kCheckpoints, "zip_dtypes.safetensors"));
  ASSERT_TRUE(other.ok()) << other.status();
  EXPECT_THAT(*other, AllOf(HasSubstr("safetensors, "), HasSubstr("NOT FINITE"), HasSubstr("no base model: ")));
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
