#include "tec/run/finished_run.h"

#include <filesystem>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tec/base/file.h"
#include "tec/checkpoint/training_state.h"
#include "tec/checkpoint/value.h"

namespace tec {
namespace {

using ::testing::HasSubstr;

std::string FolderWithRun(const std::string& name, int64_t last_epoch, int64_t planned = 10) {
  const std::string path = ::testing::TempDir() + "/" + name;
  std::filesystem::remove_all(path);
  EXPECT_TRUE(MakeDirectories(path).ok());
  TrainingState state;
  state.method = "tec";
  state.epoch = last_epoch;
  state.args.Set("epochs", Value::Int(planned));
  EXPECT_TRUE(state.model.Add("w", TensorView::FromFloats({1}, {1})).ok());
  EXPECT_TRUE(SaveTrainingState(path + "/this_checkpoint.pth", state).ok());
  EXPECT_TRUE(WriteFile(path + "/experiment.textproto", "seed: 1").ok());
  return path;
}

std::vector<std::string> Same(const std::string&) { return {}; }
std::vector<std::string> OtherRate(const std::string&) { return {"optimizer.blr: 2, was 1"}; }
std::vector<std::string> Other(const std::string& recorded) { return {"seed: 2, was " + recorded.substr(6)}; }

TEST(FinishedRunTest, IsNotTakenForAnotherRun) {
  const std::string folder = FolderWithRun("finished", 9);
  const absl::Status status = CheckNotFinished(folder, 10, Other);
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  for (const char* part : {"finished run of 10 epochs", "seed: 2, was 1", "--overwrite", "--output_dir", "--resume"}) {
    EXPECT_THAT(std::string(status.message()), HasSubstr(part));
  }
  // The same run again; one that goes on with more epochs; one that is not finished; no run.
  EXPECT_TRUE(CheckNotFinished(folder, 10, Same).ok());
  EXPECT_TRUE(CheckNotFinished(folder, 11, OtherRate).ok());
  EXPECT_TRUE(CheckNotFinished(FolderWithRun("unfinished", 3), 10, Other).ok());
  EXPECT_TRUE(CheckNotFinished(::testing::TempDir() + "/nowhere", 10, Other).ok());
}

TEST(FinishedRunTest, IsNotTakenForALongerRunOfAnotherExperiment) {
  const std::string folder = FolderWithRun("longer", 9);
  const absl::Status status = CheckNotFinished(folder, 20, Other);
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  for (const char* part :
       {"finished run of 10 epochs", "seed: 2, was 1", "--overwrite", "this_checkpoint.pth goes on"}) {
    EXPECT_THAT(std::string(status.message()), HasSubstr(part));
  }
  for (const char* other :
       {"model.encoder.width: 64, was 32", "base_model.path: b, was a", "data.path: b, was a", "method: MAE, was TEC",
        "finetune: b, was a", "data.classes: \"c,d\", was \"a,b\"", "data.exclude: \"x\", was unset",
        "data.train_fraction: 0.1, was unset", "shots: 5, was unset", "subset_seed: 1, was 0"}) {
    EXPECT_FALSE(CheckNotFinished(folder, 20,
                                  [&](const std::string&) -> std::vector<std::string> {
                                    return {"optimizer.blr: 2, was 1", other};
                                  })
                     .ok())
        << other;
  }
  // Stopped on its way, it may go on with another seed; so may one that does not say how far it was to go.
  EXPECT_TRUE(CheckNotFinished(FolderWithRun("stopped", 9, 15), 20, Other).ok());
  EXPECT_TRUE(CheckNotFinished(FolderWithRun("silent", 9, 0), 20, Other).ok());
}

TEST(FinishedRunTest, RemovesARunAndNothingElse) {
  const std::string folder = FolderWithRun("removed", 9);
  for (const char* name :
       {"checkpoint-3.pth", "events.out.tfevents.1.host.2", "log.txt", "report.html", "run_info.jsonl"}) {
    ASSERT_TRUE(WriteFile(folder + "/" + name, "x").ok());
  }
  ASSERT_TRUE(MakeDirectories(folder + "/tensorboard").ok());
  ASSERT_TRUE(WriteFile(folder + "/tensorboard/events.out.tfevents.1.host.2", "x").ok());
  for (const char* name : {"notes.txt", "checkpoint-best.pth"}) ASSERT_TRUE(WriteFile(folder + "/" + name, "x").ok());
  ASSERT_TRUE(RemoveRun(folder).ok());
  std::vector<std::string> left;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) left.push_back(entry.path().filename());
  EXPECT_THAT(left, ::testing::UnorderedElementsAre("notes.txt", "checkpoint-best.pth"));
  EXPECT_TRUE(RemoveRun(folder + "/nowhere").ok());
}

}  // namespace
}  // namespace tec
