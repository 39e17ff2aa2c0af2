// The program over a run whose weights are those of a tiny model.

#include <cstdlib>
#include <filesystem>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "eval/testing/tiny.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tec/base/file.h"
#include "tec/checkpoint/safetensors.h"
#include "tec/checkpoint/training_state.h"
#include "tec/config/config.h"

namespace tec {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using testing::ProgramResult;

ProgramResult Report(const std::string& arguments) { return testing::RunProgram("eval/report/report", arguments); }

int Count(const std::string& text, const std::string& part) {
  int count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

class ReportProgramTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = testing::FreshFolder("report");
    testing::WritePictures(folder_ + "/data", {"ant <b>", "b\xE9\x1b[31m"}, 30, 1);
    testing::WriteMaeCheckpoint(folder_ + "/mae.pth");
  }

  // An output folder as pretraining leaves one.
  static std::string WriteRun(const std::string& name, bool mae, const std::string& data = folder_ + "/data") {
    const std::string run = folder_ + "/" + name;
    EXPECT_TRUE(MakeDirectories(run).ok());
    if (mae) {
      testing::WriteMaeCheckpoint(run + "/checkpoint-0.pth");
    } else {
      testing::WriteTecCheckpoint(run + "/checkpoint-0.pth", /*mlp_token=*/true);
      std::filesystem::copy(run + "/checkpoint-0.pth", run + "/checkpoint-7.pth");
    }
    const auto state = LoadTrainingState(run + "/checkpoint-0.pth");
    EXPECT_TRUE(state.ok()) << state.status();
    auto experiment = ParseExperiment(state->experiment, "test");
    EXPECT_TRUE(experiment.ok()) << experiment.status();
    experiment->mutable_data()->set_path(data);
    experiment->mutable_base_model()->set_path(folder_ + "/mae.pth");
    EXPECT_TRUE(WriteFile(run + "/experiment.textproto", ToText(*experiment)).ok());
    EXPECT_TRUE(WriteFile(run + "/log.txt", "{\"train_loss\": 1.5, \"epoch\": 0}\n").ok());
    return run;
  }

  static std::string folder_;
};

std::string ReportProgramTest::folder_;

TEST_F(ReportProgramTest, TecRun) {
  const std::string run = WriteRun("tec", /*mae=*/false);
  const ProgramResult result = Report(run + " --report_images=4 --report_bank 40");
  ASSERT_EQ(result.exit_code, 0) << result.output;
  EXPECT_THAT(result.output, HasSubstr("report: " + run + "/report.html"));
  const std::string page = *ReadFile(run + "/report.html");
  EXPECT_LT(page.size(), 20 << 20);
  EXPECT_THAT(page, HasSubstr("Did it help?"));
  EXPECT_THAT(page, HasSubstr("<td>base model<td>"));
  EXPECT_THAT(page, HasSubstr("<td>checkpoint-7<td>"));
  EXPECT_THAT(page, HasSubstr(" &plusmn; "));
  // For each picture three encoders' attention and colours, and both relation rows.
  EXPECT_EQ(Count(page, ">attention, "), 12);
  EXPECT_EQ(Count(page, ">colours, "), 12);
  EXPECT_EQ(Count(page, ", base model<") - Count(page, ">attention, base") - Count(page, ">colours, base"), 4);
  EXPECT_EQ(Count(page, ", predicted by checkpoint-"), 8);
  EXPECT_EQ(Count(page, "what the new model sees"), 4);
  // Two encoders' neighbours: five each, and the caption has the cosine.
  EXPECT_THAT(page, HasSubstr("ant &lt;b&gt;/"));
  EXPECT_THAT(page, HasSubstr("b\\xe9\\x1b[31m/"));
  EXPECT_THAT(page, Not(HasSubstr("ant <b>")));
  // Nothing is fetched: every source is in the page.
  EXPECT_EQ(Count(page, "src=\""), Count(page, "src=\"data:image/"));
  EXPECT_FALSE(std::filesystem::exists(run + "/tensorboard"));
}

