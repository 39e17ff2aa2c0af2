// The program as its users meet it: exit codes, messages, signals. Several processes: pretrain_ranks_test.cc.

#include <signal.h>
#include <sys/resource.h>

#include <cmath>
#include <filesystem>
#include <tuple>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "gtest/gtest.h"
#include "tec/checkpoint/pth.h"
#include "tec/checkpoint/state_dict_file.h"
#include "tec/train/pretrain_program.h"
#include "tec/train/small_run.h"

namespace tec {
namespace {

using testing::CountLines;
using testing::EmptyFolder;
using testing::Exists;
using testing::FileBytes;
using testing::Lines;
using testing::Number;
using testing::Program;
using testing::WaitForUpdates;
using testing::WriteText;

class PretrainTest : public testing::ProgramTest {};

// Long enough to be interrupted.
const std::vector<std::string> kLong = {"--epochs=24", "--save_period=1000", "--save_every_minutes=0.0005"};

TEST_F(PretrainTest, KilledBetweenTwoSavesItGoesOn) {
  const std::string whole = EmptyFolder("whole"), out = EmptyFolder("killed");
  Program uninterrupted(Arguments(whole, kLong));
  ASSERT_EQ(uninterrupted.Wait(), 0) << uninterrupted.Output();

  // Three times, not always at the same place of an epoch.
  int64_t before = 0;
  for (const int64_t updates : {5, 20, 40}) {
    Program program(Arguments(out, kLong));
    ASSERT_TRUE(WaitForUpdates(program, out, updates)) << program.Output();
    program.Signal(SIGKILL);
    EXPECT_EQ(program.Wait(), -SIGKILL);
    EXPECT_GE(CountLines(out + "/metrics.jsonl"), before);
    before = updates;
  }
  Program resumed(Arguments(out, kLong));
  ASSERT_EQ(resumed.Wait(), 0) << resumed.Output();
  EXPECT_TRUE(absl::StrContains(resumed.Output(), "resumed from")) << resumed.Output();
  EXPECT_TRUE(FileBytes(whole + "/checkpoint-23.pth") == FileBytes(out + "/checkpoint-23.pth"));
  EXPECT_EQ(CountLines(out + "/log.txt"), 24);
  EXPECT_EQ(CountLines(out + "/metrics.jsonl"), 24 * testing::kUpdatesPerEpoch);
}

// The same weights as without, and an accuracy in the log of every second epoch.
TEST_F(PretrainTest, MonitorsByNearestNeighbours) {
  const std::string out = EmptyFolder("monitored"), plain = EmptyFolder("unmonitored");
  Program monitored(Arguments(out, {"--epochs=4", "--knn_every=2"})), unmonitored(Arguments(plain, {"--epochs=4"}));
  ASSERT_EQ(monitored.Wait(), 0) << monitored.Output();
  ASSERT_EQ(unmonitored.Wait(), 0) << unmonitored.Output();
  EXPECT_TRUE(absl::StrContains(monitored.Output(), "monitor: knn_top1 ")) << monitored.Output();
  EXPECT_TRUE(FileBytes(out + "/checkpoint-3.pth") == FileBytes(plain + "/checkpoint-3.pth"));
  const std::vector<std::string> log = Lines(FileBytes(out + "/log.txt"));
  ASSERT_EQ(log.size(), 4u);
  for (size_t epoch = 0; epoch < 4; ++epoch) {
    ASSERT_EQ(absl::StrContains(log[epoch], "knn_top1"), epoch % 2 == 1) << log[epoch];
    if (epoch % 2 == 0) continue;
    EXPECT_GE(Number(log[epoch], "knn_top1"), 0);
    EXPECT_EQ(Number(log[epoch], "knn_top5"), 100);  // Three classes.
  }
}

TEST_F(PretrainTest, TerminatedItSavesAndGoesOn) {
  const std::string whole = EmptyFolder("whole"), out = EmptyFolder("terminated");
  const std::vector<std::string> flags = {"--epochs=16", "--save_period=1000"};
  Program uninterrupted(Arguments(whole, flags));
  ASSERT_EQ(uninterrupted.Wait(), 0) << uninterrupted.Output();
  for (const int signal : {SIGTERM, SIGINT}) {
    const int64_t done = CountLines(out + "/metrics.jsonl");
    Program program(Arguments(out, flags));
    ASSERT_TRUE(WaitForUpdates(program, out, done + 7)) << program.Output();
    program.Signal(signal);
    EXPECT_EQ(program.Wait(), 3) << program.Output();
    EXPECT_TRUE(absl::StrContains(program.Output(), "saved " + out + "/this_checkpoint.pth")) << program.Output();
  }
  Program resumed(Arguments(out, flags));
  ASSERT_EQ(resumed.Wait(), 0) << resumed.Output();
  EXPECT_TRUE(FileBytes(whole + "/checkpoint-15.pth") == FileBytes(out + "/checkpoint-15.pth"));
}

TEST_F(PretrainTest, NonFiniteLossStopsWithoutSaving) {
  const std::string out = EmptyFolder("nan");
  Program good(Arguments(out, {"--epochs=1"}));
  ASSERT_EQ(good.Wait(), 0) << good.Output();
  const std::string before = FileBytes(out + "/this_checkpoint.pth");
  Program bad(Arguments(out, {"--epochs=3", "--lr=1e30", "--save_every_minutes=0.000001"}));
  EXPECT_EQ(bad.Wait(), 2) << bad.Output();
  for (const char* part : {"pretrain: update ", "not finite", "epoch 1, micro-step", "loss_fea", "loss_att",
                           "/this_checkpoint.pth", "lr 1e+30"}) {
    EXPECT_TRUE(absl::StrContains(bad.Output(), part)) << part << " in " << bad.Output();
  }
  // The update that spoilt the weights was finite; what was saved before it is still there.
  const std::string saved = FileBytes(out + "/this_checkpoint.pth"),
                    previous = FileBytes(out + "/this_checkpoint.prev.pth");
  EXPECT_TRUE(saved == before || previous == before);
}

TEST_F(PretrainTest, FailedSaveLosesNothing) {
  const std::string out = EmptyFolder("full");
  Program first(Arguments(out, {"--epochs=1"}));
  ASSERT_EQ(first.Wait(), 0) << first.Output();
  const std::string before = FileBytes(out + "/this_checkpoint.pth");
  // No file may grow beyond half a checkpoint: as on a full disk, the write itself fails.
  const rlim_t limit = before.size() / 2;
  Program second(Arguments(out, {"--epochs=2"}), {}, [limit] {
    const struct rlimit size = {limit, limit};
    setrlimit(RLIMIT_FSIZE, &size);
    signal(SIGXFSZ, SIG_IGN);
  });
  EXPECT_EQ(second.Wait(), 2) << second.Output();
  EXPECT_TRUE(absl::StrContains(second.Output(), out + "/checkpoint-1.pth")) << second.Output();
  EXPECT_TRUE(absl::StrContains(second.Output(), "File too large")) << second.Output();
  EXPECT_TRUE(FileBytes(out + "/this_checkpoint.pth") == before);
  EXPECT_FALSE(Exists(out + "/checkpoint-1.pth"));
}

TEST_F(PretrainTest, BadInputIsOneClearLine) {
  const std::string out = EmptyFolder("bad"), scratch = EmptyFolder("scratch");
  WriteText(scratch + "/garbage.pth", "<html>404</html>");
  const std::string empty = EmptyFolder("empty");
  std::string grid = testing::TecText(*pictures_, *base_model_, scratch + "/grid");
  grid.replace(grid.rfind("patch_size: 8"), 13, "patch_size: 4");
  WriteText(scratch + "/grid.textproto", grid);
  std::string wide = testing::TecText(*pictures_, *base_model_, scratch + "/wide");
  wide.replace(wide.rfind("width: 32"), 9, "width: 64");
  WriteText(scratch + "/wide.textproto", wide);

  struct Case {
    std::string what;
    std::vector<std::string> arguments;
    std::vector<std::string> expected;
  };
  const std::vector<Case> cases = {
      {"missing folder", Arguments(out, {"--data_path=/no/such/folder"}), {"/no/such/folder"}},
      {"empty folder", Arguments(out, {"--data_path=" + empty}), {empty}},
      {"missing base model", Arguments(out, {"--base_model=/no/such/model.pth"}), {"base model", "/no/such/model.pth"}},
      {"base model is a web page", Arguments(out, {"--base_model=" + scratch + "/garbage.pth"}), {"garbage.pth"}},
      {"base model with another grid",
       {"--config=" + scratch + "/grid.textproto"},
       {"the base model sees 8 x 8 patches of 4 pixels", "4 x 4 of 8"}},
      {"base model of another width", {"--config=" + scratch + "/wide.textproto"}, {*base_model_, "64"}},
      {"batch too large", Arguments(out, {"--batch_size=64"}), {"64", "30"}},
      {"accumulation too long", Arguments(out, {"--accum_iter=8"}), {"--accum_iter=8", "not one update"}},
      {"resume from nothing", Arguments(out, {"--resume=/no/such.pth"}), {"/no/such.pth"}},
      {"resume from another method", Arguments(out, {"--resume=" + *base_model_}), {*base_model_, "method mae"}},
      {"resume from an address", Arguments(out, {"--resume=https://x/y.pth"}), {"https://x/y.pth", "download"}},
      {"no CUDA device", Arguments(out, {"--device=cuda"}), {"no such CUDA device", "--device=cpu"}},
      {"unknown flag", Arguments(out, {"--epoch=3"}), {"--epoch"}},
      {"ranks without a launcher", Arguments(out, {"--world_size=2"}), {"torchrun"}},
  };
  for (const Case& c : cases) {
    Program program(c.arguments);
    EXPECT_EQ(program.Wait(), 1) << c.what << ": " << program.Output();
    for (const std::string& part : c.expected) {
      EXPECT_TRUE(absl::StrContains(program.Output(), part)) << c.what << ": " << part << " in " << program.Output();
    }
    EXPECT_FALSE(absl::StrContains(program.Output(), "Check failed")) << c.what << ": " << program.Output();
    EXPECT_FALSE(Exists(out + "/this_checkpoint.pth")) << c.what;
  }
}

// Files of other projects and shapes, made of the base model's own encoder.
class BaseModelFileTest : public PretrainTest {
 protected:
  void SetUp() override {
    const absl::StatusOr<StateDictFile> file = ReadStateDict(*base_model_);
    ASSERT_TRUE(file.ok()) << file.status();
    for (const auto& [name, tensor] : file->tensors) {
      if (!absl::StrContains(name, "decoder") && name != "mask_token") encoder_.emplace_back(name, tensor);
    }
  }

