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

// A bank that comes in parts of any size gives what the whole bank gives.
TEST(KnnTest, StreamAgreesWithTheReference) {
  const testing::Golden golden(kGolden);
  const nlohmann::json config = golden.metadata("config"), accuracy = golden.metadata("accuracy");
  const at::Tensor &bank = golden["in.train_features"], &labels = golden["in.train_labels"];
  for (const int64_t part : {int64_t{7}, bank.size(0)}) {
    for (const int64_t block : {5, 64, 1 << 16}) {
      SCOPED_TRACE(std::to_string(part) + " " + std::to_string(block));
      KnnOptions options = GoldenOptions(config);
      options.query_block = 6;
      options.bank_block = block;
      auto knn =
          KnnStream::Create(golden["in.query_features"], golden["in.query_labels"], config.at("classes"), options);
      ASSERT_TRUE(knn.ok()) << knn.status();
      for (int64_t begin = 0; begin < bank.size(0); begin += part) {
        const int64_t length = std::min(part, bank.size(0) - begin);
        const absl::Status added = knn->AddBank(bank.narrow(0, begin, length), labels.narrow(0, begin, length));
        ASSERT_TRUE(added.ok()) << added;
      }
      auto results = knn->Finish();
      ASSERT_TRUE(results.ok()) << results.status();
      EXPECT_EQ(knn->bank_size(), bank.size(0));
      ASSERT_EQ(results->size(), 2);
      for (const KnnAccuracy& result : *results) {
        const nlohmann::json& want = accuracy.at(std::to_string(result.k));
        EXPECT_NEAR(result.top1, want.at("top1").get<double>(), 1e-9);
        EXPECT_NEAR(result.top5, want.at("top5").get<double>(), 1e-9);
      }
    }
  }
}

// Against a bank that really lacks the row.
TEST(KnnTest, LeavesOneOut) {
  const testing::Golden golden(kGolden);
  const int64_t classes = golden.metadata("config").at("classes");
  const at::Tensor bank = golden["in.train_features"].narrow(0, 0, 40),
                   labels = golden["in.train_labels"].narrow(0, 0, 40);
  for (const int64_t block : {7, 64}) {
    KnnOptions options;
    options.k = {3, 10, 50};  // 50: all 39 others.
    options.query_block = 9;
    options.bank_block = block;
    std::vector<double> right(options.k.size());
    for (int64_t row = 0; row < 40; ++row) {
      std::vector<int64_t> others;
      for (int64_t i = 0; i < 40; ++i) {
        if (i != row) others.push_back(i);
      }
      const at::Tensor index = at::tensor(others, at::kLong);
      auto knn = KnnClassifier::Create(bank.index_select(0, index), labels.index_select(0, index), classes, options);
      ASSERT_TRUE(knn.ok()) << knn.status();
      auto results = knn->Evaluate(bank.narrow(0, row, 1), labels.narrow(0, row, 1));
      ASSERT_TRUE(results.ok()) << results.status();
      for (size_t i = 0; i < right.size(); ++i) right[i] += (*results)[i].top1;
    }
    auto knn = KnnClassifier::Create(bank, labels, classes, options);
    ASSERT_TRUE(knn.ok()) << knn.status();
    auto results = knn->EvaluateLeaveOneOut();
    ASSERT_TRUE(results.ok()) << results.status();
    for (size_t i = 0; i < right.size(); ++i) EXPECT_NEAR((*results)[i].top1, right[i] / 40, 1e-9) << options.k[i];
  }
  auto one = KnnClassifier::Create(bank.narrow(0, 0, 1), labels.narrow(0, 0, 1), classes, KnnOptions());
  EXPECT_EQ(one->EvaluateLeaveOneOut().status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(KnnTest, StreamRefusesWhatItCannotUse) {
  const at::Tensor queries = at::ones({2, 3}), labels = at::zeros({2}, at::kLong);
  auto knn = KnnStream::Create(queries, labels, 2, KnnOptions());
  ASSERT_TRUE(knn.ok()) << knn.status();
  EXPECT_EQ(knn->AddBank(at::ones({2, 4}), labels).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(knn->AddBank(queries / 0, labels).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(knn->Finish().status().message(), "kNN: the bank is empty: no features");
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
