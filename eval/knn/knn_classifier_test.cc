// Weighted kNN against stored results of the usual rule (knn.safetensors), and at its edges.

#include "eval/knn/knn_classifier.h"

#include <cmath>
#include <string>
#include <vector>

#include "ATen/ATen.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tec/testing/golden.h"

namespace tec {
namespace {

constexpr char kGolden[] = "knn.safetensors";

KnnOptions GoldenOptions(const nlohmann::json& config) {
  KnnOptions options;
  options.k = {10, 20};
  options.temperature = config.at("T");
  return options;
}

// Relative, as the stored numbers' own README states: rounding of the cosine, 6e-8 in float32, is magnified by 1/T.
void ExpectGoldenVotes(at::ScalarType dtype, double relative, int64_t bank_block) {
  const testing::Golden golden(kGolden);
  const nlohmann::json config = golden.metadata("config");
  KnnOptions options = GoldenOptions(config);
  options.bank_block = bank_block;
  auto knn = KnnClassifier::Create(golden["in.train_features"].to(dtype), golden["in.train_labels"],
                                   config.at("classes"), options);
  ASSERT_TRUE(knn.ok()) << knn.status();
  const KnnVotes votes = knn->Classify(golden["in.query_features"].to(dtype));
  for (size_t i = 0; i < options.k.size(); ++i) {
    const std::string name = "k" + std::to_string(options.k[i]);
    SCOPED_TRACE(name);
    const at::Tensor want = golden[name + ".scores"];
    ASSERT_EQ(votes.scores[i].sizes(), want.sizes());
    const double error = ((votes.scores[i] - want).abs() / want.abs().clamp_min(1)).max().item<double>();
    EXPECT_TRUE(error <= relative) << error;
    EXPECT_TRUE(at::equal(votes.scores[i].argmax(1), golden[name + ".pred"]));
    const at::Tensor nearest = std::get<0>(votes.neighbours.narrow(1, 0, options.k[i]).sort(1));
    EXPECT_TRUE(at::equal(nearest, golden[name + ".neighbours"]));
  }
}

TEST(KnnTest, VotesInDoubleAsStored) { ExpectGoldenVotes(at::kDouble, 1e-9, 65536); }
TEST(KnnTest, VotesInFloatAsStored) { ExpectGoldenVotes(at::kFloat, 1e-4, 65536); }
// 120 rows in blocks of 7: fewer than k = 10 each, and a last one of a single row.
TEST(KnnTest, VotesInBlocksAsStored) { ExpectGoldenVotes(at::kDouble, 1e-9, 7); }

TEST(KnnTest, AccuracyAsStored) {
  const testing::Golden golden(kGolden);
  const nlohmann::json config = golden.metadata("config");
  const nlohmann::json accuracy = golden.metadata("accuracy");
  KnnOptions options = GoldenOptions(config);
  options.query_block = 4;  // 30 queries: the last block is a part.
  auto knn =
      KnnClassifier::Create(golden["in.train_features"], golden["in.train_labels"], config.at("classes"), options);
  ASSERT_TRUE(knn.ok()) << knn.status();
  auto results = knn->Evaluate(golden["in.query_features"], golden["in.query_labels"]);
  ASSERT_TRUE(results.ok()) << results.status();
  ASSERT_EQ(results->size(), 2);
  for (const KnnAccuracy& result : *results) {
    const nlohmann::json& want = accuracy.at(std::to_string(result.k));
    EXPECT_NEAR(result.top1, want.at("top1").get<double>(), 1e-9);
    EXPECT_NEAR(result.top5, want.at("top5").get<double>(), 1e-9);
  }
}

TEST(KnnTest, KBeyondTheBankMeansTheWholeBank) {
  const at::Tensor bank = at::tensor(std::vector<double>{1, 0, 0, 2, -3, 0}, at::kDouble).view({3, 2});
  KnnOptions options;
  options.k = {2, 50};
  options.temperature = 0.5;
  auto knn = KnnClassifier::Create(bank, at::tensor(std::vector<int64_t>{0, 1, 1}, at::kLong), 2, options);
  ASSERT_TRUE(knn.ok()) << knn.status();
  const KnnVotes votes = knn->Classify(at::tensor(std::vector<double>{0.5, 0}, at::kDouble).view({1, 2}));
  // Cosines 1, 0, -1: the lengths of query and bank play no part.
  EXPECT_NEAR(votes.scores[0][0][0].item<double>(), std::exp(2), 1e-12);
  EXPECT_NEAR(votes.scores[0][0][1].item<double>(), 1, 1e-12);
  EXPECT_NEAR(votes.scores[1][0][1].item<double>(), 1 + std::exp(-2), 1e-12);
}

TEST(KnnTest, RefusesWhatItCannotUse) {
  const at::Tensor bank = at::ones({3, 2}), labels = at::zeros({3}, at::kLong);
  const KnnOptions options;
  auto message = [&](const at::Tensor& b, const at::Tensor& l, int64_t classes, const KnnOptions& o) {
    const absl::Status status = KnnClassifier::Create(b, l, classes, o).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    return std::string(status.message());
  };
  EXPECT_EQ(message(at::ones({0, 2}), at::zeros({0}, at::kLong), 2, options), "kNN: the bank is empty: no features");
  EXPECT_EQ(message(bank, at::zeros({2}, at::kLong), 2, options), "kNN: the bank has 3 features and 2 labels");
  EXPECT_EQ(message(bank, labels + 2, 2, options), "kNN: the bank has label 2, but there are 2 classes");
  EXPECT_EQ(message(bank / 0, labels, 2, options), "kNN: the bank holds features that are not finite");
  KnnOptions bad = options;
  bad.k = {10, 0};
  EXPECT_EQ(message(bank, labels, 2, bad), "kNN: k is 0; it must be at least 1");
  bad = options;
  for (double temperature : {0.0, -1.0, 0.001, std::nan("")}) {
    bad.temperature = temperature;
    EXPECT_NE(message(bank, labels, 2, bad).find("temperature"), std::string::npos);
  }
  auto knn = KnnClassifier::Create(bank, labels, 2, options);
  ASSERT_TRUE(knn.ok());
  EXPECT_EQ(knn->Evaluate(at::ones({1, 3}), at::zeros({1}, at::kLong)).status().code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace tec
