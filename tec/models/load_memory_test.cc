// How much memory it takes to load a file into a model that is there already.

#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <functional>
#include <string>

#include "ATen/Parallel.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tec/checkpoint/families/vit_file.h"
#include "tec/checkpoint/load_state.h"
#include "tec/checkpoint/pth.h"
#include "tec/checkpoint/safetensors.h"
#include "tec/checkpoint/training_state.h"
#include "tec/models/base_model.h"

namespace tec {
namespace {

// 288 MiB of weights, a hundred times what is left to chance below, in tensors of at most 4 MiB: what is forgotten
// after each of them adds up.
const BaseModelOptions kOptions = {{32, 8, 512, 24, 8}, /*last_layers=*/1, /*top_patches=*/3};
constexpr int64_t kAllowedKiB = 64 << 10;

// "VmRSS": pages in memory, those of mapped files too; "VmHWM": the most there ever were. KiB.
int64_t Resident(const std::string& field) {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    int64_t kib;
    if (word == field + ":" && status >> kib) return kib;
  }
  return -1;
}

class LoadMemoryTest : public ::testing::Test {
 protected:
  LoadMemoryTest() { at::set_num_threads(1); }  // Threads do not outlive a fork.

  void TearDown() override { EXPECT_EQ(unlink(path_.c_str()), 0); }

  // The model's tensors, all with the same bytes.
  static StateDict Weights() {
    const auto ones = std::make_shared<const std::string>(4 << 20, '\x3c');
    StateDict weights;
    for (const auto& [name, tensor] : NamedState(BaseModel(kOptions))) {
      TensorView view;
      view.shape = tensor.sizes().vec();
      view.bytes = absl::string_view(*ones).substr(0, tensor.nbytes());
      view.owner = ones;
      EXPECT_EQ(view.bytes.size(), tensor.nbytes()) << name;
      EXPECT_TRUE(weights.Add(name, view).ok());
    }
    return weights;
  }

  // Peak of a process of its own while `load` fills a model whose memory is in use before.
  void ExpectSmall(const std::function<absl::Status(BaseModel&)>& load) {
    ASSERT_GT(ReadFileSize(), int64_t{250} << 20);
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      BaseModel model(kOptions);
      at::NoGradGuard no_grad;
      int64_t bytes = 0;
      for (const auto& [name, tensor] : NamedState(model)) {
        at::Tensor(tensor).zero_();
        bytes += tensor.nbytes();
      }
      const int64_t before = Resident("VmRSS");
      const absl::Status status = load(model);
      const int64_t more = Resident("VmHWM") - before;
      const bool loaded = status.ok() && NamedState(model).back().second.ne(0).all().item<bool>();
      // The measurement itself: the model is in it.
      const bool measured = before > bytes >> 10;
      fprintf(stderr, "%s; %ld KiB before, %ld KiB more\n", status.ToString().c_str(), before, more);
      _exit(loaded && measured && more <= kAllowedKiB ? 0 : 1);
    }
    int status;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
  }

  int64_t ReadFileSize() const {
    std::ifstream file(path_, std::ios::binary | std::ios::ate);
    return file.tellg();
  }

  std::string path_ = absl::StrCat(::testing::TempDir(), "/weights.", getpid());
};

TEST_F(LoadMemoryTest, OfABaseModel) {
  const auto load = [this](BaseModel& model) -> absl::Status {
    const absl::StatusOr<VitFile> file = ReadVitFile(path_);
    return file.ok() ? LoadBaseModel(model, file->plan, /*interpolate_positions=*/false) : file.status();
  };
  const StateDict weights = Weights();
  ASSERT_TRUE(WriteSafetensors(path_, weights).ok());
  ExpectSmall(load);
  Value root = Value::Dict(), model = Value::Dict();
  for (const auto& [name, tensor] : weights) model.Set(name, Value::Tensor(tensor));
  root.Set("model", model);
  ASSERT_TRUE(WritePth(path_, root).ok());
  ExpectSmall(load);
}

TEST_F(LoadMemoryTest, OfATrainingState) {
  TrainingState state;
  state.model = Weights();
  ASSERT_TRUE(SaveTrainingState(path_, state).ok());
  ExpectSmall([this](BaseModel& model) -> absl::Status {
    const absl::StatusOr<TrainingState> read = LoadTrainingState(path_);
    return read.ok() ? LoadState(model, read->model) : read.status();
  });
}

}  // namespace
}  // namespace tec
