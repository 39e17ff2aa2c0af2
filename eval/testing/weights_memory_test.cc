// What a program that reads an encoder's file takes for the file's size: the weights once where it computes with them,
// no more where it writes them elsewhere.

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "eval/testing/tiny.h"
#include "gtest/gtest.h"
#include "tec/base/file.h"
#include "tec/checkpoint/safetensors.h"

namespace tec {
namespace {

constexpr int64_t kWidth = 512, kAllowedMiB = 64;

// An encoder in timm's names, for 16 pixels in patches of 8; all tensors are the same bytes.
StateDict Encoder(int depth) {
  const auto bytes = std::make_shared<const std::string>(kWidth * kWidth * 4 * sizeof(float), '\x3c');
  StateDict weights;
  const auto add = [&](const std::string& name, std::vector<int64_t> shape) {
    TensorView view;
    view.shape = std::move(shape);
    view.bytes = absl::string_view(*bytes).substr(0, view.NumElements() * sizeof(float));
    view.owner = bytes;
    ASSERT_TRUE(weights.Add(name, view).ok());
  };
  const auto linear = [&](const std::string& name, int64_t out, int64_t in) {
    add(name + ".weight", {out, in});
    add(name + ".bias", {out});
  };
  const auto norm = [&](const std::string& name) {
    add(name + ".weight", {kWidth});
    add(name + ".bias", {kWidth});
  };
  add("cls_token", {1, 1, kWidth});
  add("pos_embed", {1, 5, kWidth});
  add("patch_embed.proj.weight", {kWidth, 3, 8, 8});
  add("patch_embed.proj.bias", {kWidth});
  for (int i = 0; i < depth; ++i) {
    const std::string block = absl::StrCat("blocks.", i);
    norm(block + ".norm1");
    linear(block + ".attn.qkv", 3 * kWidth, kWidth);
    linear(block + ".attn.proj", kWidth, kWidth);
    norm(block + ".norm2");
    linear(block + ".mlp.fc1", 4 * kWidth, kWidth);
    linear(block + ".mlp.fc2", kWidth, 4 * kWidth);
  }
  norm("norm");
  return weights;
}

// The most memory that a program had, in MiB; -1, with what it said, if it failed.
int64_t PeakMiB(const std::string& command, const std::string& log) {
  const pid_t child = fork();
  if (child == 0) {
    // exec: the shell's own memory is the program's then, and not a child's.
    execl("/bin/sh", "sh", "-c", absl::StrCat("exec ", command, " >", log, " 2>&1").c_str(), nullptr);
    _exit(127);
  }
  int status = 0;
  rusage usage = {};
  if (child < 0 || wait4(child, &status, 0, &usage) != child || !WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    ADD_FAILURE() << command << ": " << ReadFile(log).value_or("");
    return -1;
  }
  return usage.ru_maxrss / 1024;  // Linux counts in KiB.
}

class WeightsMemoryTest : public ::testing::Test {
 protected:
  static constexpr int kFewBlocks = 1, kBlocks = 24;

  static void SetUpTestSuite() {
    folder_ = testing::FreshFolder("memory");
    testing::WritePictures(folder_ + "/data/train", {"ant", "bee"}, 4, 1);
    testing::WritePictures(folder_ + "/data/val", {"ant", "bee"}, 2, 2);
    for (int depth : {kFewBlocks, kBlocks}) {
      ASSERT_TRUE(WriteSafetensors(Checkpoint(depth), Encoder(depth)).ok());
    }
    file_mib_ = (ReadFile(Checkpoint(kBlocks))->size() - ReadFile(Checkpoint(kFewBlocks))->size()) >> 20;
    ASSERT_GT(file_mib_, 250);
  }

  static std::string Checkpoint(int depth) { return absl::StrCat(folder_, "/", depth, ".safetensors"); }

  // `command` and `checkpoint` with the large file, beside what the same takes with the small one.
  static void ExpectGrowth(const std::string& command, const std::string& arguments, int64_t most_mib) {
    SCOPED_TRACE(command);
    const auto peak = [&](int depth) {
      const std::string out = testing::FreshFolder("memory/out");
      return PeakMiB(absl::StrCat(command, " --heads=8 --checkpoint=", Checkpoint(depth), " ", arguments, out, "/out",
                                  command == "eval/embed/embed" ? ".npy" : ""),
                     folder_ + "/log");
    };
    const int64_t small = peak(kFewBlocks), large = peak(kBlocks);
    EXPECT_LE(large - small, most_mib) << small << " and " << large << " MiB";
  }

  static std::string folder_;
  static int64_t file_mib_;
};

std::string WeightsMemoryTest::folder_;
int64_t WeightsMemoryTest::file_mib_;

TEST_F(WeightsMemoryTest, EvaluatorsHoldTheWeightsOnce) {
  const std::string common = absl::StrCat(
      "--device=cpu --precision=float32 --threads=1 --num_workers=1 --batch_size=4 --data_path=", folder_, "/data ");
  const int64_t most = file_mib_ + kAllowedMiB;
  ExpectGrowth("eval/knn/knn", common + "--k=1 --output_dir=", most);
  ExpectGrowth("eval/embed/embed", common + "--output=", most);
  ExpectGrowth("eval/logistic/logistic", common + "--c=1 --max_iterations=2 --output_dir=", most);
  ExpectGrowth("eval/linear/linear", common + "--epochs=1 --warmup_epochs=0 --output_dir=", most);
}

// Pages of the file that they have read may be with them: the system takes those back as it likes.
TEST_F(WeightsMemoryTest, ToolsHoldTheFileOnceAtMost) {
  for (const char* dtype : {"float32", "float16"}) {
    ExpectGrowth("tools/export/export", absl::StrCat("--dtype=", dtype, " --output="), kAllowedMiB);
  }
  for (const char* to : {"tec", "timm", "hf"}) {
    ExpectGrowth("tools/convert/convert", absl::StrCat("--to=", to, " --output_dir="), file_mib_ + kAllowedMiB);
  }
}

}  // namespace
}  // namespace tec
