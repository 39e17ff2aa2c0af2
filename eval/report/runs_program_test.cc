// The program over folders that other programs wrote.

#include <string>

#include "eval/testing/tiny.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tec/base/file.h"

namespace tec {
namespace {

using testing::ProgramResult;
using testing::RunProgram;

ProgramResult Runs(const std::string& arguments) { return RunProgram("eval/report/runs", arguments); }

TEST(RunsProgramTest, FoldersOfRealRuns) {
  const std::string folder = testing::FreshFolder("runs");
  testing::WritePictures(folder + "/data/train", {"ant", "bee"}, 4, 1);
  testing::WritePictures(folder + "/data/val", {"ant", "bee"}, 2, 2);
  testing::WriteMaeCheckpoint(folder + "/mae.pth");
  for (const std::string name : {"one", "two"}) {
    const ProgramResult knn =
        RunProgram("eval/knn/knn", "--device=cpu --num_workers=1 --threads=1 --checkpoint=" + folder +
                                       "/mae.pth --k=1 " + "--features=" + (name == "one" ? "cls" : "pool") +
                                       " --data_path=" + folder + "/data --output_dir=" + folder + "/runs/" + name);
    ASSERT_EQ(knn.exit_code, 0) << knn.output;
  }
  const ProgramResult list = Runs("ls " + folder + "/runs");
  EXPECT_EQ(list.exit_code, 0);
  EXPECT_NE(list.output.find("/runs/one  kNN "), std::string::npos) << list.output;
  EXPECT_NE(list.output.find("/runs/two  kNN "), std::string::npos) << list.output;

  const ProgramResult best = Runs("best --json " + folder + "/runs");
  const nlohmann::json json = nlohmann::json::parse(best.output);
  ASSERT_EQ(json.size(), 2);
  EXPECT_GE(json[0].at("best").at("percent"), json[1].at("best").at("percent"));

  const ProgramResult diff = Runs("diff " + folder + "/runs/one " + folder + "/runs/two");
  EXPECT_NE(diff.output.find("features                             cls  |  pool\n"), std::string::npos) << diff.output;
  EXPECT_EQ(diff.output.find("checkpoint    "), std::string::npos) << diff.output;

  const ProgramResult show = Runs("show " + folder + "/runs/one");
  EXPECT_NE(show.output.find("train_images"), std::string::npos) << show.output;
}

TEST(RunsProgramTest, BadUse) {
  EXPECT_EQ(Runs("").exit_code, 1);
  EXPECT_EQ(Runs("--help").exit_code, 0);
  const ProgramResult verb = Runs("list .");
  EXPECT_EQ(verb.exit_code, 1);
  EXPECT_NE(verb.output.find("ls FOLDER"), std::string::npos);
  const ProgramResult none = Runs("show /no/such/folder");
  EXPECT_EQ(none.exit_code, 1);
  EXPECT_NE(none.output.find("/no/such/folder is not a folder"), std::string::npos) << none.output;
}

}  // namespace
}  // namespace tec
