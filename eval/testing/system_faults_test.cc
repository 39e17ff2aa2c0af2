// The programs on a system that fails: errors of reading that pass or stay, files that are none, a packed file that
// shrinks, a clock that is set back, a user who may have few processes.

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <iterator>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "data/pictures/made_pictures.h"
#include "eval/testing/tiny.h"
#include "gtest/gtest.h"
#include "tec/base/file.h"
#include "tec/checkpoint/training_state.h"
#include "tec/run/event.pb.h"
#include "tec/run/event_file.h"

namespace tec {
namespace {

using testing::ProgramResult;

struct ProgramRun {
  const char* program;
  std::string arguments;  // With where it writes.
};

class SystemFaultsTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = testing::FreshFolder("system");
    testing::WritePictures(folder_ + "/data/train", {"ant", "bee"}, 8, 1);
    testing::WritePictures(folder_ + "/data/val", {"ant", "bee"}, 4, 2);
    PictureOptions masked;
    masked.train_images = 20;
    masked.test_images = 4;
    masked.size = 16;
    ASSERT_TRUE(WriteMaskedPictures(masked, folder_ + "/masked").ok());
    testing::WriteMaeCheckpoint(folder_ + "/mae.pth");
    ASSERT_TRUE(WriteFile(folder_ + "/mae.textproto", testing::kTinyMae).ok());
    const ProgramResult result = testing::RunProgram(testing::kFinetune, Runs(folder_ + "/data", "model")[1].arguments);
    ASSERT_EQ(result.exit_code, 0) << result.output;
  }

  // Each program on `data`, with results in folder_/out.
  static std::vector<ProgramRun> Runs(const std::string& data, const std::string& out) {
    const std::string common = absl::StrCat(
        " --device=cpu --precision=float32 --threads=1 --num_workers=1 --noreport --data_path=", data, " ");
    std::string frozen = absl::StrCat(common, "--checkpoint=", folder_, "/mae.pth ");
    frozen.erase(frozen.find("--noreport "), 11);
    const std::string to = absl::StrCat(folder_, "/", out);
    std::string predict = absl::StrCat(common, "--checkpoint=", folder_, "/model/finetune/best_checkpoint.pth ");
    predict.erase(predict.find("--noreport "), 11);
    std::vector<ProgramRun> runs = {
        {testing::kPretrain,
         absl::StrCat(common, "--config=", folder_, "/mae.textproto --output_dir=", to, "/pretrain")},
        {testing::kFinetune,
         absl::StrCat(common, "--finetune=", folder_, "/mae.pth --batch_size=4 --epochs=3 ",
                      "--warmup_epochs=0 --lr=1e-3 --aa= --reprob=0 --output_dir=", to, "/finetune")},
        {testing::kKnn, absl::StrCat(frozen, "--k=1 --output_dir=", to, "/knn")},
        {testing::kLinear,
         absl::StrCat(frozen, "--noreport --epochs=2 --warmup_epochs=0 --batch_size=4 --output_dir=", to, "/linear")},
        {testing::kLogistic, absl::StrCat(frozen, "--c=1 --output_dir=", to, "/logistic")},
        {testing::kEmbed, absl::StrCat(frozen, "--part=train --output=", to, "/embed.npy")},
        {testing::kPredict, absl::StrCat(predict, "--output=", to, "/predict.csv")},
        {testing::kShard, absl::StrCat("--data_path=", data, " --output=", to, "/shard.tecpack")},
        {testing::kVerify, data}};
    if (data == folder_ + "/data") {  // It takes a folder of pictures and one of masks.
      runs.push_back(
          {testing::kDense, absl::StrCat(absl::StrReplaceAll(frozen, {{data, folder_ + "/masked"}}), "--k=1 --c=1 ",
                                         "--max_iterations=2 --pictures=0 --output_dir=", to, "/dense")});
    }
    return runs;
  }