  static Value WithPrefix(const std::string& prefix, const std::vector<StateDict::Entry>& entries) {
    Value state = Value::OrderedDict();
    for (const auto& [name, tensor] : entries) state.Set(prefix + name, Value::Tensor(tensor));
    return state;
  }

  std::vector<StateDict::Entry> With(const std::string& name, const TensorView& tensor) const {
    std::vector<StateDict::Entry> entries = encoder_;
    for (auto& [own, value] : entries) {
      if (own == name) value = tensor;
    }
    return entries;
  }

  static TensorView Filled(std::vector<int64_t> shape, int64_t count) {
    std::vector<float> values;
    for (int64_t i = 0; i < count; ++i) values.push_back(static_cast<float>(std::sin(0.1 * i)));
    return TensorView::FromFloats(std::move(shape), values);
  }

  // timm's names and patches of 16 pixels at 224; a safetensors file with its header alone, the rest of it a hole.
  static void WriteHollowVit(const std::string& path, int64_t width, int64_t depth) {
    std::string header = "{";
    int64_t bytes = 0;
    const auto add = [&](const std::string& name, std::vector<int64_t> shape) {
      int64_t size = 4;
      for (const int64_t side : shape) size *= side;
      absl::StrAppend(&header, bytes == 0 ? "" : ",", "\"", name, "\":{\"dtype\":\"F32\",\"shape\":[",
                      absl::StrJoin(shape, ","), "],\"data_offsets\":[", bytes, ",", bytes + size, "]}");
      bytes += size;
    };
    add("cls_token", {1, 1, width});
    add("pos_embed", {1, 197, width});
    add("patch_embed.proj.weight", {width, 3, 16, 16});
    add("patch_embed.proj.bias", {width});
    for (int64_t i = 0; i < depth; ++i) {
      for (const auto& [name, rows, columns] :
           {std::tuple("attn.qkv", 3 * width, width), std::tuple("attn.proj", width, width),
            std::tuple("mlp.fc1", 4 * width, width), std::tuple("mlp.fc2", width, 4 * width)}) {
        add(absl::StrCat("blocks.", i, ".", name, ".weight"), {rows, columns});
        add(absl::StrCat("blocks.", i, ".", name, ".bias"), {rows});
      }
      for (const char* name : {"norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias"}) {
        add(absl::StrCat("blocks.", i, ".", name), {width});
      }
    }
    add("norm.weight", {width});
    add("norm.bias", {width});
    header += "}";
    std::string length(8, 0);
    for (int i = 0; i < 8; ++i) length[i] = static_cast<char>(header.size() >> (8 * i));
    WriteText(path, length + header);
    std::filesystem::resize_file(path, 8 + header.size() + bytes);
  }

