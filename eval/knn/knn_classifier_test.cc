// Weighted kNN at its edges, and in blocks. Stored results of the usual rule: tools/goldens/check_evaluation.cc.

#include "eval/knn/knn_classifier.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "ATen/ATen.h"
#include "gtest/gtest.h"

namespace tec {
namespace {

struct Bank {
  at::Tensor features = at::arange(0, 23 * 5, at::kDouble).mul(0.71).sin().view({23, 5});
  at::Tensor labels = at::arange(0, 23, at::kLong).remainder(4);
  at::Tensor queries = at::arange(0, 9 * 5, at::kDouble).mul(0.37).cos().view({9, 5});
  at::Tensor query_labels = at::arange(0, 9, at::kLong).remainder(4);
};

// 23 rows in blocks of 7: fewer than k = 10 each, and a last one of two rows.
TEST(KnnTest, BlocksOfTheBankChangeNothing) {
  const Bank bank;
  KnnOptions options;
  options.k = {3, 10};
  auto whole = KnnClassifier::Create(bank.features, bank.labels, 4, options);
  options.bank_block = 7;
  auto blocks = KnnClassifier::Create(bank.features, bank.labels, 4, options);
  ASSERT_TRUE(whole.ok() && blocks.ok()) << whole.status() << blocks.status();
  const KnnVotes a = whole->Classify(bank.queries), b = blocks->Classify(bank.queries);
  EXPECT_TRUE(at::equal(a.neighbours, b.neighbours));
  for (size_t i = 0; i < options.k.size(); ++i) EXPECT_TRUE(at::allclose(a.scores[i], b.scores[i], 1e-9));
}

// 9 queries in blocks of 4: the last block is a part. A vote in double, counted by hand.
TEST(KnnTest, CountsEveryQueryOnce) {
  const Bank bank;
  KnnOptions options;
  options.k = {10};
  options.query_block = 4;
  auto knn = KnnClassifier::Create(bank.features, bank.labels, 4, options);
  ASSERT_TRUE(knn.ok()) << knn.status();
  const at::Tensor right = knn->Classify(bank.queries).scores[0].argmax(1).eq(bank.query_labels);
  auto results = knn->Evaluate(bank.queries, bank.query_labels);
  ASSERT_TRUE(results.ok()) << results.status();
  ASSERT_EQ(results->size(), 1);
  EXPECT_NEAR(results->front().top1, 100.0 * right.sum().item<int64_t>() / 9, 1e-9);
  EXPECT_EQ(results->front().top5, 100);
  EXPECT_EQ(results->front().report.images, 0);  // Not asked for.
}

// The report against the votes, a class's probability being its share of them.
TEST(KnnTest, ReportsFromSharesOfTheVotes) {
  const Bank bank;
  KnnOptions options;
  options.k = {1, 20};
  options.query_block = 4;
  options.reports = true;
  auto knn = KnnClassifier::Create(bank.features, bank.labels, 4, options);
  ASSERT_TRUE(knn.ok()) << knn.status();
  auto results = knn->Evaluate(bank.queries, bank.query_labels);
  ASSERT_TRUE(results.ok()) << results.status();
  const KnnVotes votes = knn->Classify(bank.queries);
  for (size_t i = 0; i < options.k.size(); ++i) {
    const ClassificationReport& report = (*results)[i].report;
    EXPECT_EQ(report.images, 9);
    EXPECT_EQ(report.top1, (*results)[i].top1);
    const at::Tensor shares = votes.scores[i] / votes.scores[i].sum(1, /*keepdim=*/true);
    const at::Tensor own = shares.gather(1, bank.query_labels.unsqueeze(1));
    const double loss = -own.log().mean().item<double>();
    if (std::isinf(loss)) {
      EXPECT_EQ(report.loss, loss);
    } else {
      EXPECT_NEAR(report.loss, loss, 1e-12);
    }
    const at::Tensor predicted = shares.argmax(1);
    for (int64_t q = 0; q < 9; ++q) {
      EXPECT_GT(report.confusion.at({bank.query_labels[q].item<int64_t>(), predicted[q].item<int64_t>()}), 0) << q;
    }
  }
  EXPECT_FALSE(std::isinf((*results)[1].report.loss));
}

// A bank that comes in parts of any size gives what the whole bank gives.
TEST(KnnTest, StreamGivesWhatTheWholeBankGives) {
  const Bank bank;
  KnnOptions options;
  options.k = {1, 10};
  auto whole = KnnClassifier::Create(bank.features, bank.labels, 4, options);
  ASSERT_TRUE(whole.ok()) << whole.status();
  const auto expected = whole->Evaluate(bank.queries, bank.query_labels);
  ASSERT_TRUE(expected.ok()) << expected.status();
  for (const int64_t part : {int64_t{7}, bank.features.size(0)}) {
    for (const int64_t block : {5, 64, 1 << 16}) {
      SCOPED_TRACE(std::to_string(part) + " " + std::to_string(block));
      options.query_block = 6;
      options.bank_block = block;
      auto knn = KnnStream::Create(bank.queries, bank.query_labels, 4, options);
      ASSERT_TRUE(knn.ok()) << knn.status();
      for (int64_t begin = 0; begin < bank.features.size(0); begin += part) {
        const int64_t length = std::min(part, bank.features.size(0) - begin);
        const absl::Status added =
            knn->AddBank(bank.features.narrow(0, begin, length), bank.labels.narrow(0, begin, length));
        ASSERT_TRUE(added.ok()) << added;
      }
      auto results = knn->Finish();
      ASSERT_TRUE(results.ok()) << results.status();
      EXPECT_EQ(knn->bank_size(), bank.features.size(0));
      ASSERT_EQ(results->size(), expected->size());
      for (size_t i = 0; i < results->size(); ++i) {
        EXPECT_NEAR((*results)[i].top1, (*expected)[i].top1, 1e-9);
        EXPECT_NEAR((*results)[i].top5, (*expected)[i].top5, 1e-9);
      }
    }
  }
}

// Against a bank that really lacks the row.
TEST(KnnTest, LeavesOneOut) {
  const int64_t classes = 4;
  const at::Tensor bank = at::arange(0, 40 * 5, at::kDouble).mul(0.71).sin().view({40, 5});
  const at::Tensor labels = at::arange(0, 40, at::kLong).remainder(classes);
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
