// Several processes of the program: that they train as one, agree before they train, and that every fault ends all of
// them with a line that names its cause, after which the same command goes on.

#include <dirent.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "tec/base/random.h"
#include "tec/dist/launch.h"
#include "tec/dist/socket.h"
#include "tec/testing/equal_runs.h"
#include "tec/train/pretrain_program.h"
#include "tec/train/small_run.h"

namespace tec {
namespace {

using testing::CountLines;
using testing::EmptyFolder;
using testing::FileBytes;
using testing::Lines;
using testing::Number;
using testing::Program;
using testing::RankEnvironment;
using testing::WaitForUpdates;
using testing::WriteText;

constexpr int kRanks = 2;
// Long enough for a fault to come in between; saves whenever it can.
const std::vector<std::string> kLong = {"--epochs=24", "--save_period=1000", "--save_every_minutes=0.0005",
                                        "--batch_size=2"};
constexpr char kLast[] = "/checkpoint-23.pth";

class PretrainRanksTest : public testing::ProgramTest {
 protected:
  using Ranks = std::vector<std::unique_ptr<Program>>;
  struct Rank {
    std::vector<std::string> more;  // Arguments of this rank alone.
    std::map<std::string, std::string> environment;
    std::function<void()> in_child = [] {};
  };

  static Ranks Start(const std::string& out, const std::map<int, Rank>& special = {},
                     const std::vector<std::string>& common = kLong) {
    const int port = *FreePort();
    Ranks ranks;
    for (int rank = 0; rank < kRanks; ++rank) {
      std::vector<std::string> arguments = Arguments(out, common);
      std::map<std::string, std::string> environment = RankEnvironment(rank, port, kRanks);
      const auto found = special.find(rank);
      const Rank own = found == special.end() ? Rank() : found->second;
      arguments.insert(arguments.end(), own.more.begin(), own.more.end());
      for (const auto& [name, value] : own.environment) environment[name] = value;
      ranks.push_back(std::make_unique<Program>(arguments, environment, own.in_child));
    }
    return ranks;
  }

  static std::string Outputs(const Ranks& ranks) {
    std::string all;
    for (const auto& rank : ranks) absl::StrAppend(&all, "--- ", rank->Output());
    return all;
  }

  // All end with this code, and each says `part` (rank 0's first).
  static void ExpectEnd(const Ranks& ranks, int code, const std::vector<std::string>& parts) {
    for (size_t rank = 0; rank < ranks.size(); ++rank) {
      EXPECT_EQ(ranks[rank]->Wait(), code) << "rank " << rank << ": " << Outputs(ranks);
      EXPECT_TRUE(absl::StrContains(ranks[rank]->Output(), parts[rank]))
          << "rank " << rank << ": " << parts[rank] << " in " << Outputs(ranks);
    }
  }

  // The same command goes on to the end, with the weights of a run that nothing has happened to.
  static void ExpectToGoOn(const std::string& out) {
    const Ranks ranks = Start(out);
    for (const auto& rank : ranks) ASSERT_EQ(rank->Wait(), 0) << Outputs(ranks);
    EXPECT_TRUE(FileBytes(out + kLast) == FileBytes(Undisturbed() + kLast));
    EXPECT_EQ(CountLines(out + "/metrics.jsonl"), 24 * testing::kUpdatesPerEpoch);
  }

  static const std::string& Undisturbed() {
    static const auto* const folder = new std::string([] {
      const std::string out = EmptyFolder("undisturbed");
      const Ranks ranks = Start(out);
      for (const auto& rank : ranks) EXPECT_EQ(rank->Wait(), 0) << Outputs(ranks);
      return out;
    }());
    return *folder;
  }

