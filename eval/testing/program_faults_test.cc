// The programs under limits of the system, with outputs that take nothing, with names of any bytes, and two at a time
// in one folder: none aborts, and what was trained is saved.

#include <sys/resource.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "eval/testing/tiny.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tec/base/file.h"
#include "tec/checkpoint/training_state.h"
#include "tec/run/folder_lock.h"

namespace tec {
namespace {

using testing::ProgramResult;

class ProgramFaultsTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = testing::FreshFolder("faults");
    testing::WritePictures(folder_ + "/data/train", {"ant", "bee", "cat"}, 8, 1);
    testing::WritePictures(folder_ + "/data/val", {"ant", "bee", "cat"}, 4, 2);
    testing::WriteMaeCheckpoint(folder_ + "/mae.pth");
    ASSERT_TRUE(WriteFile(folder_ + "/mae.textproto", testing::kTinyMae).ok());
  }

  // Flags that all programs have, and after them those of a small run.
  static std::string Common(const std::string& data = folder_ + "/data") {
    return absl::StrCat(" --device=cpu --precision=float32 --threads=1 --num_workers=1 --data_path=", data, " ");
  }
  static std::string Finetune(const std::string& out) {
    return absl::StrCat(Common(), "--finetune=", folder_, "/mae.pth --batch_size=4 --epochs=3 --warmup_epochs=0 ",
                        "--lr=1e-3 --aa= --reprob=0 --output_dir=", folder_, "/", out, " ");
  }
  static std::string Read(const std::string& path) { return ReadFile(path).value_or(""); }
  // That a run of Finetune(out), which could not go on, says why and has saved its state, where there was one.
  static void ExpectSaidAndSaved(const ProgramResult& result, const std::string& out) {
    EXPECT_EQ(result.exit_code, 2) << result.output;
    EXPECT_NE(result.output.find("finetune: "), std::string::npos) << result.output;
    if (Read(absl::StrCat(folder_, "/", out, "/metrics.jsonl")).empty()) return;  // No update was made.
    EXPECT_NE(result.output.find("this_checkpoint.pth"), std::string::npos) << result.output;
    EXPECT_TRUE(LoadTrainingState(absl::StrCat(folder_, "/", out, "/this_checkpoint.pth")).ok()) << result.output;
  }
  static std::string folder_;
};

std::string ProgramFaultsTest::folder_;

// A class folder in Latin-1, one with what steers a terminal, and a path and a checkpoint called so.
TEST_F(ProgramFaultsTest, NamesOfAnyBytesGoThroughEveryProgram) {
  const std::string base = folder_ + "/d\xE9j\xE0", data = base + "/vu", out = base + "/out";
  const std::vector<std::string> classes = {"caf\xE9", "red\x1b[31m", "tur\xE2\x80\xAEned"};
  testing::WritePictures(data + "/train", classes, 8, 1);
  testing::WritePictures(data + "/val", classes, 2, 2);
  std::filesystem::copy_file(folder_ + "/mae.pth", base + "/mae.pth");
  const std::string frozen = absl::StrCat(Common(data), "--checkpoint=", base, "/mae.pth --batch_size=4 ");
  const std::string trained = " --epochs=1 --warmup_epochs=0 --batch_size=4";
  const std::string finetuned = absl::StrCat("--checkpoint=", out, "/finetuned/best_checkpoint.pth ");
  struct Case {
    const char* program;
    std::string arguments, results;
  };
  for (const Case& one : std::vector<Case>{
           {testing::kPretrain,
            absl::StrCat(Common(data), "--config=", folder_, "/mae.textproto --output_dir=", out, "/mae"),
            "/mae/log.txt"},
           {testing::kFinetune,
            absl::StrCat(Common(data), "--aa= --lr=1e-3 --finetune=", base, "/mae.pth --output_dir=", out,
                         "/finetuned --confusion", trained),
            "/finetuned/results.json"},
           {testing::kFinetune, absl::StrCat(Common(data), finetuned, "--eval --output_dir=", out, "/evaluated"),
            "/evaluated/results.json"},
           {testing::kKnn, frozen + "--k=1,3 --confusion --output_dir=" + out + "/knn", "/knn/results.json"},
           {testing::kLinear, frozen + trained + " --output_dir=" + out + "/linear", "/linear/results.json"},
           {testing::kLogistic, frozen + "--c=1 --output_dir=" + out + "/logistic", "/logistic/results.json"},
           {testing::kPredict, absl::StrCat(Common(data), finetuned, "--output=", out, "/predicted.jsonl"),
            "/predicted.jsonl"},
           {testing::kPredict, absl::StrCat(Common(data), finetuned, "--output=", out, "/predicted.csv"),
            "/predicted.csv"},
           {testing::kEmbed, frozen + "--output=" + out + "/vectors.csv", "/vectors.csv"}}) {
    SCOPED_TRACE(one.program);
    ASSERT_TRUE(MakeDirectories(out).ok());
    const ProgramResult result = testing::RunProgram(one.program, one.arguments);
    ASSERT_EQ(result.exit_code, 0) << result.output;
    EXPECT_EQ(result.output.find_first_of("\x1b\xE9"), std::string::npos) << result.output;
    EXPECT_EQ(result.output.find("\xE2\x80\xAE"), std::string::npos) << result.output;
    const std::string written = Read(out + one.results);
    ASSERT_NE(written, "");
    EXPECT_EQ(written.find('\xE9'), std::string::npos);
    if (absl::EndsWith(one.results, ".csv")) continue;
    const bool lines = !absl::EndsWith(one.results, ".json");
    for (const auto& text : absl::StrSplit(written, lines ? "\n" : std::string(1, '\0'), absl::SkipEmpty())) {
      EXPECT_FALSE(nlohmann::json::parse(std::string(text), nullptr, /*allow_exceptions=*/false).is_discarded())
          << text;
    }
  }
  EXPECT_NE(Read(out + "/finetuned/results.json").find("caf\\\\xe9"), std::string::npos);
  for (const char* name : {"/finetuned/confusion.npy", "/knn/confusion_k1.npy", "/knn/confusion_k3.npy"}) {
    EXPECT_TRUE(absl::StartsWith(Read(out + name), "\x93NUMPY")) << name;
  }
}

