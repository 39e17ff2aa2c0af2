#include "tec/run/progress.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>

#include "gtest/gtest.h"

namespace tec {
namespace {

ProgressState SomeState() {
  ProgressState state;
  state.epoch = 2;
  state.epochs = 300;
  state.step = 40;
  state.steps_per_epoch = 160;
  state.lr = 3e-4;
  state.losses = {{"loss", 1.5, 1.25}, {"loss_fea", 0.5, 0.75}};
  state.images_per_second = 98.76;
  state.step_seconds = 0.5;
  state.data_wait_seconds = 0.125;
  state.eta_seconds = 3723;
  return state;
}

std::string Written(std::FILE* file) {
  std::string text(std::ftell(file), '\0');
  std::rewind(file);
  EXPECT_EQ(std::fread(&text[0], 1, text.size(), file), text.size());
  return text;
}

TEST(FormatTest, Duration) {
  EXPECT_EQ(FormatDuration(0.4), "0:00:00");
  EXPECT_EQ(FormatDuration(59.6), "0:01:00");
  EXPECT_EQ(FormatDuration(100 * 3600.0 + 61), "100:01:01");
  EXPECT_EQ(FormatDuration(std::numeric_limits<double>::infinity()), "?");
  EXPECT_EQ(FormatDuration(std::nan("")), "?");
}

TEST(FormatTest, LineIsTheReferences) {
  EXPECT_EQ(FormatLine(SomeState()),
            "Epoch: [2]  [ 40/160]  eta: 1:02:03  lr: 0.000300  loss: 1.5000 (1.2500)  loss_fea: 0.5000 (0.7500)  "
            "time: 0.5000 s  data: 0.1250 s  98.8 images/s");
}

TEST(FormatTest, Bar) {
  EXPECT_EQ(FormatBar(SomeState(), 200),
            "epoch 3/300 [#####---------------]  40/160  loss 1.5000  ETA 1:02:03  98.8 images/s  lr 3.00e-04  "
            "data wait 25%  loss_fea 0.5000");
}

TEST(FormatTest, BarFitsTheTerminal) { EXPECT_EQ(FormatBar(SomeState(), 40).size(), 40); }

TEST(ProgressTest, PlainLinesAtTheFirstStepEveryPrintFreqAndAtTheLast) {
  std::FILE* file = std::tmpfile();
  {
    Progress progress({file, /*print_freq=*/3, /*quiet=*/false});
    ProgressState state;
    state.steps_per_epoch = 7;
    for (state.step = 1; state.step <= 7; ++state.step) progress.Update(state);
    progress.Print("done");
  }
  const std::string text = Written(file);
  EXPECT_NE(text.find("[1/7]"), std::string::npos) << text;
  EXPECT_NE(text.find("[3/7]"), std::string::npos) << text;
  EXPECT_NE(text.find("[6/7]"), std::string::npos) << text;
  EXPECT_NE(text.find("[7/7]"), std::string::npos) << text;
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 5) << text;
  // No terminal control characters in a log file.
  EXPECT_EQ(text.find_first_of("\r\x1b"), std::string::npos);
  std::fclose(file);
}

TEST(ProgressTest, ALineAtLeastEveryLogSeconds) {
  std::FILE* file = std::tmpfile();
  {
    // So little that it is over at each step; print_freq asks for none.
    Progress progress({file, /*print_freq=*/0, /*quiet=*/false, /*log_seconds=*/1e-9});
    ProgressState state;
    state.steps_per_epoch = 7;
    for (state.step = 1; state.step <= 3; ++state.step) progress.Update(state);
  }
  const std::string text = Written(file);
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 3) << text;
  std::fclose(file);
}

TEST(ProgressTest, QuietWritesNothing) {
  std::FILE* file = std::tmpfile();
  {
    Progress progress({file, 1, /*quiet=*/true});
    progress.Update(SomeState());
    progress.Print("done");
  }
  EXPECT_EQ(std::ftell(file), 0);
  std::fclose(file);
}

}  // namespace
}  // namespace tec