// Pictures as people keep them: files that only Pillow's rules let pass, litter, a picture that is none, names of any
// bytes; in a folder, in an archive with what else tar puts into one, by a list of an editor on Windows.
TEST_F(ReportProgramTest, PicturesAsPeopleKeepThem) {
  const std::string data = folder_ + "/kept", ant = data + "/train/ant \xE2\x80\xAE", bee = data + "/train/b\xE9";
  testing::WritePictures(data + "/train", {"ant \xE2\x80\xAE", "b\xE9"}, 10, 1);
  std::string list = "\xEF\xBB\xBF";
  for (const char* name : {"no_end_zeros.jpg", "tables_first.jpg", "scans1.jpg", "cut12.png", "window9.png",
                           "palette_twice.png", "offset_zero.bmp"}) {
    std::filesystem::copy_file(absl::StrCat("data/testing/formats/", name), absl::StrCat(ant, "/", name));
    absl::StrAppend(&list, ant, "/", name, "\t0 \r\n", bee, "/0.png\t1\r\n");
  }
  for (const std::string name : {"/._no_end.jpg", "/Thumbs.db", "/a\nb\tc\x1b[31m.jpg"}) {
    ASSERT_TRUE(WriteFile(ant + name, "junk").ok());
  }
  ASSERT_TRUE(WriteFile(folder_ + "/kept.txt", list).ok());
  const ProgramResult packed = testing::RunShell(absl::StrCat(
      "cd ", data, "/train/ant* && ln -s ../b*/1.png link.png && ln -s nowhere gone.png && mkfifo fifo && cd .. && ",
      "tar cf ", folder_, "/kept.tar -V label * && rm ant*/gone.png ant*/fifo"));
  ASSERT_EQ(packed.exit_code, 0) << packed.output;
  for (const std::string& path : {data, folder_ + "/kept.tar", folder_ + "/kept.txt"}) {
    SCOPED_TRACE(path);
    const std::string run = WriteRun("of_kept", /*mae=*/false, path);
    const ProgramResult result = Report(run + " --report_images=4 --report_bank=40");
    ASSERT_EQ(result.exit_code, 0) << result.output;
    EXPECT_EQ(result.output.find_first_of("\x1b\xE9"), std::string::npos) << result.output;
    const std::string page = *ReadFile(run + "/report.html");
    EXPECT_EQ(Count(page, ">attention, "), 12);
    EXPECT_THAT(page, HasSubstr("b\\xe9/"));
    EXPECT_THAT(page, HasSubstr("ant \\u202e/"));
    EXPECT_THAT(page, Not(HasSubstr("\xE2\x80\xAE")));
    EXPECT_EQ(page.find_first_of("\x1b\xE9"), std::string::npos);
    const bool listed = absl::EndsWith(path, ".txt");
    EXPECT_EQ(Count(page, "Left out because they cannot be read"), listed ? 0 : 1);
    EXPECT_EQ(Count(page, "a\\x0ab\\x09c\\x1b[31m.jpg"), listed ? 0 : 1);
    std::filesystem::remove_all(run);
  }
}

// As in training, a base model of which nothing says how its images were normalised sees them as the run's.
TEST_F(ReportProgramTest, ABaseModelSeesItsImagesAsInTraining) {
  const std::string plain = folder_ + "/plain", run = WriteRun("other_mean", /*mae=*/false);
  ASSERT_TRUE(MakeDirectories(plain).ok());
  const auto state = LoadTrainingState(folder_ + "/mae.pth");
  ASSERT_TRUE(state.ok()) << state.status();
  ASSERT_TRUE(WriteSafetensors(plain + "/base.safetensors", state->model).ok());
  auto experiment = LoadExperiment(run + "/experiment.textproto");
  ASSERT_TRUE(experiment.ok()) << experiment.status();
  experiment->mutable_base_model()->set_path(plain + "/base.safetensors");
  for (auto* numbers : {experiment->mutable_data()->mutable_mean(), experiment->mutable_data()->mutable_std()}) {
    numbers->Clear();
    for (int channel = 0; channel < 3; ++channel) numbers->Add(0.5);
  }
  ASSERT_TRUE(WriteFile(run + "/experiment.textproto", ToText(*experiment)).ok());
  // All its pictures: what is compared.
  const auto drawn = [&run](const std::string& normalisation) {
    EXPECT_TRUE(normalisation.empty() || WriteFile(folder_ + "/plain/preprocessor_config.json", normalisation).ok());
    const ProgramResult result = Report(run + " --report_images=2 --report_bank=20 --device=cpu");
    EXPECT_EQ(result.exit_code, 0) << result.output;
    std::string pictures;
    for (const absl::string_view part : absl::StrSplit(*ReadFile(run + "/report.html"), "src=\"data:image/")) {
      absl::StrAppend(&pictures, part.substr(0, part.find('"')), "\n");
    }
    return pictures.substr(pictures.find('\n'));
  };
  const std::string unknown = drawn(""),
                    halves = drawn(R"({"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]})"),
                    others = drawn(R"({"image_mean": [0.48, 0.45, 0.4], "image_std": [0.2, 0.2, 0.2]})");
  EXPECT_GT(unknown.size(), 10000);
  EXPECT_TRUE(unknown == halves);
  EXPECT_FALSE(unknown == others);
}

