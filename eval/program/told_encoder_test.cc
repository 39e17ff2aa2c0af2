#include "eval/program/told_encoder.h"

#include "gtest/gtest.h"

namespace tec {
namespace {

TEST(ToldEncoderTest, ComesBackAsItWasSaid) {
  VitRequest request;
  request.family = "clip";
  request.entry = "model_ema";
  request.heads = 4;
  request.grid_rows = 3;
  request.grid_columns = 5;
  nlohmann::ordered_json results = {{"checkpoint", "x.pth"}};
  RecordTold(request, &results);
  const absl::StatusOr<VitRequest> back = ToldIn(nlohmann::json::parse(results.dump()));
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(back->family, "clip");
  EXPECT_EQ(back->entry, "model_ema");
  EXPECT_EQ(back->heads, 4);
  EXPECT_EQ(back->grid_rows, 3);
  EXPECT_EQ(back->grid_columns, 5);
}

TEST(ToldEncoderTest, LeavesResultsAsTheyAreWhereNothingWasSaid) {
  nlohmann::ordered_json results = {{"checkpoint", "x.pth"}};
  RecordTold({}, &results);
  EXPECT_EQ(results.dump(), "{\"checkpoint\":\"x.pth\"}");
  const absl::StatusOr<VitRequest> back = ToldIn(nlohmann::json::parse(results.dump()));
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_TRUE(back->family.empty() && back->entry.empty() && back->heads == 0 && back->grid_rows == 0);
  EXPECT_TRUE(ToldIn(nlohmann::json()).ok());
}

TEST(ToldEncoderTest, RefusesWhatMakesNoSense) {
  for (const char* text : {R"({"told": {"heads": "four"}})", R"({"told": {"heads": 0}})", R"({"told": {"grid": "x"}})",
                           R"({"told": {"grid": 14}})", R"({"told": {"family": 5}})", R"({"told": "clip"})"}) {
    const absl::StatusOr<VitRequest> back = ToldIn(nlohmann::json::parse(text));
    EXPECT_EQ(back.status().code(), absl::StatusCode::kInvalidArgument) << text;
  }
}

}  // namespace
}  // namespace tec