  // The program, with the library that fails preloaded; `faults`: its variables.
  static ProgramResult WithFaults(const std::string& faults, const ProgramRun& run) {
    return testing::RunShell(
        absl::StrCat("LD_PRELOAD=$PWD/eval/testing/failing_system.so ", faults, " ", run.program, " ", run.arguments));
  }
  static std::string Read(const std::string& path) { return ReadFile(path).value_or(""); }
  // No file below `out` says that a picture is bad.
  static void ExpectNoPictureIsBlamed(const std::string& out) {
    for (const auto& entry : std::filesystem::recursive_directory_iterator(folder_ + "/" + out)) {
      EXPECT_FALSE(absl::StartsWith(entry.path().filename().string(), "bad_images")) << Read(entry.path());
    }
  }
  static std::string Fresh(const std::string& name) {
    const std::string out = folder_ + "/" + name;
    std::filesystem::remove_all(out);
    EXPECT_TRUE(MakeDirectories(out).ok());
    return name;
  }
  static std::string folder_;
};

std::string SystemFaultsTest::folder_;

struct Error {
  int number;
  const char* call;
  const char* text;
};
constexpr Error kErrors[] = {{EIO, "read", "Input/output error"},
                             {ESTALE, "open", "Stale file handle"},
                             {EMFILE, "open", "Too many open files"},
                             {ENFILE, "open", "Too many open files in system"},
                             {ETIMEDOUT, "read", "Connection timed out"}};

TEST_F(SystemFaultsTest, ErrorsThatPassChangeNothing) {
  size_t number = 0;
  for (const ProgramRun& run : Runs(folder_ + "/data", Fresh("passing"))) {
    const Error& error = kErrors[number++ % std::size(kErrors)];
    SCOPED_TRACE(absl::StrCat(run.program, ": ", error.text));
    const ProgramResult result =
        WithFaults(absl::StrCat("TEC_FAIL_PATH=.png TEC_FAIL_AFTER=5 TEC_FAIL_COUNT=3 TEC_FAIL_CALL=", error.call,
                                " TEC_FAIL_ERRNO=", error.number),
                   run);
    EXPECT_EQ(result.exit_code, 0) << result.output;
  }
  ExpectNoPictureIsBlamed("passing");
  EXPECT_TRUE(Read(folder_ + "/passing/finetune/this_checkpoint.pth") ==
              Read(folder_ + "/model/finetune/this_checkpoint.pth"));
}

// Signals interrupt calls as often as they like.
TEST_F(SystemFaultsTest, InterruptedCallsAreMadeAgain) {
  for (const char* call : {"open", "read"}) {
    SCOPED_TRACE(call);
    const ProgramResult result = WithFaults(
        absl::StrCat("TEC_FAIL_PATH=", folder_, " TEC_FAIL_COUNT=200 TEC_FAIL_CALL=", call, " TEC_FAIL_ERRNO=", EINTR),
        Runs(folder_ + "/data", Fresh("interrupted"))[1]);
    EXPECT_EQ(result.exit_code, 0) << result.output;
    ExpectNoPictureIsBlamed("interrupted");
    EXPECT_TRUE(Read(folder_ + "/interrupted/finetune/this_checkpoint.pth") ==
                Read(folder_ + "/model/finetune/this_checkpoint.pth"));
  }
}

TEST_F(SystemFaultsTest, ErrorsThatStayBlameNoPicture) {
  size_t number = 0;
  for (const ProgramRun& run : Runs(folder_ + "/data", Fresh("staying"))) {
    const Error& error = kErrors[number++ % std::size(kErrors)];
    SCOPED_TRACE(absl::StrCat(run.program, ": ", error.text));
    const ProgramResult result =
        WithFaults(absl::StrCat("TEC_FAIL_PATH=.png TEC_FAIL_AFTER=14 TEC_FAIL_CALL=", error.call,
                                " TEC_FAIL_ERRNO=", error.number),
                   run);
    EXPECT_EQ(result.exit_code, 2) << result.output;
    EXPECT_TRUE(absl::StrContains(result.output, "the system does not let pictures be read")) << result.output;
    EXPECT_TRUE(absl::StrContains(result.output, error.text)) << result.output;
  }
  ExpectNoPictureIsBlamed("staying");
  for (const char* run : {"/staying/pretrain", "/staying/finetune", "/staying/linear"}) {
    EXPECT_NE(Read(absl::StrCat(folder_, run, "/metrics.jsonl")), "") << run;
    EXPECT_TRUE(LoadTrainingState(absl::StrCat(folder_, run, "/this_checkpoint.pth")).ok()) << run;
  }
}