TEST_F(ProgramFaultsTest, ABadPictureOfAnyNameIsListedOnce) {
  const std::string data = folder_ + "/control", out = folder_ + "/control_run";
  testing::WritePictures(data + "/train", {"ant", "bee"}, 8, 1);
  ASSERT_TRUE(WriteFile(data + "/train/ant/a\nb\tc\x1b[31m.jpg", "junk").ok());
  const std::string run =
      absl::StrCat(Common(data), "--config=", folder_, "/mae.textproto --output_dir=", out, " --epochs=");
  std::string listed;
  for (const char* epochs : {"1", "2", "3"}) {
    const ProgramResult result = testing::RunProgram(testing::kPretrain, run + epochs);
    ASSERT_EQ(result.exit_code, 0) << result.output;
    EXPECT_EQ(result.output.find('\x1b'), std::string::npos) << result.output;
    const std::string list = Read(out + "/bad_images.txt");
    EXPECT_EQ(std::count(list.begin(), list.end(), '\n'), 1) << list;
    EXPECT_TRUE(absl::StartsWith(list, "ant/a\\x0ab\\x09c\\x1b[31m.jpg\t")) << list;
    if (!listed.empty()) {
      EXPECT_EQ(list, listed);
    }
    listed = list;
  }
}

TEST_F(ProgramFaultsTest, TwoDoNotWriteToOnePlace) {
  ASSERT_EQ(testing::RunProgram(testing::kFinetune, Finetune("held_model")).exit_code, 0);
  const std::string checkpoint = absl::StrCat(folder_, "/held_model/best_checkpoint.pth "), held = folder_ + "/held";
  const auto lock = FolderLock::Take(held);
  ASSERT_TRUE(lock.ok()) << lock.status();
  const auto file_lock = FolderLock::TakeForFile(folder_ + "/held.csv", "--output");
  ASSERT_TRUE(file_lock.ok()) << file_lock.status();
  const std::string mae = absl::StrCat(Common(), "--checkpoint=", folder_, "/mae.pth ");
  struct Case {
    const char* program;
    std::string arguments;
    const char* flag;
  };
  for (const Case& one : std::vector<Case>{
           {testing::kFinetune, Finetune("held"), "--output_dir"},
           {testing::kPretrain,
            absl::StrCat(Common(), "--config=", folder_, "/mae.textproto --output_dir=", folder_, "/held"),
            "--output_dir"},
           {testing::kKnn, mae + "--k=1 --output_dir=" + held, "--output_dir"},
           {testing::kLinear, mae + "--epochs=1 --warmup_epochs=0 --batch_size=4 --output_dir=" + held, "--output_dir"},
           {testing::kFinetune, absl::StrCat(Common(), "--eval --resume=", checkpoint, "--output_dir=", held),
            "--output_dir"},
           {testing::kLinear, mae + "--eval --output_dir=" + held, "--output_dir"},
           {testing::kLogistic, mae + "--c=1 --output_dir=" + held, "--output_dir"},
           {testing::kPredict, absl::StrCat(Common(), "--checkpoint=", checkpoint, "--output=", folder_, "/held.csv"),
            "--output"},
           {testing::kEmbed, mae + "--output=" + folder_ + "/held.csv", "--output"}}) {
    SCOPED_TRACE(one.program);
    const ProgramResult result = testing::RunProgram(one.program, one.arguments);
    EXPECT_EQ(result.exit_code, 1) << result.output;
    EXPECT_NE(result.output.find("another run writes into " + folder_ + "/held"), std::string::npos) << result.output;
    EXPECT_NE(result.output.find(absl::StrCat("choose another ", one.flag)), std::string::npos) << result.output;
  }
  EXPECT_FALSE(ReadFile(held + "/results.json").ok());
}