  // The loss of the first update; NaN if the run failed, with the end of what it printed in output_.
  double FirstLoss(const std::vector<std::string>& more) {
    const std::string out = EmptyFolder("form");
    std::vector<std::string> arguments = Arguments(out, {"--epochs=1"});
    arguments.insert(arguments.end(), more.begin(), more.end());
    Program program(arguments);
    const int code = program.Wait();
    output_ = program.Output();
    EXPECT_LE(code, 1) << output_;
    return code == 0 ? Number(Lines(FileBytes(out + "/metrics.jsonl"))[0], "loss") : std::nan("");
  }

  std::vector<StateDict::Entry> encoder_;
  const std::string scratch_ = EmptyFolder("base_models");
  std::string output_;
};

TEST_F(BaseModelFileTest, TheFamilyIsRecognisedOrForced) {
  Value root = Value::Dict();
  std::vector<StateDict::Entry> student = encoder_;
  student.emplace_back("masked_embed", Filled({1, 32}, 32));
  root.Set("student", WithPrefix("module.backbone.", student));
  root.Set("teacher", WithPrefix("backbone.", With("cls_token", Filled({1, 1, 32}, 32))));
  const std::string path = scratch_ + "/ibot.pth";
  ASSERT_TRUE(WritePth(path, root).ok());
  const double expected = FirstLoss({"--base_model=" + *base_model_});
  ASSERT_FALSE(std::isnan(expected)) << output_;
  EXPECT_EQ(FirstLoss({"--base_model=" + path}), expected) << output_;
  EXPECT_TRUE(absl::StrContains(output_, "entry student, family ibot: 42 of 42 tensors set")) << output_;
  const double teacher = FirstLoss({"--base_model=" + path, "--base_model_family=ibot_teacher"});
  EXPECT_TRUE(absl::StrContains(output_, "entry teacher, family ibot_teacher: 42 of 42 tensors set")) << output_;
  EXPECT_FALSE(std::isnan(teacher));
  EXPECT_NE(teacher, expected);
  // Not what the file is: everything that does not fit is listed. Not known at all: what was meant.
  EXPECT_TRUE(std::isnan(FirstLoss({"--base_model=" + *base_model_, "--base_model_family=hf_vit"})));
  for (const char* part : {"do not fit the family hf_vit", "embeddings.cls_token is missing",
                           "blocks.2.mlp.fc2.weight is unexpected", "norm.bias is unexpected"}) {
    EXPECT_TRUE(absl::StrContains(output_, part)) << part << " in " << output_;
  }
  EXPECT_TRUE(std::isnan(FirstLoss({"--base_model=" + path, "--base_model_family=ibot_techer"})));
  EXPECT_TRUE(absl::StrContains(output_, "did you mean ibot_teacher?")) << output_;
}

TEST_F(BaseModelFileTest, PositionsAreInterpolatedOnlyIfAskedFor) {
  const std::string path = scratch_ + "/larger.pth";
  ASSERT_TRUE(WritePth(path, WithPrefix("", With("pos_embed", Filled({1, 65, 32}, 65 * 32)))).ok());
  EXPECT_TRUE(std::isnan(FirstLoss({"--base_model=" + path})));
  for (const char* part :
       {"a position table for 8 x 8 patches (the experiment says 4 x 4)", "--interpolate_positions"}) {
    EXPECT_TRUE(absl::StrContains(output_, part)) << part << " in " << output_;
  }
  EXPECT_FALSE(std::isnan(FirstLoss({"--base_model=" + path, "--interpolate_positions"}))) << output_;
}

TEST_F(BaseModelFileTest, MayHaveAnotherPatchSize) {
  // The same 4 x 4 patches, of 4 pixels, in pictures of 16.
  const std::string path = scratch_ + "/small_patches.pth";
  ASSERT_TRUE(WritePth(path, WithPrefix("", With("patch_embed.proj.weight", Filled({32, 3, 4, 4}, 32 * 3 * 16)))).ok());
  EXPECT_TRUE(std::isnan(FirstLoss({"--base_model=" + path})));
  EXPECT_TRUE(absl::StrContains(output_, "patch size 4 (the experiment says 8)")) << output_;
  EXPECT_TRUE(absl::StrContains(output_, "no --basemodel is of the file's size")) << output_;
  std::string text = testing::TecText(*pictures_, path, scratch_ + "/run");
  const std::string shape = "image_size: 32 patch_size: 8";
  text.replace(text.rfind(shape), shape.size(), "image_size: 16 patch_size: 4");
  WriteText(scratch_ + "/small_patches.textproto", text);
  EXPECT_FALSE(std::isnan(FirstLoss({"--config=" + scratch_ + "/small_patches.textproto"}))) << output_;
}

TEST_F(BaseModelFileTest, OfAnotherSizeIsSaidSo) {
  std::string text = testing::TecText(*pictures_, *base_model_, scratch_ + "/run");
  const std::string shape = "width: 32 depth: 3 heads: 2";
  text.replace(text.rfind(shape), shape.size(), "width: 768 depth: 3 heads: 12");
  WriteText(scratch_ + "/wide.textproto", text);
  EXPECT_TRUE(std::isnan(FirstLoss({"--config=" + scratch_ + "/wide.textproto"})));
  // Not that 12 heads do not divide a width of 32.
  for (const char* part : {"width 32 (the experiment says 768)", "no --basemodel is of the file's size"}) {
    EXPECT_TRUE(absl::StrContains(output_, part)) << part << " in " << output_;
  }
  // ViT-L, with holes for values: they are not looked at.
  const std::string large = scratch_ + "/large.safetensors";
  WriteHollowVit(large, 1024, 24);
  EXPECT_TRUE(std::isnan(FirstLoss({"--base_model=" + large})));
  for (const char* part : {"width 1024 (the experiment says 32)", "; --basemodel=mae1klarge is of the file's size"}) {
    EXPECT_TRUE(absl::StrContains(output_, part)) << part << " in " << output_;
  }
}

}  // namespace
}  // namespace tec