TEST_F(SystemFaultsTest, APackThatShrinksBlamesNoPicture) {
  const std::string packs = folder_ + "/packs";
  ASSERT_TRUE(MakeDirectories(packs).ok());
  for (const auto& [split, name] : {std::pair("train", "train"), std::pair("held_out", "val")}) {
    ASSERT_EQ(testing::RunProgram(testing::kShard, absl::StrCat("--data_path=", folder_, "/data --split=", split,
                                                                " --output=", packs, "/", name, ".tecpack"))
                  .exit_code,
              0);
  }
  const std::string pack = packs + "/train.tecpack";
  const std::string whole = Read(pack);
  for (ProgramRun run : Runs(packs, Fresh("shrinking"))) {
    if (run.program == testing::kPredict || run.program == testing::kVerify) {  // They take a file.
      run.arguments = absl::StrReplaceAll(run.arguments, {{packs, pack}});
    }
    SCOPED_TRACE(run.program);
    ASSERT_TRUE(WriteFile(pack, whole).ok());
    const ProgramResult result =
        WithFaults("TEC_FAIL_PATH=train.tecpack TEC_FAIL_CALL=read TEC_FAIL_AFTER=9 TEC_FAIL_ERRNO=0", run);
    EXPECT_EQ(result.exit_code, 2) << result.output;
    EXPECT_TRUE(absl::StrContains(result.output, "train.tecpack has become shorter")) << result.output;
  }
  ExpectNoPictureIsBlamed("shrinking");
}

TEST_F(SystemFaultsTest, WhatIsNoFileHoldsNobodyUp) {
  const std::string fifo = folder_ + "/fifo", data = folder_ + "/data", model = folder_ + "/model/finetune";
  ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
  std::vector<ProgramRun> runs;
  for (const ProgramRun& run : Runs(data, Fresh("fifos"))) {
    for (const std::string& file : {folder_ + "/mae.pth", folder_ + "/mae.textproto", model + "/best_checkpoint.pth"}) {
      if (!absl::StrContains(run.arguments, file)) continue;
      runs.push_back({run.program, absl::StrReplaceAll(run.arguments, {{file, fifo}})});
    }
    runs.push_back({run.program, absl::StrReplaceAll(run.arguments, {{data, fifo}, {folder_ + "/masked", fifo}})});
    if (run.program == testing::kPretrain || run.program == testing::kFinetune) {
      runs.push_back({run.program, absl::StrCat(run.arguments, " --resume=", fifo)});
    }
    if (run.program == testing::kPretrain) {  // For the settings that have a base model.
      runs.push_back({run.program, absl::StrCat("--device=cpu --noreport --data_path=", data, " --base_model=", fifo,
                                                " --output_dir=", folder_, "/fifos/own")});
    }
    if (run.program == testing::kFinetune)
      runs.push_back({run.program, absl::StrCat(run.arguments, " --config=", fifo)});
    if (run.program == testing::kPredict)
      runs.push_back({run.program, absl::StrCat(run.arguments, " --class_names=", fifo)});
  }
  EXPECT_GT(runs.size(), 18);
  for (const ProgramRun& run : runs) {
    SCOPED_TRACE(absl::StrCat(run.program, " ", run.arguments));
    const ProgramResult result =
        testing::RunShell(absl::StrCat("timeout -s KILL 60 ", run.program, " ", run.arguments));
    EXPECT_EQ(result.exit_code, 1) << result.output;
    EXPECT_TRUE(absl::StrContains(result.output, "regular file") || absl::StrContains(result.output, "list file") ||
                absl::StrContains(result.output, "not a folder"))
        << result.output;
  }
}

