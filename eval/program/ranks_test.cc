// The evaluators over several ranks, as a launcher starts them: what they write is what one rank writes, and every end
// of one is the end of all, with its reason.

#include <algorithm>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "eval/testing/tiny.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tec/base/file.h"
#include "tec/dist/launch.h"
#include "tec/dist/socket.h"

namespace tec {
namespace {

std::string Read(const std::string& path) {
  absl::StatusOr<std::string> text = ReadFile(path);
  EXPECT_TRUE(text.ok()) << text.status();
  return text.ok() ? *text : "";
}

std::vector<std::string> SortedLines(const std::string& path) {
  std::vector<std::string> lines = absl::StrSplit(Read(path), '\n', absl::SkipEmpty());
  std::sort(lines.begin(), lines.end());
  return lines;
}

int Count(const std::string& text, const std::string& part) {
  return static_cast<int>(std::vector<std::string>(absl::StrSplit(text, part)).size()) - 1;
}

// By rank.
struct Ended {
  std::vector<int> codes;
  std::vector<std::string> outputs;
};

class RanksTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = testing::FreshFolder("ranks");
    testing::WritePictures(folder_ + "/data/train", {"ant", "bee", "cat"}, 10, 1);
    testing::WritePictures(folder_ + "/data/val", {"ant", "bee", "cat"}, 5, 2);
    // The last three of the training images are a batch of their own, and two in a row are on two ranks.
    for (const char* name : {"train/ant/3", "train/ant/4", "train/cat/7", "val/bee/2"}) {
      EXPECT_TRUE(WriteFile(absl::StrCat(folder_, "/data/", name, ".png"), "no picture").ok());
    }
    testing::WritePictures(folder_ + "/many/train", {"ant", "bee"}, 400, 1);
    testing::WritePictures(folder_ + "/many/val", {"ant", "bee"}, 2, 2);
    testing::WriteTecCheckpoint(folder_ + "/tec.pth", /*mlp_token=*/true);
  }

  static std::string Common(const std::string& data, const std::string& out) {
    return absl::StrCat("--device=cpu --num_workers=1 --threads=1 --checkpoint=", folder_,
                        "/tec.pth --data_path=", folder_, "/", data, " --output_dir=", folder_, "/", out, " ");
  }

  // `more`: arguments of one rank alone. Once `when`, a shell command, succeeds, rank `victim` gets the signal.
  static Ended Run(const std::string& program, const std::string& arguments, int ranks,
                   const std::map<int, std::string>& more = {}, const std::string& signal = "", int victim = 0,
                   const std::string& when = "true") {
    const int port = *FreePort();
    std::string script;
    for (int rank = 0; rank < ranks; ++rank) {
      if (ranks > 1) {
        absl::StrAppend(&script, "RANK=", rank, " LOCAL_RANK=", rank, " WORLD_SIZE=", ranks,
                        " LOCAL_WORLD_SIZE=", ranks, " MASTER_ADDR=127.0.0.1 MASTER_PORT=", port, " ");
      }
      const auto found = more.find(rank);
      absl::StrAppend(&script, program, " ", arguments, found == more.end() ? "" : found->second, " >", folder_,
                      "/said.", rank, " 2>&1 &\np", rank, "=$!\n");
    }
    if (!signal.empty()) {
      absl::StrAppend(&script, "while kill -0 $p0 && ! ", when, "; do sleep 0.01; done 2>/dev/null\nkill -", signal,
                      " $p", victim, "\n");
    }
    for (int rank = 0; rank < ranks; ++rank) absl::StrAppend(&script, "wait $p", rank, "; echo code $?\n");
    EXPECT_TRUE(WriteFile(folder_ + "/script", script).ok());
    Ended ended;
    const std::string said = testing::RunProgram("sh", folder_ + "/script").output;
    for (const absl::string_view line : absl::StrSplit(said, '\n')) {
      int code;
      if (absl::StartsWith(line, "code ") && absl::SimpleAtoi(line.substr(5), &code)) ended.codes.push_back(code);
    }
    EXPECT_EQ(ended.codes.size(), ranks) << said;
    for (int rank = 0; rank < ranks; ++rank) ended.outputs.push_back(Read(absl::StrCat(folder_, "/said.", rank)));
    return ended;
  }