// tools/consumers/vectors_test.py opens it with TensorBoard.
TEST_F(ReportProgramTest, ForTensorBoard) {
  const std::string run = WriteRun("board", /*mae=*/false), folder = run + "/tensorboard";
  const ProgramResult result = Report(run + " --report_images=2 --report_bank=20 --tensorboard --histograms");
  ASSERT_EQ(result.exit_code, 0) << result.output;
  EXPECT_THAT(result.output, HasSubstr("for tensorboard --logdir: " + folder));
  const std::string config = *ReadFile(folder + "/projector_config.pbtxt");
  EXPECT_THAT(config, HasSubstr("tensor_name: \"checkpoint-7\"\n  tensor_shape: 20\n  tensor_shape: 16\n"));
  EXPECT_THAT(config, HasSubstr("tensor_path: \"vectors-before.tsv\""));
  EXPECT_EQ(Count(*ReadFile(folder + "/vectors.tsv"), "\n"), 20);
  const std::string metadata = *ReadFile(folder + "/metadata.tsv");
  EXPECT_EQ(Count(metadata, "\n"), 21);
  EXPECT_EQ(Count(metadata, "\t"), 21);
  EXPECT_THAT(metadata, HasSubstr("\tb\\xe9\\x1b[31m\n"));
  EXPECT_TRUE(std::filesystem::exists(folder + "/sprite.png"));
  EXPECT_EQ(Report(run + " --histograms").exit_code, 1);
  EXPECT_EQ(Report(run + " " + run + " --tensorboard").exit_code, 1);
}

TEST_F(ReportProgramTest, MaeRunHasReconstructions) {
  const std::string run = WriteRun("mae", /*mae=*/true);
  const ProgramResult result = Report(run + " --report_images=3 --report_bank=20 --output=" + folder_ + "/page.html");
  ASSERT_EQ(result.exit_code, 0) << result.output;
  const std::string page = *ReadFile(folder_ + "/page.html");
  EXPECT_EQ(Count(page, ">reconstructed by checkpoint-0<"), 3);
  EXPECT_THAT(page, Not(HasSubstr(", predicted by")));
}

TEST_F(ReportProgramTest, WhatIsMissingIsSaidAndTheRestIsThere) {
  const std::string run = WriteRun("gone", /*mae=*/false);
  const ProgramResult result = Report(run + " --base_model=" + folder_ + "/none.pth");
  ASSERT_EQ(result.exit_code, 0) << result.output;
  const std::string page = *ReadFile(run + "/report.html");
  EXPECT_THAT(page, HasSubstr("Not drawn: the run&#39;s base model (--base_model says where it is now)"));
  EXPECT_THAT(page, HasSubstr("Mean losses over epochs"));
}

// xdg-open stands for the desktop; a program of that name says what it was given.
TEST_F(ReportProgramTest, OpensThePageOnRequest) {
  const std::string run = WriteRun("open", /*mae=*/false);
  const std::string programs = folder_ + "/programs", opened = folder_ + "/opened";
  ASSERT_TRUE(MakeDirectories(programs).ok());
  ASSERT_TRUE(WriteFile(programs + "/xdg-open", "#!/bin/sh\necho \"$# $1\" > '" + opened + "'\nexit 3\n").ok());
  std::filesystem::permissions(programs + "/xdg-open", std::filesystem::perms::owner_all);
  const std::string path = getenv("PATH");
  setenv("PATH", (programs + ":" + path).c_str(), 1);
  const ProgramResult result = Report(run + " --nopictures --open");
  setenv("PATH", path.c_str(), 1);
  EXPECT_EQ(result.exit_code, 0) << result.output;
  EXPECT_THAT(result.output, HasSubstr("report: " + run + "/report.html"));
  EXPECT_EQ(*ReadFile(opened), "1 " + run + "/report.html\n");
  // Without a browser it ends with 3, which from a program of this project says something else.
  EXPECT_THAT(result.output, HasSubstr("xdg-open could not show the page"));

  std::filesystem::remove(opened);
  setenv("PATH", "/nowhere", 1);
  const ProgramResult without = Report(run + " --nopictures --open");
  setenv("PATH", path.c_str(), 1);
  EXPECT_EQ(without.exit_code, 0) << without.output;
  EXPECT_THAT(without.output, HasSubstr("there is no xdg-open here; open " + run + "/report.html yourself"));
  EXPECT_FALSE(std::filesystem::exists(opened));
}

TEST_F(ReportProgramTest, SeveralRunsAndBadUse) {
  const std::string a = WriteRun("a", /*mae=*/false), b = WriteRun("b", /*mae=*/true);
  const ProgramResult both = Report(a + " " + b + " --output=" + folder_ + "/both.html");
  ASSERT_EQ(both.exit_code, 0) << both.output;
  EXPECT_THAT(*ReadFile(folder_ + "/both.html"), HasSubstr("Settings that differ"));
  EXPECT_EQ(Report("").exit_code, 1);
  EXPECT_EQ(Report(folder_ + "/data").exit_code, 1);
  EXPECT_EQ(Report(a + " --report_images=0").exit_code, 1);
  EXPECT_EQ(Report("--help").exit_code, 0);
}

}  // namespace
}  // namespace tec