// What a program writes, and opens when it is started again: none waits for what will never come.
TEST_F(SystemFaultsTest, AnOutputFolderWithFifosHoldsNobodyUp) {
  const std::string kept = folder_ + "/" + Fresh("kept"), out = folder_ + "/" + Fresh("with_fifos");
  std::vector<std::string> fifos;
  for (const ProgramRun& run : Runs(folder_ + "/data", "with_fifos")) {
    if (!absl::StrContains(run.arguments, "--output_dir=")) continue;
    const std::string arguments = absl::StrReplaceAll(run.arguments, {{"--noreport", ""}});
    Fresh("with_fifos");
    ASSERT_EQ(testing::RunProgram(run.program, arguments).exit_code, 0) << run.program;
    std::filesystem::remove_all(kept);
    std::filesystem::copy(out, kept, std::filesystem::copy_options::recursive);
    std::vector<std::string> files;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(kept)) {
      if (entry.is_regular_file()) files.push_back(entry.path().lexically_relative(kept));
    }
    EXPECT_GE(files.size(), 2) << run.program;
    for (const std::string& file : files) {
      SCOPED_TRACE(absl::StrCat(run.program, ": ", file));
      std::filesystem::remove_all(out);
      std::filesystem::copy(kept, out, std::filesystem::copy_options::recursive);
      const std::string fifo = absl::StrCat(out, "/", file);
      std::filesystem::remove(fifo);
      ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
      const ProgramResult result = testing::RunShell(absl::StrCat("timeout -s KILL 60 ", run.program, " ", arguments));
      EXPECT_TRUE(result.exit_code >= 0 && result.exit_code <= 2) << result.exit_code << result.output;
    }
  }
}

// The monitor alone reads the held-out pictures. While it does, all of the epoch's updates are saved; killed there, the
// run goes on as if nothing had been.
TEST_F(SystemFaultsTest, TheCheckpointIsSavedBeforeTheKnnMonitor) {
  ProgramRun run = Runs(folder_ + "/data", Fresh("monitored"))[0];
  run.arguments += " --knn_every=1";
  ProgramResult result = testing::RunProgram(run.program, run.arguments);
  ASSERT_EQ(result.exit_code, 0) << result.output;
  const std::string path = folder_ + "/monitored/pretrain/this_checkpoint.pth", whole = Read(path);
  ASSERT_NE(whole, "");
  Fresh("monitored");
  result = WithFaults(
      absl::StrCat("TEC_FAIL_PATH=/data/val/ TEC_FAIL_CALL=read TEC_FAIL_ERRNO=-9 TEC_FAIL_WAIT=", path), run);
  ASSERT_EQ(result.exit_code, 128 + 9) << result.output;
  const auto state = LoadTrainingState(path);
  ASSERT_TRUE(state.ok()) << state.status();
  EXPECT_EQ(state->epoch, -1);
  EXPECT_EQ(state->next_micro_step, 4);  // Of 16 pictures in batches of 4.
  result = testing::RunProgram(run.program, run.arguments);
  EXPECT_EQ(result.exit_code, 0) << result.output;
  EXPECT_TRUE(Read(path) == whole);
}

// What the wall clock showed when the events of the folder were written, in their order.
std::vector<double> WallTimes(const std::string& folder) {
  std::vector<double> times;
  for (const std::string& file : EventFiles(folder)) {
    const std::string content = ReadFile(file).value_or("");
    absl::string_view rest = content;
    while (const std::optional<EventRecord> taken = TakeRecord(&rest)) {
      run::Event event;
      EXPECT_TRUE(event.ParseFromArray(taken->record.data(), static_cast<int>(taken->record.size()))) << file;
      times.push_back(event.wall_time());
    }
  }
  return times;
}

