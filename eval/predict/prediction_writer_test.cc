#include "eval/predict/prediction_writer.h"

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace tec {
namespace {

using ::testing::HasSubstr;

std::string Written(const std::string& name, int64_t top) {
  const std::string path = ::testing::TempDir() + "/" + name;
  absl::StatusOr<PredictionWriter> writer = PredictionWriter::Open(path, {"ant", "bee, \"queen\"", "cat"}, top);
  EXPECT_TRUE(writer.ok()) << writer.status();
  if (!writer.ok()) return "";
  // The probabilities are 1/7, 4/7, 2/7.
  EXPECT_TRUE(writer->Add("a,b.png", {0, std::log(4.0f), std::log(2.0f)}).ok());
  EXPECT_TRUE(writer->AddUnreadable("c.png", "no picture").ok());
  EXPECT_TRUE(writer->Add("d.png", {std::nanf(""), std::nanf(""), std::nanf("")}).ok());
  EXPECT_FALSE(ReadFile(path).ok()) << "there before Close()";
  EXPECT_TRUE(writer->Close().ok());
  const absl::StatusOr<std::string> text = ReadFile(path);
  EXPECT_TRUE(text.ok()) << text.status();
  return text.ok() ? *text : "";
}

TEST(PredictionWriterTest, Table) {
  EXPECT_EQ(Written("one.csv", 1),
            "image,class,probability,error\n"
            "\"a,b.png\",\"bee, \"\"queen\"\"\",0.571429,\n"
            "c.png,,,no picture\n"
            "d.png,,,the model's output is not finite\n");
  // No more than there are classes.
  EXPECT_THAT(Written("all.csv", 9),
              HasSubstr("image,class,probability,class_2,probability_2,class_3,probability_3,error\n"
                        "\"a,b.png\",\"bee, \"\"queen\"\"\",0.571429,cat,0.285714,ant,0.142857,\n"
                        "c.png,,,,,,,no picture\n"));
}

TEST(PredictionWriterTest, JsonLines) {
  const std::string text = Written("two.jsonl", 2);
  EXPECT_THAT(text, HasSubstr(R"({"image":"a,b.png","class":"bee, \"queen\"","probability":0.5714)"));
  EXPECT_THAT(text, HasSubstr(R"({"class":"cat","probability":0.2857)"));
  EXPECT_THAT(text, HasSubstr("{\"image\":\"c.png\",\"error\":\"no picture\"}\n"));
}

TEST(PredictionWriterTest, OtherEndingsAreRefused) {
  const absl::Status status = PredictionWriter::Open("predictions.xlsx", {"a"}, 1).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr(".csv"));
}

}  // namespace
}  // namespace tec
