#include "eval/report/run_report.h"

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "eval/report/curves.h"
#include "eval/report/html.h"
#include "eval/testing/program.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tec/base/file.h"
#include "tec/run/event_writer.h"

namespace tec {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(HtmlTest, OutsideTextStaysText) {
  EXPECT_EQ(HtmlText("<script>alert('\"&')</script>"), "&lt;script&gt;alert(&#39;&quot;&amp;&#39;)&lt;/script&gt;");
  EXPECT_EQ(HtmlText("a\x1b[31m\tb"), "a\\x1b[31m\\x09b");
  EXPECT_EQ(HtmlText("caf\xE9"), "caf\\xe9");
}

TEST(HtmlTest, DataUri) { EXPECT_EQ(DataUri("image/png", "abc"), "data:image/png;base64,YWJj"); }

TEST(CurvesTest, ThinnedPointsAreMeans) {
  std::vector<std::pair<double, double>> points;
  for (int i = 0; i < 1000; ++i) points.emplace_back(i, 2 * i);
  const auto thin = Thinned(points, 10);
  ASSERT_EQ(thin.size(), 10);
  EXPECT_DOUBLE_EQ(thin[0].first, 49.5);
  EXPECT_DOUBLE_EQ(thin[9].second, 2 * 949.5);
  EXPECT_EQ(Thinned(points, 1000), points);
}

TEST(CurvesTest, OnePointIsADot) {
  const auto circles = [](std::vector<std::pair<double, double>> points) {
    const std::string svg = InlineChart({"a", {{"b", std::move(points)}}});
    return svg.find("<circle") != std::string::npos;
  };
  EXPECT_TRUE(circles({{0, 1}}));
  EXPECT_FALSE(circles({{0, 1}, {1, 2}}));
  EXPECT_FALSE(circles({{0, std::nan("")}}));
}

// A run whose every text is hostile.
RunFolder HostileRun(const std::string& name) {
  const std::string folder = testing::FreshFolder(name) + "/<b>run\x1b'\"";
  EXPECT_TRUE(MakeDirectories(folder).ok());
  EXPECT_TRUE(
      WriteFile(folder + "/experiment.textproto",
                "method: TEC\nname: \"<img src=x onerror=alert(1)>\"\nschedule { epochs: 2 warmup_epochs: 5 }\n")
          .ok());
  EXPECT_TRUE(
      WriteFile(folder + "/log.txt",
                "{\"train_loss\": 2.5, \"epoch\": 0, \"seconds\": 10, \"data_wait_seconds\": 4, \"bad_images\": 2}\n"
                "{\"train_loss\": 1.5, \"epoch\": 1, \"seconds\": 10, \"data_wait_seconds\": 4, \"bad_images\": 2}\n")
          .ok());
  EXPECT_TRUE(WriteFile(folder + "/metrics.jsonl",
                        "{\"update\": 1, \"loss\": 3, \"lr\": 0.1}\n{\"update\": 2, \"loss\": 2, \"lr\": 0.2}\n")
                  .ok());
  EXPECT_TRUE(WriteFile(folder + "/bad_images.txt", "<script>x</script>\xE9.jpg\treason\n").ok());
  EXPECT_TRUE(WriteFile(folder + "/checkpoint-1.pth", "abc").ok());
  const auto run = ReadRunFolder(folder);
  EXPECT_TRUE(run.ok()) << run.status();
  return *run;
}

TEST(RunReportTest, HasEverythingAndNothingHostile) {
  const std::string page = FormatRunReport({HostileRun("report_one")}, {{"extra", "More", "<p>of mine</p>"}});
  EXPECT_THAT(page, Not(HasSubstr("<script>x")));
  EXPECT_THAT(page, Not(HasSubstr("<img src=x")));
  EXPECT_THAT(page, Not(HasSubstr("<b>run")));
  EXPECT_THAT(page, HasSubstr("&lt;script&gt;x&lt;/script&gt;\\xe9.jpg\\x09reason"));
  EXPECT_THAT(page, HasSubstr("<p>of mine</p>"));
  EXPECT_THAT(page, HasSubstr("Losses over updates"));
  EXPECT_THAT(page, HasSubstr("Learning rate"));
  EXPECT_THAT(page, HasSubstr("finished"));
  // sha256 of "abc".
  EXPECT_THAT(page, HasSubstr("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"));
  EXPECT_THAT(page, HasSubstr("40 % of the time went in waiting for pictures"));
  EXPECT_THAT(page, HasSubstr("2 pictures could not be read"));
  EXPECT_THAT(page, HasSubstr("The warm-up of 5 epochs is as long as the run of 2"));
}

TEST(RunReportTest, ALossHasItsFloorBesideIt) {
  const RunFolder run = HostileRun("report_floor");
  EXPECT_THAT(FormatRunReport({run}, {}), Not(HasSubstr("loss_att_floor")));
  {
    auto events = EventWriter::Create(run.path, 0);
    ASSERT_TRUE(events.ok()) << events.status();
    for (int64_t epoch = 0; epoch < 2; ++epoch) {
      ASSERT_TRUE((*events)->AddScalars(1000 * (epoch + 1), {{"loss_att_floor", 1.25 - epoch}}, {-1, epoch}).ok());
    }
  }
  const std::string page = FormatRunReport({run}, {});
  EXPECT_THAT(page, HasSubstr("</i>loss_att_floor<"));
  EXPECT_THAT(page, HasSubstr("stroke-dasharray"));
}

// A cross-entropy with smoothed labels of 4 classes: 0.925 for the true one, 0.025 for each other.
TEST(RunReportTest, SmoothedLabelsHaveAFloor) {
  RunFolder run;
  run.path = "/no/such/folder";
  run.kind = RunKind::kFinetuning;
  run.what = "finetuning";
  run.settings = {{"augmentation.smoothing", "0.1"},
                  {"augmentation.mixup", "0"},
                  {"augmentation.cutmix", "0"},
                  {"nb_classes", "4"}};
  for (int epoch = 0; epoch < 2; ++epoch) run.epoch_log.push_back({{"epoch", epoch}, {"train_loss", 2}});
  const std::string page = FormatRunReport({run}, {});
  EXPECT_THAT(page, HasSubstr("</i>floor of train_loss<"));
  // -0.925 ln 0.925 - 3 x 0.025 ln 0.025: the lowest number at the axis.
  EXPECT_THAT(page, HasSubstr(">0.3488</text>"));
  run.settings[1].second = "0.8";  // Mixing: the target's entropy is another in every batch.
  EXPECT_THAT(FormatRunReport({run}, {}), Not(HasSubstr("floor of train_loss")));
}

TEST(RunReportTest, SeveralRunsSideBySide) {
  RunFolder a = HostileRun("report_a"), b = HostileRun("report_b");
  for (auto& [name, value] : b.settings) {
    if (name == "method") value = "MAE";
  }
  const std::string page = FormatRunReport({a, b}, {});
  EXPECT_THAT(page, HasSubstr("Settings that differ"));
  EXPECT_THAT(page, HasSubstr("<td>method<td>TEC<td>MAE"));
  // Two folders of one name are told apart by what they lie in.
  EXPECT_THAT(page, HasSubstr("Checkpoints of report_a/"));
  EXPECT_THAT(page, HasSubstr("Checkpoints of report_b/"));
}

TEST(RunReportTest, ARunWithoutAnythingStillHasAPage) {
  RunFolder run;
  run.path = "/no/such/folder";
  run.what = "finetuning";
  const std::string page = FormatRunReport({run}, {});
  EXPECT_THAT(page, HasSubstr("No update is logged yet."));
  EXPECT_THAT(page, HasSubstr("no epoch finished"));
  EXPECT_EQ(WarningsOf(run).size(), 0);
}

}  // namespace
}  // namespace tec