  static std::string Named(int rank) { return absl::StrCat("rank ", rank, " (", HostName(), ")"); }
};

// Ranks that share a batch see the same images, crops and masks as one rank with all of it: losses, norms of the
// gradient and weights are equal but for the order of float32 sums. The norm alone tells a sum from a mean: AdamW does
// not see a gradient's scale. Clipped at some updates and not at others.
TEST_F(PretrainRanksTest, RanksTrainAsOne) {
  const std::vector<std::string> common = {"--epochs=6", "--accum_iter=2", "--clip_grad=1.2", "--save_period=1000",
                                           "--warmup_epochs=1"};
  const auto arguments = [&](const std::string& out, int ranks) {
    std::vector<std::string> all = Arguments(out, common);
    all.push_back(absl::StrCat("--batch_size=", 12 / ranks));
    return all;
  };
  const std::string one = EmptyFolder("one_rank");
  Program alone(arguments(one, 1));
  ASSERT_EQ(alone.Wait(), 0) << alone.Output();
  bool clipped = false, whole = false;
  for (const std::string& line : Lines(FileBytes(one + "/metrics.jsonl"))) {
    (Number(line, "grad_norm") > 1.2 ? clipped : whole) = true;
  }
  EXPECT_TRUE(clipped && whole) << FileBytes(one + "/metrics.jsonl");
  for (const int ranks : {2, 3, 4}) {
    const std::string out = EmptyFolder(absl::StrCat("ranks", ranks));
    LaunchRequest request;
    request.command = arguments(out, ranks);
    request.command.insert(request.command.begin(), "tec/pretrain");
    request.ranks = ranks;
    request.log_file = out + "/output";
    const absl::StatusOr<int> code = RunRanks(request);
    ASSERT_TRUE(code.ok()) << code.status();
    ASSERT_EQ(*code, 0) << FileBytes(request.log_file);
    EXPECT_EQ(testing::DifferenceOfRuns(one, out, "checkpoint-5.pth", {"loss_fea", "loss_att", "lr"}), "")
        << ranks << " ranks";
  }
}

// Bad files are counted over all ranks, each once however many ranks meet it.
TEST_F(PretrainRanksTest, TwoRanksCountBadFilesAsOne) {
  const std::string pictures = EmptyFolder("some_bad"), one = EmptyFolder("one_bad"), two = EmptyFolder("two_bad");
  testing::MakePictures(pictures);
  for (const char* name : {"/class0/3.jpg", "/class1/10.jpg", "/class1/19.jpg", "/class2/20.jpg"}) {
    WriteText(pictures + name, "no picture");
  }
  const std::vector<std::string> more = {"--data_path=" + pictures, "--max_bad_fraction=0.2"};
  Program alone(Arguments(one, more));
  const int port = *FreePort();
  std::vector<std::string> half = Arguments(two, more);
  half.push_back("--batch_size=2");
  Program first(half, RankEnvironment(0, port)), second(half, RankEnvironment(1, port));
  ASSERT_EQ(alone.Wait(), 0) << alone.Output();
  ASSERT_EQ(first.Wait(), 0) << first.Output() << second.Output();
  ASSERT_EQ(second.Wait(), 0) << second.Output();
  const auto expected = Lines(FileBytes(one + "/log.txt")), got = Lines(FileBytes(two + "/log.txt"));
  ASSERT_EQ(got.size(), expected.size());
  for (size_t i = 0; i < got.size(); ++i) {
    EXPECT_EQ(Number(got[i], "bad_images"), Number(expected[i], "bad_images")) << "epoch " << i;
  }
  EXPECT_EQ(Number(got.back(), "bad_images"), 4);
}

// What decides a run, otherwise on one rank: an error before anything is trained, with a line that names it.
TEST_F(PretrainRanksTest, WhatDecidesARunMustBeTheSame) {
  const std::string fewer = EmptyFolder("fewer"), more = EmptyFolder("more"), base = EmptyFolder("other_base");
  const std::string renamed = EmptyFolder("renamed");
  for (const std::string& folder : {fewer, more, renamed}) testing::MakePictures(folder);
  ASSERT_EQ(rename((renamed + "/class1/4.jpg").c_str(), (renamed + "/class1/5.jpg").c_str()), 0);
  ASSERT_EQ(unlink((fewer + "/class1/4.jpg").c_str()), 0);
  const std::string jpeg = FileBytes(fewer + "/class0/0.jpg");
  WriteText(more + "/class1/100.jpg", jpeg);
  WriteText(more + "/class2/101.jpg", jpeg);
  WriteText(base + "/mae.textproto", testing::MaeText(*pictures_, base));
  Program other({"--config", base + "/mae.textproto", "--epochs=1", "--seed=9"});
  ASSERT_EQ(other.Wait(), 0) << other.Output();
  struct Case {
    std::vector<std::string> more;
    std::string line;
  };
  const std::vector<Case> cases = {
      {{"--seed=6"}, "seed is 6 here, 5 on rank 0"},
      {{"--blr=0.03"}, "optimizer.blr is 0.03 here, 0.02 on rank 0"},
      {{"--base_model=" + base + "/checkpoint-0.pth"}, "base model's checksum is "},
      {{"--data_path=" + more}, "images in the data set is 32 here, 30 on rank 0"},
      {{"--data_path=" + fewer}, "images in the data set is 29 here, 30 on rank 0"},
      {{"--data_path=" + renamed}, "fingerprint of the images' names and labels is "},
      {{"--bfloat16_gradients"}, "--bfloat16_gradients is on here, off on rank 0"},
      {{"--knn_every=2"}, "monitoring by --knn_every is on here, off on rank 0"},
  };
  for (const Case& c : cases) {
    const std::string out = EmptyFolder("differs");
    Rank second;
    second.more = c.more;
    ExpectEnd(Start(out, {{1, second}}), 1, {"rank 1: what decides a run must be the same on all ranks: ", c.line});
    EXPECT_EQ(CountLines(out + "/metrics.jsonl"), 0) << c.line;
  }
}

TEST_F(PretrainRanksTest, AnErrorBeforeTheRanksMeetIsToldToTheOthers) {
  for (const int bad : {0, 1}) {
    for (const char* flag : {"--data_path=/no/such/folder", "--epoch=3", "--device=cuda"}) {
      const absl::Time start = absl::Now();
      Rank wrong;
      wrong.more = {flag};
      const Ranks ranks = Start(EmptyFolder("bad_rank"), {{bad, wrong}});
      const std::string name = absl::StrContains(flag, "data_path") ? "/no/such/folder"
                               : absl::StrContains(flag, "epoch")   ? "--epoch"
                                                                    : "no such CUDA device";
      for (int rank = 0; rank < kRanks; ++rank) {
        EXPECT_EQ(ranks[rank]->Wait(), 1) << Outputs(ranks);
        EXPECT_TRUE(absl::StrContains(ranks[rank]->Output(), name)) << name << " in " << ranks[rank]->Output();
      }
      EXPECT_TRUE(absl::StrContains(ranks[1 - bad]->Output(), absl::StrCat("rank ", bad)));
      EXPECT_LT(absl::Now() - start, absl::Seconds(120));  // Not --dist_timeout.
    }
  }
}

// Twenty times, at no particular moment, either rank; each time the other one names it.
TEST_F(PretrainRanksTest, KilledAtAnyMomentItGoesOn) {
  const std::string out = EmptyFolder("killed");
  RandomStream random(RandomKey{7, RandomPurpose::kPictures, 0, 0});
  for (int i = 0; i < 20; ++i) {
    const Ranks ranks = Start(out);
    const int victim = i % kRanks;
    ASSERT_TRUE(WaitForUpdates(*ranks[0], out, CountLines(out + "/metrics.jsonl") + 1 + random.UniformInt(3)))
        << Outputs(ranks);
    absl::SleepFor(absl::Milliseconds(random.UniformInt(20)));
    ranks[victim]->Signal(SIGKILL);
    EXPECT_EQ(ranks[victim]->Wait(), -SIGKILL);
    EXPECT_EQ(ranks[1 - victim]->Wait(), 2) << Outputs(ranks);
    EXPECT_TRUE(absl::StrContains(ranks[1 - victim]->Output(), Named(victim) + " ended without a word"))
        << Outputs(ranks);
  }
  ExpectToGoOn(out);
}

// Rank 0, while the file of a checkpoint is being written.
TEST_F(PretrainRanksTest, KilledInASaveItGoesOn) {
  const std::string out = EmptyFolder("killed_saving");
  for (int i = 0; i < 5; ++i) {
    const Ranks ranks = Start(out);
    const auto saving = [&out] {
      DIR* const folder = opendir(out.c_str());
      bool found = false;
      while (folder != nullptr && !found) {
        const dirent* const entry = readdir(folder);
        if (entry == nullptr) break;
        found = absl::StrContains(entry->d_name, ".pth.");
      }
      if (folder != nullptr) closedir(folder);
      return found;
    };
    // What the run before left half written is gone by then.
    ASSERT_TRUE(WaitForUpdates(*ranks[0], out, CountLines(out + "/metrics.jsonl") + 2)) << Outputs(ranks);
    while (!saving() && ranks[0]->Running()) {
    }
    ranks[0]->Signal(SIGKILL);
    EXPECT_EQ(ranks[0]->Wait(), -SIGKILL) << Outputs(ranks);
    EXPECT_EQ(ranks[1]->Wait(), 2) << Outputs(ranks);
    EXPECT_TRUE(absl::StrContains(ranks[1]->Output(), Named(0) + " ended without a word")) << Outputs(ranks);
  }
  ExpectToGoOn(out);
}

// Stopped for 20 s nothing has happened; for good, all end within the limit, the stopped one when it wakes up.
TEST_F(PretrainRanksTest, AStoppedRankIsWaitedForWithALimit) {
  for (const int victim : {0, 1}) {
    const std::string out = EmptyFolder("stopped");
    Ranks ranks = Start(out);
    ASSERT_TRUE(WaitForUpdates(*ranks[0], out, 5)) << Outputs(ranks);
    ranks[victim]->Signal(SIGSTOP);
    absl::SleepFor(absl::Seconds(20));
    ranks[victim]->Signal(SIGCONT);
    for (const auto& rank : ranks) EXPECT_EQ(rank->Wait(), 0) << Outputs(ranks);
    EXPECT_TRUE(FileBytes(out + kLast) == FileBytes(Undisturbed() + kLast));

    const std::string gone = EmptyFolder("stopped_for_good");
    std::vector<std::string> flags = kLong;
    flags.push_back("--dist_timeout=6");
    ranks = Start(gone, {}, flags);
    ASSERT_TRUE(WaitForUpdates(*ranks[0], gone, 5)) << Outputs(ranks);
    ranks[victim]->Signal(SIGSTOP);
    const absl::Time start = absl::Now();
    EXPECT_EQ(ranks[1 - victim]->Wait(), 2) << Outputs(ranks);
    EXPECT_LT(absl::Now() - start, absl::Seconds(6 + 30));
    EXPECT_TRUE(absl::StrContains(ranks[1 - victim]->Output(),
                                  "no sign of life from " + Named(victim) + " for 6 s (--dist_timeout)"))
        << Outputs(ranks);
    ranks[victim]->Signal(SIGCONT);
    EXPECT_EQ(ranks[victim]->Wait(), 2) << Outputs(ranks);
    ExpectToGoOn(gone);
  }
}

// As on a full disk, the write of a checkpoint fails, in the background.
TEST_F(PretrainRanksTest, AFullDiskOfRankZeroIsToldToAll) {
  const std::string out = EmptyFolder("full");
  Rank full;
  full.in_child = [] {
    const struct rlimit size = {100000, 100000};
    setrlimit(RLIMIT_FSIZE, &size);
    signal(SIGXFSZ, SIG_IGN);
  };
  ExpectEnd(Start(out, {{0, full}}), 2, {"File too large", "File too large"});
  ExpectToGoOn(out);
}

// Nothing can be written under the log's name any more, on rank 0, where the log is.
TEST_F(PretrainRanksTest, ALogThatCannotBeWrittenIsToldToAll) {
  const std::string out = EmptyFolder("no_log"), log = out + "/metrics.jsonl", away = out + "/away";
  const Ranks ranks = Start(out);
  ASSERT_TRUE(WaitForUpdates(*ranks[0], out, 4)) << Outputs(ranks);
  ASSERT_EQ(rename(log.c_str(), away.c_str()), 0);
  if (mkdir(log.c_str(), 0755) != 0) {
    // A line came in between.
    ASSERT_EQ(unlink(log.c_str()), 0);
    ASSERT_EQ(mkdir(log.c_str(), 0755), 0);
  }
  ExpectEnd(ranks, 2, {"metrics.jsonl", "rank 0: cannot open "});
  EXPECT_TRUE(absl::StrContains(ranks[1]->Output(), "metrics.jsonl")) << Outputs(ranks);
  ASSERT_EQ(rmdir(log.c_str()), 0);
  ASSERT_EQ(rename(away.c_str(), log.c_str()), 0);
  const Ranks again = Start(out);
  for (const auto& rank : again) EXPECT_EQ(rank->Wait(), 0) << Outputs(again);
  EXPECT_TRUE(FileBytes(out + kLast) == FileBytes(Undisturbed() + kLast));
}

// Half the bytes: other weights, the same on both ranks after every update, and nearly the same losses.
TEST_F(PretrainRanksTest, GradientsMayTravelInBfloat16) {
  std::vector<std::string> flags = kLong;
  flags.insert(flags.end(), {"--check_ranks_every=1", "--bfloat16_gradients"});
  const std::string out = EmptyFolder("bfloat16");
  const Ranks ranks = Start(out, {}, flags);
  for (const auto& rank : ranks) ASSERT_EQ(rank->Wait(), 0) << Outputs(ranks);
  EXPECT_TRUE(absl::StrContains(ranks[0]->Output(), "gradients travel between the ranks in bfloat16"));
  EXPECT_FALSE(FileBytes(out + kLast) == FileBytes(Undisturbed() + kLast));
  const auto expected = Lines(FileBytes(Undisturbed() + "/log.txt")), got = Lines(FileBytes(out + "/log.txt"));
  ASSERT_EQ(got.size(), expected.size());
  for (size_t i = 0; i < got.size(); ++i) {
    for (const char* name : {"train_loss_fea", "train_loss_att"}) {
      EXPECT_NEAR(Number(got[i], name) / Number(expected[i], name), 1, 1e-2) << name << " of epoch " << i;
    }
  }
}

TEST_F(PretrainRanksTest, APortThatIsTakenIsSaidByAll) {
  const auto listener = ListenAt(LoopbackAddress(0));
  ASSERT_TRUE(listener.ok());
  Rank at_port;
  at_port.environment["MASTER_PORT"] = absl::StrCat(LocalAddress(listener->fd())->port());
  at_port.more = {"--dist_timeout=3"};
  const Ranks ranks = Start(EmptyFolder("port"), {{0, at_port}, {1, at_port}});
  EXPECT_EQ(ranks[0]->Wait(), 1) << Outputs(ranks);
  EXPECT_EQ(ranks[1]->Wait(), 2) << Outputs(ranks);
  EXPECT_TRUE(absl::StrContains(ranks[0]->Output(), "choose another MASTER_PORT")) << Outputs(ranks);
  EXPECT_TRUE(absl::StrContains(ranks[1]->Output(), "another program has the port")) << Outputs(ranks);
}

TEST_F(PretrainRanksTest, AWrongAddressIsSaidAtOnceByAll) {
  Rank wrong;
  wrong.environment["MASTER_ADDR"] = "300.1.2.3";
  ExpectEnd(Start(EmptyFolder("address"), {{0, wrong}, {1, wrong}}), 1,
            {"the address of '300.1.2.3' cannot be found", "the address of '300.1.2.3' cannot be found"});
}

TEST_F(PretrainRanksTest, SigtermOfOneRankStopsAllAfterSaving) {
  const std::string out = EmptyFolder("terminated");
  for (const int asked : {1, 0}) {
    const Ranks ranks = Start(out);
    ASSERT_TRUE(WaitForUpdates(*ranks[0], out, CountLines(out + "/metrics.jsonl") + 4)) << Outputs(ranks);
    ranks[asked]->Signal(SIGTERM);
    const std::string line = "stopping: " + Named(asked) + " was asked to";
    ExpectEnd(ranks, 3, {line, line});
    EXPECT_TRUE(absl::StrContains(ranks[0]->Output(), "saved " + out + "/this_checkpoint.pth")) << Outputs(ranks);
  }
  ExpectToGoOn(out);
}

// Before the others have come there is nothing to save.
TEST_F(PretrainRanksTest, SigtermIsObeyedWhileWaiting) {
  for (const int rank : {0, 1}) {
    Program program(Arguments(EmptyFolder("alone")), RankEnvironment(rank, *FreePort()));
    while (!absl::StrContains(program.Output(), "waiting for rank ") && program.Running()) {
      absl::SleepFor(absl::Milliseconds(20));
    }
    program.Signal(SIGTERM);
    EXPECT_EQ(program.Wait(), 3) << program.Output();
    EXPECT_TRUE(absl::StrContains(program.Output(), "stopped before the ranks had met")) << program.Output();
  }
}

}  // namespace
}  // namespace tec