  static std::string folder_;
};

std::string RanksTest::folder_;

constexpr char kUnreadable[] = "unreadable image ";

// To the byte: results, kept features, lists of unreadable images; and only the first rank prints.
TEST_F(RanksTest, FeaturesAreThoseOfOneRank) {
  const std::map<std::string, std::string> programs = {{"knn", "--k=1,5 --confusion"},
                                                       {"logistic", "--c=0.1,1 --max_iterations=20 --confusion"}};
  for (const auto& [program, flags] : programs) {
    const auto out = [&name = program](int ranks) { return absl::StrCat(name, ranks); };
    for (const int ranks : {1, 2, 3}) {
      const Ended ended = Run(absl::StrCat("eval/", program, "/", program),
                              absl::StrCat(Common("data", out(ranks)), flags, " --features=pool --batch_size=4 ",
                                           "--max_bad_fraction=0.2 "),
                              ranks);
      std::string all;
      for (int rank = 0; rank < ranks; ++rank) {
        ASSERT_EQ(ended.codes[rank], 0) << program << " of " << ranks << " ranks: " << ended.outputs[rank];
        EXPECT_EQ(Count(ended.outputs[rank], "top-1") > 0, rank == 0) << ended.outputs[rank];
        EXPECT_EQ(Count(ended.outputs[rank], "written to") > 0, rank == 0) << ended.outputs[rank];
        absl::StrAppend(&all, ended.outputs[rank]);
      }
      for (const char* name : {"ant/3.png", "ant/4.png", "cat/7.png", "bee/2.png"}) {
        EXPECT_EQ(Count(all, absl::StrCat(kUnreadable, name)), 1) << ranks << " ranks: " << all;
      }
      if (ranks == 1) continue;
      const std::string one = absl::StrCat(folder_, "/", out(1), "/"),
                        several = absl::StrCat(folder_, "/", out(ranks), "/");
      int files = 0;
      for (const auto& file : std::filesystem::recursive_directory_iterator(one)) {
        const std::string name = std::filesystem::relative(file.path(), one).string();
        if (!file.is_regular_file() || absl::StrContains(name, "lock") || absl::StrContains(name, "index")) continue;
        ++files;
        if (absl::StartsWith(name, "bad_images")) {
          EXPECT_EQ(SortedLines(several + name), SortedLines(one + name)) << name;
        } else {
          EXPECT_TRUE(Read(several + name) == Read(one + name)) << ranks << " ranks of " << program << ": " << name;
        }
      }
      EXPECT_GE(files, 6) << "results, confusion, features of two sets, two lists";
    }
  }
}

TEST_F(RanksTest, EmbeddingsAreThoseOfOneRank) {
  for (const int ranks : {1, 2, 3}) {
    const Ended ended = Run("eval/embed/embed",
                            absl::StrCat(Common("data", absl::StrCat("embed", ranks)),
                                         "--part=train --batch_size=4 --max_bad_fraction=0.2 ", "--output=", folder_,
                                         "/vectors", ranks, ".npy"),
                            ranks);
    for (int rank = 0; rank < ranks; ++rank) ASSERT_EQ(ended.codes[rank], 0) << ended.outputs[rank];
    EXPECT_TRUE(absl::StrContains(ended.outputs[0], "27 vectors of 16 numbers")) << ended.outputs[0];
    EXPECT_TRUE(absl::StrContains(ended.outputs[0], "; 3 unreadable images left out")) << ended.outputs[0];
    for (const char* ending : {".npy", ".images.csv"}) {
      EXPECT_TRUE(Read(absl::StrCat(folder_, "/vectors", ranks, ending)) ==
                  Read(absl::StrCat(folder_, "/vectors1", ending)))
          << ranks << ending;
    }
  }
}

