// Writes photographs of ImageNet's usual sizes, for benchmarks where ImageNet is not at hand.
//
//   ./bazelw run //benchmarks/data:photographs -- --folder=/tmp/photographs --count=300
//
// Each is a mosaic of pieces of the test data's photographs (china.jpg and others), slightly resized, so that it has
// their detail at the larger size; JPEG at several qualities, three quarters without chroma subsampling, as in ImageNet
// (measured: 762 of 977; mean size 468 x 401, 109 kB). The same flags give the same files.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/strings/str_format.h"
#include "data/augment/random_resized_crop.h"
#include "data/augment/resize.h"
#include "data/image/decode.h"
#include "data/image/encode.h"
#include "tec/base/file.h"
#include "tec/base/logging.h"
#include "tec/base/path.h"
#include "tec/base/random.h"

ABSL_FLAG(std::string, folder, "", "Where the photographs go: FOLDER/photographs/00000.jpg and so on.");
ABSL_FLAG(int64_t, count, 300, "How many.");
ABSL_FLAG(int64_t, tiny, 0,
          "In their place so many pictures of 16 x 16 pixels, 1,000 a folder: FOLDER/tiny/000/000000.jpg.");

namespace tec {
namespace {

constexpr int kTile = 128;

std::vector<Image> Sources() {
  std::vector<Image> sources;
  for (const char* name : {"base420.jpg", "s444.jpg", "s422.jpg", "progressive.jpg", "png_named.JPEG"}) {
    const auto bytes = ReadFile(absl::StrFormat("tec/testing/goldens/images/%s", name));
    TEC_CHECK_OK(bytes);
    auto image = DecodeImage(*bytes);
    TEC_CHECK_OK(image);
    sources.push_back(std::move(*image));
  }
  return sources;
}

std::string MakePhotograph(const std::vector<Image>& sources, uint64_t number) {
  RandomStream stream(RandomKey{0, RandomPurpose::kPictures, 0, number});
  constexpr int kSizes[][2] = {{375, 500}, {333, 500}, {500, 375}, {400, 500}, {500, 333}, {240, 320}, {480, 640}};
  constexpr int kQualities[] = {80, 90, 95, 97};
  const auto& size = kSizes[stream.UniformInt(std::size(kSizes))];
  Image image(size[0], size[1]), tile(kTile, kTile);
  ResizeScratch scratch;
  for (int top = 0; top < image.height(); top += kTile) {
    for (int left = 0; left < image.width(); left += kTile) {
      const Image& source = sources[stream.UniformInt(sources.size())];
      Box box;
      box.height = box.width =
          std::min({source.height(), source.width(), 130 + static_cast<int>(stream.UniformInt(80))});
      box.top = stream.UniformInt(source.height() - box.height + 1);
      box.left = stream.UniformInt(source.width() - box.width + 1);
      ResizeBicubic(source, box, kTile, kTile, stream.Bernoulli(0.5), &scratch, tile.data());
      const int rows = std::min(kTile, image.height() - top), columns = std::min(kTile, image.width() - left);
      for (int y = 0; y < rows; ++y) std::memcpy(image.row(top + y) + 3 * left, tile.row(y), 3 * columns);
    }
  }
  JpegOptions options;
  options.quality = kQualities[stream.UniformInt(std::size(kQualities))];
  options.subsample_chroma = stream.Bernoulli(0.25);
  const auto bytes = EncodeJpeg(image, options);
  TEC_CHECK_OK(bytes);
  return *bytes;
}

// For start-up times: a million files are made in seconds, not safely written one by one.
int MakeTiny(const std::string& folder, int64_t count) {
  std::vector<std::string> contents;
  const std::vector<Image> sources = Sources();
  ResizeScratch scratch;
  for (const Image& source : sources) {
    Image image(16, 16);
    ResizeBicubic(source, Box{0, 0, source.height(), source.width()}, 16, 16, false, &scratch, image.data());
    const auto bytes = EncodeJpeg(image);
    TEC_CHECK_OK(bytes);
    contents.push_back(*bytes);
  }
  for (int64_t i = 0; i < count; ++i) {
    const std::string below = absl::StrFormat("%s/tiny/%04d", folder, i / 1000);
    if (i % 1000 == 0) TEC_CHECK_OK(MakeDirectories(below));
    std::ofstream file(absl::StrFormat("%s/%08d.jpg", below, i), std::ios::binary);
    file << contents[i % contents.size()];
    TEC_CHECK(file.good()) << below;
  }
  absl::PrintF("%d tiny pictures in %s/tiny\n", count, folder);
  return 0;
}

int Main() {
  const std::string folder = UserPath(absl::GetFlag(FLAGS_folder)) + "/photographs";
  TEC_CHECK(!absl::GetFlag(FLAGS_folder).empty()) << "--folder=FOLDER is needed";
  if (absl::GetFlag(FLAGS_tiny) > 0) return MakeTiny(UserPath(absl::GetFlag(FLAGS_folder)), absl::GetFlag(FLAGS_tiny));
  TEC_CHECK_OK(MakeDirectories(folder));
  const std::vector<Image> sources = Sources();
  int64_t total = 0;
  const int64_t count = absl::GetFlag(FLAGS_count);
  for (int64_t i = 0; i < count; ++i) {
    const std::string bytes = MakePhotograph(sources, i);
    TEC_CHECK_OK(WriteFile(absl::StrFormat("%s/%05d.jpg", folder, i), bytes));
    total += bytes.size();
  }
  absl::PrintF("%d photographs in %s, %d bytes each on average\n", count, folder, total / std::max<int64_t>(count, 1));
  return 0;
}

}  // namespace
}  // namespace tec

int main(int argc, char** argv) {
  tec::InitLogging(argv[0]);
  absl::ParseCommandLine(argc, argv);
  return tec::Main();
}