TEST_F(SystemFaultsTest, AClockThatIsSetBackChangesNothing) {
  const std::vector<ProgramRun> runs = Runs(folder_ + "/data", Fresh("clock"));
  // After few readings: most answers to what time it is come from the processor's counter between two of them.
  const ProgramResult result = WithFaults("TEC_CLOCK_BACK=10", runs[1]);
  EXPECT_EQ(result.exit_code, 0) << result.output;
  const std::string out = folder_ + "/clock/finetune";
  // It is set back while the run writes its events, by a day.
  const std::vector<double> times = WallTimes(out);
  ASSERT_FALSE(times.empty());
  constexpr double kDay = 86400, kTenMinutes = 600;
  EXPECT_NEAR(times.front() - times.back(), kDay, kTenMinutes);
  EXPECT_TRUE(Read(out + "/this_checkpoint.pth") == Read(folder_ + "/model/finetune/this_checkpoint.pth"));
  int rates = 0;
  for (const auto& line : absl::StrSplit(Read(out + "/metrics.jsonl"), '\n', absl::SkipEmpty())) {
    const absl::string_view key = "\"images_per_second\": ";
    const size_t at = line.find(key);
    if (at == absl::string_view::npos) continue;
    const absl::string_view rest = line.substr(at + key.size());
    double rate = 0;
    ASSERT_TRUE(absl::SimpleAtod(rest.substr(0, rest.find_first_of(",}")), &rate)) << line;
    EXPECT_GT(rate, 0);
    EXPECT_LT(rate, 1e6);
    ++rates;
  }
  EXPECT_GT(rates, 0);
}

// A real limit of processes, which binds a real user who is not the superuser: the one who runs this, or another whom
// the superuser becomes. It counts all that he has, n, with the shell and the three that count.
TEST_F(SystemFaultsTest, WithFewProcessesAProgramSaysSo) {
  std::string as_user;
  if (geteuid() == 0) {
    as_user =
        "setpriv --reuid=61234 --regid=61234 --clear-groups --inh-caps=+dac_override --ambient-caps=+dac_override ";
    const ProgramResult other = testing::RunShell(as_user + "true");
    ASSERT_EQ(other.exit_code, 0) << "a superuser is bound by no such limit and has to become another user (setpriv of "
                                     "util-linux, CAP_SETUID, CAP_SETPCAP), or run this as one: "
                                  << other.output;
  }
  ASSERT_TRUE(WriteFile(folder_ + "/limited.sh", R"(
n=$(find /proc/[0-9]*/task -mindepth 1 -maxdepth 1 -user $(id -u) 2>/dev/null | wc -l)
most=$(ulimit -Hu)
[ $1 = most ] && limit=$most || limit=$(($1 < 1 ? 1 : $1))
ulimit -u $limit
shift
exec "$@"
)")
                  .ok());
  int done = 0, failed = 0, number = 0;
  for (const char* limit : {"1", "n-3", "n-2", "n-1", "n", "most"}) {
    SCOPED_TRACE(limit);
    const std::string out = Fresh(absl::StrCat("few", number++));
    const ProgramRun run = Runs(folder_ + "/data", out)[1];
    const ProgramResult result = testing::RunShell(
        absl::StrCat(as_user, "bash ", folder_, "/limited.sh ", limit, " ", run.program, " ", run.arguments));
    (result.exit_code == 0 ? done : failed) += 1;
    if (result.exit_code == 0) continue;
    EXPECT_EQ(result.exit_code, 2) << result.output;
    EXPECT_TRUE(absl::StrContains(result.output, "finetune: ")) << result.output;
    const std::string written = folder_ + "/" + out + "/finetune";
    if (Read(written + "/metrics.jsonl").empty()) continue;  // No update was made.
    EXPECT_TRUE(LoadTrainingState(written + "/this_checkpoint.pth").ok()) << result.output;
  }
  EXPECT_GT(done, 0);
  EXPECT_GT(failed, 0);
}

}  // namespace
}  // namespace tec