// Of the shell's sentences $code is the program's exit code.
TEST_F(ProgramFaultsTest, OutputsThatTakeNothingLoseNoState) {
  ASSERT_EQ(testing::RunProgram(testing::kFinetune, Finetune("whole")).exit_code, 0);
  const std::string whole = Read(folder_ + "/whole/this_checkpoint.pth");
  ASSERT_NE(whole, "");
  // Nothing is lost by messages that nobody can read.
  ProgramResult result = testing::RunShell(
      absl::StrCat(testing::kFinetune, Finetune("full"), ">/dev/full 2>/dev/full; code=$?; echo code $code"));
  EXPECT_EQ(result.output, "code 0\n");
  EXPECT_TRUE(Read(folder_ + "/full/this_checkpoint.pth") == whole);
  // A reader that goes away asks for an end; the same command goes on.
  result = testing::RunShell(
      absl::StrCat(testing::kFinetune, Finetune("head"), "2>&1 | head -n 1; echo code ${PIPESTATUS[0]}"));
  EXPECT_NE(result.output.find("code 3\n"), std::string::npos) << result.output;
  EXPECT_EQ(testing::RunProgram(testing::kFinetune, Finetune("head")).exit_code, 0);
  EXPECT_TRUE(Read(folder_ + "/head/this_checkpoint.pth") == whole);
  // metrics.jsonl is a full disk: the state of the update that could not be logged is saved.
  ASSERT_TRUE(MakeDirectories(folder_ + "/logs").ok());
  std::filesystem::create_symlink("/dev/full", folder_ + "/logs/metrics.jsonl");
  result = testing::RunProgram(testing::kFinetune, Finetune("logs"));
  EXPECT_NE(result.exit_code, 0) << result.output;
  std::filesystem::remove(folder_ + "/logs/metrics.jsonl");
  EXPECT_EQ(testing::RunProgram(testing::kFinetune, Finetune("logs")).exit_code, 0);
  EXPECT_TRUE(Read(folder_ + "/logs/this_checkpoint.pth") == whole);
}

// From no thread at all to enough of them: either all goes well, or a line says what does not.
TEST_F(ProgramFaultsTest, WithoutThreadsAProgramSaysSo) {
  int done = 0, failed = 0;
  for (const int threads : {0, 1, 2, 4, 40}) {
    SCOPED_TRACE(threads);
    const ProgramResult result =
        testing::RunShell(absl::StrCat("LD_PRELOAD=$PWD/eval/testing/few_threads.so TEC_MOST_THREADS=", threads, " ",
                                       testing::kFinetune, Finetune(absl::StrCat("few", threads))));
    (result.exit_code == 0 ? done : failed) += 1;
    if (result.exit_code != 0) ExpectSaidAndSaved(result, absl::StrCat("few", threads));
  }
  EXPECT_GT(done, 0);
  EXPECT_GT(failed, 0);
}

