// The small chain from pictures to verdict, with so few pictures and epochs that it takes seconds: as it is, and
// stopped on the way and gone on with.

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "eval/reproduce/report.h"
#include "eval/testing/tiny.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tec/base/exit_code.h"
#include "tec/base/file.h"
#include "tec/config/config.h"
#include "tec/config/finetune.h"

namespace tec {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using testing::ProgramResult;

class ReproduceChainTest : public ::testing::Test {
 protected:
  // As many training pictures as one batch of the chain has.
  void SetUp() override {
    folder_ = testing::FreshFolder("chain");
    testing::WritePictures(folder_ + "/pictures/train", {"ant", "bee", "cat", "dog"}, 32, 1);
    testing::WritePictures(folder_ + "/pictures/test", {"ant", "bee", "cat", "dog"}, 4, 2);
  }

  std::string Arguments(const std::string& out) const {
    return absl::StrCat("--scale=mini --device=cpu --threads=1 --num_workers=1 --epochs=2 --train_images=128 ",
                        "--held_out_images=16 --data_path=", folder_, "/pictures --output_dir=", folder_, "/", out);
  }
  ProgramResult Run(const std::string& out) const {
    return testing::RunProgram("eval/reproduce/reproduce", Arguments(out));
  }
  // Starts it, sends `signal` once the stage has begun, and returns the exit code.
  int RunAndStop(const std::string& out, const std::string& stage, int signal, const std::string& more = "") const {
    const pid_t pid = fork();
    if (pid == 0) {
      const std::string command = "exec eval/reproduce/reproduce " + Arguments(out) + more + " > /dev/null 2>&1";
      execl("/bin/sh", "sh", "-c", command.c_str(), nullptr);
      _exit(127);
    }
    int status = 0;
    while (!std::filesystem::exists(absl::StrCat(folder_, "/", out, "/logs/", stage, ".log"))) {
      absl::SleepFor(absl::Milliseconds(10));
      if (waitpid(pid, &status, WNOHANG) == pid) return -1;  // It has ended without coming there.
    }
    kill(pid, signal);
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
  std::string Content(const std::string& path) const {
    const absl::StatusOr<std::string> content = ReadFile(folder_ + "/" + path);
    EXPECT_TRUE(content.ok()) << content.status();
    return content.ok() ? *content : "";
  }
  nlohmann::json Report(const std::string& out) const {
    return nlohmann::json::parse(Content(out + "/report/results.json"));
  }

  std::string folder_;
};

TEST_F(ReproduceChainTest, StoppedAndContinuedItGivesTheSameReport) {
  const ProgramResult whole = Run("whole");
  const nlohmann::json expected = Report("whole");
  ASSERT_EQ(expected["stages"].size(), 10u) << whole.output;
  ASSERT_EQ(expected["results"].size(), 7u) << whole.output;  // kNN of three encoders, four finetuned.
  ASSERT_TRUE(expected["reproduced"].is_boolean());
  // So few pictures decide nothing; the exit code says what the verdict does.
  EXPECT_EQ(whole.exit_code, expected["reproduced"].get<bool>() ? kExitDone : kExitNotReproduced) << whole.output;

  // Stopped in a training, in finetuning, and by both signals.
  ASSERT_EQ(RunAndStop("parts", "seed-0/tec", SIGTERM), kExitStopped);
  EXPECT_EQ(Report("parts")["reproduced"], nullptr);
  EXPECT_EQ(Report("parts")["stages"][0]["done"], true);
  EXPECT_EQ(Report("parts")["stages"].back()["done"], false);
  ASSERT_EQ(RunAndStop("parts", "seed-0/finetune_base", SIGINT), kExitStopped);
  const auto base_written = std::filesystem::last_write_time(folder_ + "/parts/seed-0/base/checkpoint-1.pth");
  const ProgramResult rest = Run("parts");
  EXPECT_EQ(rest.exit_code, whole.exit_code) << rest.output;
  EXPECT_THAT(rest.output, HasSubstr("seed-0/base: base model (MAE) (done before)"));
  EXPECT_EQ(std::filesystem::last_write_time(folder_ + "/parts/seed-0/base/checkpoint-1.pth"), base_written);
  const nlohmann::json got = Report("parts");
  EXPECT_EQ(got["results"], expected["results"]);
  EXPECT_EQ(got["verdict"], expected["verdict"]);

  for (const nlohmann::json& stage : got["stages"]) {
    const std::string name = stage["name"];
    SCOPED_TRACE(name);
    EXPECT_EQ(stage["done"], true);
    EXPECT_GT(stage["seconds"], 0);
    EXPECT_THAT(Content("parts/report/logs/" + name + ".log"), Not(""));
    if (absl::StrContains(name, "knn")) continue;
    const std::string config = Content("parts/report/configs/" + name + ".textproto");
    const bool pretraining = !absl::StrContains(name, "finetune");
    EXPECT_TRUE(pretraining ? ParseExperiment(config, name).ok() : ParseFinetune(config, name).ok());
    const std::vector<std::string> epochs =
        absl::StrSplit(Content("parts/report/logs/" + name + ".jsonl"), '\n', absl::SkipEmpty());
    EXPECT_EQ(epochs.size(), 2u);
  }
  EXPECT_THAT(Content("parts/report/report.md"), HasSubstr("| new model (TEC)                |    0 |"));
  EXPECT_THAT(Content("parts/report/curves.svg"), HasSubstr("seed-0/finetune_tec"));
  const std::string page = Content("parts/report/report.html");
  EXPECT_THAT(page, HasSubstr(got["verdict"].get<std::string>()));
  EXPECT_THAT(page, HasSubstr("</i>seed-0/finetune_tec test_acc1<"));
  EXPECT_THAT(page, HasSubstr("<h2>Settings that differ</h2>"));
  EXPECT_THAT(Content("parts/report/pages/seed-0/finetune_tec.html"), HasSubstr("<h2>Curves</h2>"));

  // Another setting is another reproduction.
  const ProgramResult other = testing::RunProgram("eval/reproduce/reproduce", Arguments("parts") + " --epochs=3");
  EXPECT_EQ(other.exit_code, kExitBadInput);
  EXPECT_THAT(other.output, HasSubstr("--epochs was 2 and is 3"));
}

TEST_F(ReproduceChainTest, AChainOfThreeHasItsReportAndGoesOn) {
  ASSERT_EQ(RunAndStop("stages", "seed-0/stage-1", SIGTERM, " --stages=3"), kExitStopped);
  EXPECT_EQ(Report("stages")["reproduced"], nullptr);
  const ProgramResult rest = testing::RunProgram("eval/reproduce/reproduce", Arguments("stages") + " --stages=3");
  const nlohmann::json report = Report("stages");
  ASSERT_TRUE(report["reproduced"].is_boolean()) << rest.output;
  EXPECT_EQ(rest.exit_code, report["reproduced"].get<bool>() ? kExitDone : kExitNotReproduced) << rest.output;
  EXPECT_THAT(rest.output, HasSubstr("seed-0/stage-0: base model (MAE) (done before)"));
  // kNN and linear of the models that were trained; the third may have been left out.
  EXPECT_THAT(report["results"].size(), ::testing::AnyOf(4u, 6u));
  EXPECT_EQ(report["results"].size() == 4u, absl::StrContains(rest.output, "left out; kNN of stage-1"));
  EXPECT_THAT(report["verdict"].get<std::string>(), HasSubstr("% of the base model"));
  EXPECT_THAT(Content("stages/report/report.md"), HasSubstr("| new model 1 (TEC)              |    0 |"));
  EXPECT_THAT(Content("stages/report/report.html"), HasSubstr("</i>seed-0/stage-1 train_loss<"));
  EXPECT_THAT(Content("stages/report/pages/seed-0/linear_stage-1.html"), HasSubstr("linear probe"));

  // One that begins with a file of one's own judges it and trains against it; what goes on with another beginning
  // could not be compared.
  const std::string base = folder_ + "/stages/seed-0/stage-0/checkpoint-1.pth";
  const std::string flags = " --stages=2 --base_model=" + base;
  const ProgramResult given = testing::RunProgram("eval/reproduce/reproduce", Arguments("given") + flags);
  const nlohmann::json of_given = Report("given");
  ASSERT_TRUE(of_given["reproduced"].is_boolean()) << given.output;
  EXPECT_EQ(of_given["results"].size(), 4u);
  EXPECT_EQ(of_given["results"][0], report["results"][0]);  // kNN of the same file.
  EXPECT_THAT(Content("given/report/report.md"), HasSubstr("| base model (given) "));
  EXPECT_THAT(Content("given/report/configs/seed-0/stage-1.textproto"), HasSubstr("path: \"" + base + "\""));
  const ProgramResult other = testing::RunProgram("eval/reproduce/reproduce", Arguments("stages") + flags);
  EXPECT_EQ(other.exit_code, kExitBadInput);
  EXPECT_THAT(other.output, HasSubstr("--base_model was \"\" and is \"" + base + "\""));
}

}  // namespace
}  // namespace tec
