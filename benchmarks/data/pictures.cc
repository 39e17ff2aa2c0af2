#include "benchmarks/data/pictures.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "data/dataset/dataset.h"
#include "data/image/encode.h"
#include "tec/base/logging.h"
#include "tec/base/random.h"

namespace tec {
namespace {

std::string MakePicture(int64_t number) {
  RandomStream stream(RandomKey{0, RandomPurpose::kPictures, 0, static_cast<uint64_t>(number)});
  Image image(400, 468);
  double phase[6], rate[6];
  for (int i = 0; i < 6; ++i) {
    phase[i] = stream.Uniform(0, 6.28);
    rate[i] = stream.Uniform(0.01, 0.15);
  }
  for (int y = 0; y < image.height(); ++y) {
    for (int x = 0; x < image.width(); ++x) {
      const int noise = static_cast<int>(stream.NextUint32() >> 28) - 8;
      for (int c = 0; c < 3; ++c) {
        const double value =
            128 + 60 * std::sin(phase[c] + rate[c] * x) + 50 * std::sin(phase[c + 3] + rate[c + 3] * y);
        image.row(y)[3 * x + c] = static_cast<uint8_t>(std::clamp(static_cast<int>(value) + noise, 0, 255));
      }
    }
  }
  const auto encoded = EncodeJpeg(image);
  TEC_CHECK_OK(encoded);
  return *encoded;
}

}  // namespace

std::string TakeFolderFlag(int* argc, char** argv) {
  std::string folder;
  int kept = 1;
  for (int i = 1; i < *argc; ++i) {
    absl::string_view argument = argv[i];
    if (absl::ConsumePrefix(&argument, "--folder=")) {
      folder = std::string(argument);
    } else {
      argv[kept++] = argv[i];
    }
  }
  *argc = kept;
  const char* directory = std::getenv("BUILD_WORKING_DIRECTORY");
  if (directory != nullptr && chdir(directory) != 0) std::perror(directory);
  return folder;
}

std::vector<std::string> EncodedPictures(const std::string& folder, int64_t count) {
  std::vector<std::string> pictures;
  if (folder.empty()) {
    for (int64_t i = 0; i < count; ++i) pictures.push_back(MakePicture(i));
    return pictures;
  }
  const auto dataset = OpenDataset(folder, Split::kTrain);
  TEC_CHECK_OK(dataset);
  // Spread over the data set: one class alone may have one size.
  count = std::min(count, (*dataset)->size());
  for (int64_t i = 0; i < count; ++i) {
    const auto bytes = (*dataset)->Read(i * (*dataset)->size() / count);
    TEC_CHECK_OK(bytes);
    pictures.push_back(*bytes);
  }
  return pictures;
}

}  // namespace tec