// The memory that a process may have, from what its libraries alone take to enough. Below that the system's loader ends
// it, by 127.
TEST_F(ProgramFaultsTest, WithoutMemoryAProgramSaysSo) {
  int done = 0, failed = 0;
  for (const int mebibytes : {320, 420, 440, 450, 460, 470, 475, 480, 640}) {
    SCOPED_TRACE(mebibytes);
    const ProgramResult result = testing::RunShell(
        absl::StrCat("ulimit -v ", mebibytes * 1024, "; ", testing::kFinetune, Finetune(absl::StrCat("v", mebibytes))));
    if (result.exit_code == 127) continue;
    (result.exit_code == 0 ? done : failed) += 1;
    if (result.exit_code != 0) ExpectSaidAndSaved(result, absl::StrCat("v", mebibytes));
  }
  EXPECT_GT(done, 0);
  EXPECT_GT(failed, 0);
}

// As many classes as ImageNet-21k has. A matrix of them all would take 3.8 GB.
TEST_F(ProgramFaultsTest, ManyClassesTakeLittleMemory) {
  constexpr int kClasses = 21841;
  std::string list;
  for (int i = 0; i < kClasses; ++i) {
    absl::StrAppend(&list, folder_, "/data/train/", i % 2 == 0 ? "ant" : "bee", "/0.png\t", i, "\n");
  }
  const std::string data = folder_ + "/many";
  ASSERT_TRUE(MakeDirectories(data).ok());
  for (const char* part : {"/train.txt", "/val.txt"}) ASSERT_TRUE(WriteFile(data + part, list).ok());
  // Regressions of so many classes take their time with every picture; few tell as much about memory.
  std::string thin;
  for (int i = 0; i < 400; ++i) {
    absl::StrAppend(&thin, folder_, "/data/train/", i % 2 == 0 ? "ant" : "bee", "/0.png\t", i * (kClasses - 1) / 399,
                    "\n");
  }
  ASSERT_TRUE(MakeDirectories(data + "/thin").ok());
  for (const char* part : {"/thin/train.txt", "/thin/val.txt"}) ASSERT_TRUE(WriteFile(data + part, thin).ok());
  const std::string model = folder_ + "/many_model", mae = absl::StrCat("--checkpoint=", folder_, "/mae.pth ");
  ProgramResult result = testing::RunProgram(
      testing::kFinetune, absl::StrCat(Common(), "--finetune=", folder_, "/mae.pth --nb_classes=", kClasses,
                                       " --batch_size=4 --epochs=1 --warmup_epochs=0 --noreport --output_dir=", model));
  ASSERT_EQ(result.exit_code, 0) << result.output;
  struct Case {
    const char* program;
    std::string arguments;
    const char* confusion;
    const char* part = "";
  };
  for (const Case& one : std::vector<Case>{
           {testing::kKnn, mae + "--features=pool --k=1,20 --batch_size=256", "/confusion_k20.npy"},
           {testing::kLinear, mae + "--epochs=1 --warmup_epochs=0", "/confusion.npy"},
           {testing::kLogistic, mae + "--features=pool --c=1 --max_iterations=2", "/confusion.npy", "/thin"},
           {testing::kFinetune,
            absl::StrCat("--eval --resume=", model, "/best_checkpoint.pth --nb_classes=", kClasses,
                         " --batch_size=256"),
            "/confusion.npy"}}) {
    SCOPED_TRACE(one.program);
    const std::string out = testing::FreshFolder("faults/many_out");
    result = testing::RunProgram(
        one.program, absl::StrCat(Common(data + one.part), "--confusion --output_dir=", out, " ", one.arguments));
    ASSERT_EQ(result.exit_code, 0) << result.output;
    rusage usage;
    ASSERT_EQ(getrusage(RUSAGE_CHILDREN, &usage), 0);  // The most that any program of this test has taken, KiB.
    EXPECT_LT(usage.ru_maxrss, 512 << 10);
    const std::string results = Read(out + "/results.json");
    EXPECT_LT(results.size(), size_t{8} << 20);
    EXPECT_FALSE(nlohmann::json::parse(results, nullptr, /*allow_exceptions=*/false).is_discarded());
    // Each class of the thin ones is taken for one at most.
    EXPECT_GT(Read(out + one.confusion).size(), (one.program == testing::kLogistic ? 300 : size_t{kClasses}) * 24);
  }
}

}  // namespace
}  // namespace tec
