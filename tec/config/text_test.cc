#include "tec/config/text.h"

#include <sys/stat.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "gmock/gmock.h"
#include "google/protobuf/struct.pb.h"
#include "google/protobuf/util/message_differencer.h"
#include "gtest/gtest.h"
#include "tec/base/file.h"
#include "tec/config/experiment.pb.h"

namespace tec {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

std::string ErrorOf(const std::string& text) {
  config::Experiment experiment;
  const absl::Status status = ParseText(text, "a.textproto", &experiment);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << text;
  return std::string(status.message());
}

TEST(ParseText, UnknownFieldHasItsPlaceAndTheNearestName) {
  EXPECT_EQ(ErrorOf("seed: 5\noptimizer {\n  batchsize: 4\n}\n"),
            "a.textproto:3:3: Optimizer has no field named \"batchsize\"; did you mean \"batch_size\"?");
}

TEST(ParseText, UnknownFieldUnlikeAnyGetsTheList) {
  EXPECT_EQ(ErrorOf("masking { temperature: 4 }"),
            "a.textproto:1:11: Masking has no field named \"temperature\"; it has mask_ratio, kind, mask_ratio_end");
}

TEST(ParseText, UnknownEnumValueHasItsPlaceAndTheNearestName) {
  EXPECT_EQ(ErrorOf("runtime {\n  precision: BFLOT16\n}"),
            "a.textproto:2:14: \"BFLOT16\" is no value of precision; did you mean \"BFLOAT16\"?");
  EXPECT_EQ(ErrorOf("method: DISTILLATION"),
            "a.textproto:1:9: \"DISTILLATION\" is no value of method; it may be TEC, MAE");
}

TEST(ParseText, ACommentBetweenDoesNotMoveThePlace) {
  EXPECT_THAT(ErrorOf("method: X  # X\n\n# X\nseed: 1"), StartsWith("a.textproto:1:9: "));
  EXPECT_THAT(ErrorOf("seed: 1\n  sead  # sead\n\n: 2"), StartsWith("a.textproto:2:3: "));
}

TEST(ParseText, RefusesWhatIsNotOneValueOfTheRightType) {
  EXPECT_THAT(ErrorOf("seed: 1\nseed: 2"), StartsWith("a.textproto:2:5: "));
  EXPECT_THAT(ErrorOf("model { name: \"a\" }\nmodel { name: \"b\" }"), StartsWith("a.textproto:2:"));
  EXPECT_THAT(ErrorOf("seed: \"five\""), StartsWith("a.textproto:1:7: "));
  EXPECT_THAT(ErrorOf("seed: 99999999999999999999"), StartsWith("a.textproto:1:7: "));
  EXPECT_THAT(ErrorOf("model { name: \"a\""), StartsWith("a.textproto:1:"));
  EXPECT_THAT(ErrorOf(std::string("seed: \0", 7)), StartsWith("a.textproto:1:"));
  EXPECT_THAT(ErrorOf(std::string((1 << 20) + 1, ' ')), HasSubstr("larger than"));
}

TEST(ParseText, NestsTo100) {
  // Value -> list_value -> values -> ...: two messages a level.
  const auto nested = [](int levels) {
    std::string text;
    for (int i = 0; i < levels; ++i) text += "list_value { values { ";
    text += "bool_value: true";
    for (int i = 0; i < levels; ++i) text += " } }";
    return text;
  };
  google::protobuf::Value value;
  EXPECT_TRUE(ParseText(nested(49), "a", &value).ok());
  EXPECT_EQ(ParseText(nested(51), "a", &value).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ParseText(nested(20000), "a", &value).code(), absl::StatusCode::kInvalidArgument);
}

TEST(ReadConfigFile, NamesWhatItCannotRead) {
  const std::string folder = ::testing::TempDir();
  EXPECT_EQ(ReadConfigFile(folder + "/missing").status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(ReadConfigFile(folder).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ReadConfigFile("/dev/zero").status().code(), absl::StatusCode::kInvalidArgument);
  const std::string pipe = folder + "/pipe";  // Nobody writes into it.
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_THAT(std::string(ReadConfigFile(pipe).status().message()), HasSubstr("is no regular file"));
  const std::string path = folder + "/some.textproto";
  ASSERT_TRUE(WriteFile(path, "seed: 7").ok());
  ASSERT_TRUE(ReadConfigFile(path).ok());
  EXPECT_EQ(*ReadConfigFile(path), "seed: 7");
}

TEST(Nearest, IsNearOrNothing) {
  const std::vector<std::string> names = {"vit_b_mae_300ep", "vit_b_mae_800ep", "lr"};
  EXPECT_EQ(Nearest("vit-b-mae-300", names), "vit_b_mae_300ep");
  EXPECT_EQ(Nearest("VIT_B_MAE_80ep", names), "vit_b_mae_800ep");
  EXPECT_EQ(Nearest("resnet50", names), "");
  EXPECT_EQ(Nearest("ab", names), "");
  EXPECT_EQ(Nearest("", names), "");
}

TEST(MergeOver, ReplacesRepeatedFieldsAndKeepsTheRest) {
  config::Experiment base, over, expected;
  ASSERT_TRUE(ParseText("seed: 5 data { path: 'p' mean: [1, 2, 3] std: [4, 5, 6] }", "a", &base).ok());
  ASSERT_TRUE(ParseText("data { mean: [7, 8] pin_mem: false } optimizer { lr: 0 }", "a", &over).ok());
  ASSERT_TRUE(ParseText("seed: 5 data { path: 'p' mean: [7, 8] std: [4, 5, 6] pin_mem: false } optimizer { lr: 0 }",
                        "a", &expected)
                  .ok());
  MergeOver(over, &base);
  EXPECT_TRUE(google::protobuf::util::MessageDifferencer::Equals(base, expected)) << base.DebugString();
}

TEST(MessageToText, KeepsEveryBitOfANumber) {
  config::Experiment experiment, back;
  experiment.mutable_optimizer()->set_lr(0.1 + 0.2);
  experiment.mutable_optimizer()->set_blr(1.0 / 3);
  experiment.mutable_data()->set_path("/päth with \"quotes\"\n");
  ASSERT_TRUE(ParseText(MessageToText(experiment), "a", &back).ok());
  EXPECT_EQ(back.SerializeAsString(), experiment.SerializeAsString());
  EXPECT_THAT(MessageToText(experiment), StartsWith("# proto-file: tec/config/experiment.proto\n"
                                                    "# proto-message: tec.config.Experiment\n"));
}

}  // namespace
}  // namespace tec
