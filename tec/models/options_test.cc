#include "tec/models/options.h"

#include <string>

#include "gtest/gtest.h"

namespace tec {
namespace {

const VitOptions kBase = {224, 16, 768, 12, 12};

TecOptions NewModel() {
  TecOptions options;
  options.encoder = kBase;
  options.decoder = {512, 2, 16};
  return options;
}

TEST(OptionsTest, AcceptsTheReferencesSizesAndDerivesTheRest) {
  EXPECT_TRUE(Validate(NewModel()).ok());
  EXPECT_EQ(kBase.patches(), 196);
  EXPECT_EQ(kBase.tokens(), 197);
  EXPECT_EQ(NewModel().groups(), 4);
  EXPECT_EQ(NewModel().prediction_width(), 768);
  EXPECT_TRUE(Validate(BaseModelOptions{kBase, 2, 15}).ok());
  EXPECT_TRUE(Validate(MaeOptions{{224, 14, 1280, 32, 16}, {512, 8, 16}}).ok());
}

TEST(OptionsTest, ListsAllProblemsAtOnce) {
  TecOptions options = NewModel();
  options.encoder.image_size = 220;
  options.encoder.heads = 7;
  options.decoder.depth = 0;
  options.adaptor_groups = 5;
  const absl::Status status = Validate(options);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  for (const char* part :
       {"image_size 220 is not a multiple of patch_size 16", "width 768 is not a multiple of heads 7",
        "decoder depth must be positive", "depth 12 is not a multiple of adaptor_groups 5"}) {
    EXPECT_NE(std::string(status.message()).find(part), std::string::npos) << status;
  }
}

TEST(OptionsTest, BoundsTheTargets) {
  EXPECT_FALSE(Validate(BaseModelOptions{kBase, 0, 15}).ok());
  EXPECT_FALSE(Validate(BaseModelOptions{kBase, 13, 15}).ok());
  EXPECT_FALSE(Validate(BaseModelOptions{kBase, 2, 197}).ok());
  EXPECT_TRUE(Validate(BaseModelOptions{kBase, 12, 196}).ok());
}

TEST(OptionsTest, ComparesPatchGridsButNotWidths) {
  TecOptions small = NewModel();
  small.encoder = {224, 16, 192, 12, 3};
  EXPECT_TRUE(ValidatePair({kBase, 2, 15}, small).ok());
  small.encoder.patch_size = 14;
  const absl::Status status = ValidatePair({kBase, 2, 15}, small);
  EXPECT_NE(std::string(status.message()).find("16 x 16 patches of 14 pixels"), std::string::npos) << status;
}

}  // namespace
}  // namespace tec
