// The linear probe against problems whose optimum is known otherwise.

#include "eval/linear/logistic.h"

#include <cmath>
#include <vector>

#include "ATen/ATen.h"
#include "gtest/gtest.h"
#include "tec/base/random.h"

namespace tec {
namespace {

// At the solver's tolerance t on the gradient, strong convexity (l2) bounds the distance from the optimum by
// |gradient| / l2; the tests below have l2 >= 0.01, t = 1e-9 and fewer than 100 parameters.
constexpr double kGradient = 1e-9;
constexpr double kDistance = 100 * kGradient / 0.01;

LogisticOptions Tight(double l2, bool standardise) {
  LogisticOptions options;
  options.l2 = l2;
  options.standardise = standardise;
  options.tolerance = kGradient;
  return options;
}

// Two classes, one feature: x = +1 for n_plus images of class 1 and m_plus of class 0, x = -1 mirrored. By symmetry
// W_1 = -W_0 = w and b = 0, and the optimum solves 2 w l2 = q - sigmoid(2 w), q the share of the right sign: derived by
// setting the derivative along w of -q log s(2w) - (1-q) log s(-2w) + l2 w^2 to zero, and solved here by bisection.
TEST(LogisticTest, FindsTheOptimumOfASymmetricProblem) {
  const int right = 7, wrong = 3;
  const double l2 = 0.05, q = 0.7;
  std::vector<double> x;
  std::vector<int64_t> labels;
  for (int label = 0; label < 2; ++label) {
    const double sign = label == 1 ? 1 : -1;
    for (int i = 0; i < right + wrong; ++i) {
      x.push_back(i < right ? sign : -sign);
      labels.push_back(label);
    }
  }
  const at::Tensor features = at::tensor(x, at::kDouble).view({-1, 1});
  auto probe = FitLogistic(features, at::tensor(labels, at::kLong), 2, Tight(l2, false));
  ASSERT_TRUE(probe.ok()) << probe.status();
  EXPECT_TRUE(probe->converged);

  double low = 0, high = 100;
  for (int i = 0; i < 200; ++i) {
    const double w = 0.5 * (low + high);
    const double derivative = 2 * (1 / (1 + std::exp(-2 * w)) - q) + 2 * l2 * w;
    (derivative < 0 ? low : high) = w;
  }
  EXPECT_NEAR(probe->weight[1][0].item<double>(), low, kDistance);
  EXPECT_NEAR(probe->weight[0][0].item<double>(), -low, kDistance);
  EXPECT_NEAR((probe->bias[1] - probe->bias[0]).item<double>(), 0, kDistance);
}

// A feature that says nothing: the bias alone gives each class its share.
TEST(LogisticTest, GivesClassSharesWithoutInformation) {
  const at::Tensor features = at::full({10, 3}, 4.2, at::kFloat);
  const at::Tensor labels = at::tensor(std::vector<int64_t>{0, 0, 0, 0, 0, 1, 1, 1, 2, 2}, at::kLong);
  auto probe = FitLogistic(features, labels, 3, Tight(0.01, true));
  ASSERT_TRUE(probe.ok()) << probe.status();
  const at::Tensor p = at::softmax(probe->Logits(features), 1);
  EXPECT_NEAR(p[0][0].item<double>(), 0.5, kDistance);
  EXPECT_NEAR(p[0][1].item<double>(), 0.3, kDistance);
  EXPECT_NEAR(p[0][2].item<double>(), 0.2, kDistance);
  EXPECT_EQ(probe->weight.abs().max().item<double>(), 0);
}

// Many features, classes not separable: the gradient, computed by central differences of the objective as the header
// states it, vanishes at the answer.
TEST(LogisticTest, GradientVanishesAtTheAnswer) {
  RandomStream stream(RandomKey{3, RandomPurpose::kSplit, 0, 0});
  const int64_t n = 60, width = 5, classes = 4;
  at::Tensor x = at::empty({n, width}, at::kDouble), labels = at::empty({n}, at::kLong);
  for (int64_t i = 0; i < n; ++i) {
    labels[i] = static_cast<int64_t>(stream.UniformInt(classes));
    for (int64_t c = 0; c < width; ++c) x[i][c] = 3 * stream.Normal() + 0.7 * labels[i].item<int64_t>() * c + 100;
  }
  const double l2 = 0.02;
  auto probe = FitLogistic(x, labels, classes, Tight(l2, true));
  ASSERT_TRUE(probe.ok()) << probe.status();
  ASSERT_TRUE(probe->converged);
  auto objective = [&](const LogisticProbe& at) {
    return at::cross_entropy_loss(at.Logits(x), labels).item<double>() +
           0.5 * l2 * at.weight.square().sum().item<double>();
  };
  EXPECT_NEAR(objective(*probe), probe->loss, 1e-13);
  constexpr double kStep = 1e-5;  // Central differences: error of kStep^2 times the third derivative, about 1e-10.
  for (int64_t k = 0; k < classes; ++k) {
    for (int64_t c = 0; c < width; ++c) {
      LogisticProbe up = *probe, down = *probe;
      up.weight = probe->weight.clone();
      up.weight[k][c] += kStep;
      down.weight = probe->weight.clone();
      down.weight[k][c] -= kStep;
      EXPECT_NEAR((objective(up) - objective(down)) / (2 * kStep), 0, 1e-8) << k << " " << c;
    }
  }
}

TEST(LogisticTest, SeparatesClassesAndRepeatsItself) {
  const at::Tensor features = at::tensor(std::vector<float>{0, 0, 0, 1, 5, 5, 5, 6, -5, 9, -6, 9}).view({6, 2});
  const at::Tensor labels = at::tensor(std::vector<int64_t>{0, 0, 2, 2, 1, 1}, at::kLong);
  auto probe = FitLogistic(features, labels, 3);
  ASSERT_TRUE(probe.ok()) << probe.status();
  EXPECT_TRUE(at::equal(probe->Logits(features).argmax(1), labels));
  auto again = FitLogistic(features, labels, 3);
  ASSERT_TRUE(again.ok());
  EXPECT_TRUE(at::equal(probe->weight, again->weight) && at::equal(probe->bias, again->bias));
}

// The objective and its gradient over all images at once, as the header has them.
double WholeObjective(const LogisticProbe& at, const at::Tensor& x, const at::Tensor& labels, double l2,
                      at::Tensor* weight_gradient, at::Tensor* bias_gradient) {
  const at::Tensor standardised = (x.to(at::kDouble) - at.mean) * at.scale;
  const at::Tensor logits = at::addmm(at.bias, standardised, at.weight.t());
  const at::Tensor residual = (at::softmax(logits, 1) - at::one_hot(labels, logits.size(1))) / x.size(0);
  *weight_gradient = at::matmul(residual.t(), standardised) + l2 * at.weight;
  *bias_gradient = residual.sum(0);
  return at::cross_entropy_loss(logits, labels).item<double>() + 0.5 * l2 * at.weight.square().sum().item<double>();
}

// Blocks of any length, the last one shorter, find what one block of everything finds: the optimum of the whole.
TEST(LogisticTest, BlocksChangeNothing) {
  RandomStream stream(RandomKey{5, RandomPurpose::kSplit, 0, 0});
  const int64_t n = 61, width = 4, classes = 3;
  at::Tensor x = at::empty({n, width}), labels = at::empty({n}, at::kLong);
  for (int64_t i = 0; i < n; ++i) {
    labels[i] = static_cast<int64_t>(stream.UniformInt(classes));
    for (int64_t c = 0; c < width; ++c) x[i][c] = stream.Normal() + labels[i].item<int64_t>() * c + 10;
  }
  LogisticOptions options = Tight(0.05, true);
  const auto plain = FitLogistic(x, labels, classes, options);
  ASSERT_TRUE(plain.ok()) << plain.status();
  ASSERT_TRUE(plain->converged);
  for (const int64_t block : {1, 7, 60, 61, 1000}) {
    options.block = block;
    const auto probe = FitLogistic(x, labels, classes, options);
    ASSERT_TRUE(probe.ok()) << probe.status();
    EXPECT_TRUE(probe->converged);
    EXPECT_NEAR((probe->weight - plain->weight).abs().max().item<double>(), 0, kDistance) << block;
    at::Tensor weight_gradient, bias_gradient;
    const double loss = WholeObjective(*probe, x, labels, options.l2, &weight_gradient, &bias_gradient);
    EXPECT_NEAR(probe->loss, loss, 1e-13) << block;
    // Rounding of sums of 61 numbers of order 1 / 61.
    EXPECT_LE(weight_gradient.abs().max().item<double>(), kGradient + 1e-14) << block;
    EXPECT_LE(bias_gradient.abs().max().item<double>(), kGradient + 1e-14) << block;
    EXPECT_NEAR((probe->mean - x.to(at::kDouble).mean(0)).abs().max().item<double>(), 0, 1e-13) << block;
  }
}

TEST(LogisticTest, StopsOnRequest) {
  LogisticOptions options;
  int asked = 0;
  options.stop = [&asked] { return ++asked == 2; };
  const at::Tensor features = at::tensor(std::vector<float>{0, 1, 2, 4}).view({4, 1});
  const at::Tensor labels = at::tensor(std::vector<int64_t>{0, 1, 0, 1}, at::kLong);
  EXPECT_EQ(FitLogistic(features, labels, 2, options).status().code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(asked, 2);
}

TEST(LogisticTest, RefusesWhatItCannotFit) {
  const at::Tensor features = at::ones({2, 3}), labels = at::zeros({2}, at::kLong);
  EXPECT_EQ(FitLogistic(at::ones({0, 3}), at::zeros({0}, at::kLong), 2).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(FitLogistic(features, at::zeros({3}, at::kLong), 2).status().message(),
            "linear probe: 2 features, but 3 labels");
  EXPECT_EQ(FitLogistic(features, labels + 2, 2).status().message(), "linear probe: label 2, but there are 2 classes");
  EXPECT_EQ(FitLogistic(features / 0, labels, 2).status().message(), "linear probe: features that are not finite");
  LogisticOptions options;
  options.l2 = 0;
  EXPECT_EQ(FitLogistic(features, labels, 2, options).status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace tec