// Three training images are unreadable, at most one in each of two shares: only together they are too many.
TEST_F(RanksTest, OneCeilingForAllRanks) {
  std::string expected;
  for (const int ranks : {1, 3}) {
    const Ended ended =
        Run("eval/logistic/logistic",
            Common("data", absl::StrCat("ceiling", ranks)) + "--batch_size=4 --max_bad_fraction=0.07 ", ranks);
    for (int rank = 0; rank < ranks; ++rank) {
      EXPECT_EQ(ended.codes[rank], 2) << ended.outputs[rank];
      const size_t begin = ended.outputs[rank].find("3 of 30 images cannot be read; at most 2 ");
      ASSERT_NE(begin, std::string::npos) << ended.outputs[rank];
      const std::string text =
          ended.outputs[rank].substr(begin, ended.outputs[rank].find("cat/7.png: ", begin) - begin);
      if (ranks == 1) expected = text;
      EXPECT_EQ(text, expected);
    }
  }
}

TEST_F(RanksTest, EveryErrorEndsAll) {
  // Of the flags of one rank, before the ranks have met; of its files; of its images, which are compared.
  const std::string many = folder_ + "/many", nowhere = folder_ + "/nowhere";
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"--k=none", "--k=none: \"none\" is not a whole number"},
      {"--data_path=" + nowhere, nowhere},
      {"--data_path=" + many, "fingerprint of training images is "},
      {"--checkpoint=" + nowhere, nowhere}};
  for (const auto& [flag, text] : cases) {
    const Ended ended = Run("eval/knn/knn", Common("data", "errors") + "--dist_timeout=60 ", 2, {{1, flag}});
    for (int rank = 0; rank < 2; ++rank) {
      EXPECT_EQ(ended.codes[rank], 1) << flag << ": " << ended.outputs[rank];
      EXPECT_TRUE(absl::StrContains(ended.outputs[rank], text)) << flag << ": " << ended.outputs[rank];
    }
    EXPECT_TRUE(absl::StrContains(ended.outputs[0], "rank 1")) << ended.outputs[0];
  }
}

TEST_F(RanksTest, AKilledRankIsTheEndOfTheOthers) {
  const std::string arguments = Common("many", "killed") + "--batch_size=1 --k=1 --dist_timeout=60 ";
  const Ended ended = Run("eval/knn/knn", arguments, 3, {}, "KILL", 1, "[ -e " + folder_ + "/killed/features/* ]");
  EXPECT_EQ(ended.codes[1], 128 + 9) << ended.outputs[1];
  for (const int rank : {0, 2}) {
    EXPECT_EQ(ended.codes[rank], 2) << ended.outputs[rank];
    EXPECT_TRUE(absl::StrContains(ended.outputs[rank], absl::StrCat("rank 1 (", HostName(), ") ended without a word")))
        << ended.outputs[rank];
  }
}

// A request to stop at any rank stops all; with another number of ranks the same command goes on.
TEST_F(RanksTest, StopsAndGoesOn) {
  const std::string arguments = Common("many", "stopped") + "--batch_size=1 --k=1 ";
  const Ended stopped = Run("eval/knn/knn", arguments, 2, {}, "TERM", 1, "[ -e " + folder_ + "/stopped/features/* ]");
  for (int rank = 0; rank < 2; ++rank) EXPECT_EQ(stopped.codes[rank], 3) << stopped.outputs[rank];
  EXPECT_TRUE(absl::StrContains(stopped.outputs[0], "the same command goes on from there")) << stopped.outputs[0];
  const Ended on = Run("eval/knn/knn", arguments, 3);
  for (int rank = 0; rank < 3; ++rank) ASSERT_EQ(on.codes[rank], 0) << on.outputs[rank];
  ASSERT_EQ(Run("eval/knn/knn", Common("many", "whole") + "--batch_size=1 --k=1 ", 1).codes[0], 0);
  EXPECT_TRUE(Read(folder_ + "/stopped/results.json") == Read(folder_ + "/whole/results.json"));
}

double Field(const std::string& line, const char* name) { return nlohmann::json::parse(line).at(name).get<double>(); }

