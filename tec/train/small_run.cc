#include "tec/train/small_run.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/substitute.h"
#include "data/image/encode.h"
#include "gtest/gtest.h"
#include "tec/base/file.h"
#include "tec/base/logging.h"
#include "tec/base/random.h"
#include "tec/config/config.h"

namespace tec {
namespace testing {
namespace {

constexpr int kHeight = 36, kWidth = 44;

// $0: method, $1: data, $2: output_dir, $3: of the model, $4: of the experiment.
constexpr char kText[] = R"(
method: $0
model {
  name: "custom"
  encoder { image_size: 32 patch_size: 8 width: 32 depth: 3 heads: 2 }
  decoder { width: 16 depth: 1 heads: 2 }
  $3
}
data { path: "$1" num_workers: 2 }
optimizer { batch_size: 4 accum_iter: 2 blr: 0.02 }
schedule { epochs: 2 warmup_epochs: 1 }
checkpointing { save_period: 1 }
logging { output_dir: "$2" print_freq: 5 }
runtime { device: "cpu" precision: FLOAT32 threads: 1 }
$4
)";

}  // namespace

std::string EmptyFolder(const std::string& name) {
  const std::string path = absl::StrCat(::testing::TempDir(), "/", name, ".", getpid());
  TEC_CHECK_EQ(std::system(absl::StrCat("rm -rf '", path, "'").c_str()), 0);
  TEC_CHECK_OK(MakeDirectories(path));
  return path;
}

void MakePictures(const std::string& folder) {
  for (int i = 0; i < kPictures; ++i) {
    RandomStream stream(RandomKey{1, RandomPurpose::kPictures, 0, static_cast<uint64_t>(i)});
    Image image(kHeight, kWidth);
    const int top = stream.UniformInt(kHeight), left = stream.UniformInt(kWidth);
    uint8_t inside[3], outside[3];
    for (int c = 0; c < 3; ++c) {
      inside[c] = stream.UniformInt(240);
      outside[c] = stream.UniformInt(240);
    }
    for (int y = 0; y < kHeight; ++y) {
      for (int x = 0; x < kWidth; ++x) {
        for (int c = 0; c < 3; ++c) {
          image.row(y)[3 * x + c] = (y >= top && x >= left ? inside[c] : outside[c]) + stream.UniformInt(16);
        }
      }
    }
    const auto jpeg = EncodeJpeg(image);
    TEC_CHECK_OK(jpeg);
    const std::string directory = absl::StrCat(folder, "/class", i % 3);
    TEC_CHECK_OK(MakeDirectories(directory));
    WriteText(absl::StrCat(directory, "/", i, ".jpg"), *jpeg);
  }
}

std::string MaeText(const std::string& pictures, const std::string& output_dir) {
  return absl::Substitute(kText, "MAE", pictures, output_dir, "", "losses { norm_pix_loss: true }");
}

std::string TecText(const std::string& pictures, const std::string& base_model, const std::string& output_dir) {
  const std::string more = absl::Substitute(R"(
base_model {
  name: "custom"
  $0
  encoder { image_size: 32 patch_size: 8 width: 32 depth: 3 heads: 2 }
  last_layers: 2
  topkatt: 5
})",
                                            base_model.empty() ? "" : absl::StrCat("path: \"", base_model, "\""));
  return absl::Substitute(kText, "TEC", pictures, output_dir, "mlp_token: true pred_att: true", more);
}

config::Experiment Parsed(const std::string& text) {
  const auto experiment = ParseExperiment(text, "test");
  TEC_CHECK_OK(experiment);
  const config::Experiment resolved = Resolve(*experiment);
  TEC_CHECK_OK(Validate(resolved));
  return resolved;
}

std::string FileBytes(const std::string& path) {
  const auto bytes = ReadFile(path);
  EXPECT_TRUE(bytes.ok()) << bytes.status();
  return bytes.ok() ? *bytes : "";
}

void WriteText(const std::string& path, const std::string& text) { TEC_CHECK_OK(WriteFile(path, text)); }

bool Exists(const std::string& path) {
  struct stat info;
  return stat(path.c_str(), &info) == 0;
}

std::vector<std::string> Lines(const std::string& text) { return absl::StrSplit(text, '\n', absl::SkipEmpty()); }

}  // namespace testing
}  // namespace tec