// Plain SGD, whose steps show a gradient's scale; without batch normalisation the statistics of ranks are no matter.
TEST_F(RanksTest, LinearHeadsTrainAsOfOneRank) {
  for (const char* augment : {"--augment", "--noaugment"}) {
    const auto run = [&](const std::string& out, int ranks, int accum_iter, const std::string& more = "") {
      const Ended ended = Run("eval/linear/linear",
                              absl::StrCat(Common("data", out), "--protocol=ibot --rates=1,0.1 --lr=0.1 --epochs=4 ",
                                           augment, " --features=pool --batch_size=", 12 / ranks / accum_iter,
                                           " --accum_iter=", accum_iter, " --max_bad_fraction=0.2 ", more),
                              ranks);
      for (int rank = 0; rank < ranks; ++rank) {
        EXPECT_EQ(ended.codes[rank], 0) << ended.outputs[rank];
        EXPECT_EQ(Count(ended.outputs[rank], "best: pool"), rank == 0 ? 1 : 0) << ended.outputs[rank];
      }
      return SortedLines(folder_ + "/" + out + "/log.txt");
    };
    const std::string name = absl::StrCat("linear", augment);
    const std::vector<std::string> one = run(name + "1", 1, 1);
    for (const int ranks : {2, 3}) {
      const std::string out = absl::StrCat(name, ranks);
      const std::vector<std::string> several = run(out, ranks, ranks == 2 ? 2 : 1);
      ASSERT_EQ(several.size(), one.size());
      ASSERT_EQ(one.size(), 4);
      for (size_t epoch = 0; epoch < one.size(); ++epoch) {
        for (const char* field : {"train_loss", "test_loss", "test_acc1", "train_lr"}) {
          EXPECT_NEAR(Field(several[epoch], field), Field(one[epoch], field), 2e-5)
              << ranks << " ranks: " << several[epoch];
        }
      }
      const nlohmann::json results = nlohmann::json::parse(Read(folder_ + "/" + out + "/results.json"));
      EXPECT_NEAR(
          results.at("best").at("accuracy").at("top1").get<double>(),
          nlohmann::json::parse(Read(folder_ + "/" + name + "1/results.json")).at("best").at("accuracy").at("top1"), 0);
    }
  }
}

// MAE's protocol, with batch normalisation: stopped in mid-epoch and gone on with, the bytes are those of a whole run.
TEST_F(RanksTest, ALinearProbeGoesOn) {
  const auto arguments = [](const std::string& out, const std::string& data) {
    return Common(data, out) +
           "--epochs=2 --features=pool --batch_size=4 --warmup_epochs=0 --lr=1 --max_bad_fraction=0.2 ";
  };
  const Ended whole = Run("eval/linear/linear", arguments("probe", "many"), 2);
  for (int rank = 0; rank < 2; ++rank) ASSERT_EQ(whole.codes[rank], 0) << whole.outputs[rank];
  const Ended stopped = Run("eval/linear/linear", arguments("probe_stopped", "many"), 2, {}, "TERM", 1,
                            "[ -s " + folder_ + "/probe_stopped/metrics.jsonl ]");
  for (int rank = 0; rank < 2; ++rank) ASSERT_EQ(stopped.codes[rank], 3) << stopped.outputs[rank];
  const Ended on = Run("eval/linear/linear", arguments("probe_stopped", "many"), 2);
  for (int rank = 0; rank < 2; ++rank) ASSERT_EQ(on.codes[rank], 0) << on.outputs[rank];
  for (const char* file : {"this_checkpoint.pth", "best_checkpoint.pth", "results.json"}) {
    EXPECT_TRUE(Read(absl::StrCat(folder_, "/probe_stopped/", file)) == Read(absl::StrCat(folder_, "/probe/", file)))
        << file;
  }
  // Of another number of ranks it is another run, which is said; evaluated by any, it is the same.
  const Ended alone = Run("eval/linear/linear", arguments("probe", "many") + "--epochs=3", 1);
  EXPECT_EQ(alone.codes[0], 1) << alone.outputs[0];
  const Ended evaluated = Run("eval/linear/linear", arguments("probe", "many") + "--eval", 3);
  for (int rank = 0; rank < 3; ++rank) EXPECT_EQ(evaluated.codes[rank], 0) << evaluated.outputs[rank];
}

}  // namespace
}  // namespace tec
