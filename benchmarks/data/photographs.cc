// Writes photographs like ImageNet's, for benchmarks where ImageNet is not at hand.
//
//   ./bazelw run //benchmarks/data:photographs -- --folder=/tmp/photographs --count=480
//
// Sizes, qualities and chroma subsamplings are mixed as there, where 977 JPEG files had 109 kB and 468 x 401 pixels on
// average; 762 were 4:4:4, 203 4:2:0 and 12 4:2:2. Any number of pictures from the first on has nearly that mix: they
// are no random draws but points of an even sequence. Each picture is a mosaic of pieces of the test data's photographs
// (china.jpg and others), 118 to 173 pixels made 128, which keeps their spectra at the larger size and, with these
// qualities, gives ImageNet's bytes. The same flags give the same files.

#include <algorithm>
#include <cmath>
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
#include "data/testing/make_jpeg.h"
#include "tec/base/file.h"
#include "tec/base/logging.h"
#include "tec/base/path.h"
#include "tec/base/random.h"

ABSL_FLAG(std::string, folder, "", "Where the photographs go: FOLDER/photographs/00000.jpg and so on.");
ABSL_FLAG(int64_t, count, 480, "How many.");
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

// A share of all pictures.
struct Size {
  double share;
  int width, height;
};
struct Coding {
  double share;
  int quality, horizontal, vertical;  // The latter as JpegKind's.
  bool optimized;                     // As ImageMagick writes them, which made most of the 4:4:4.
};

// Mostly what Flickr calls medium; some from elsewhere are small, a few large. On average 470 x 396.
constexpr Size kSizes[] = {
    {.29, 500, 375}, {.13, 500, 333}, {.11, 375, 500}, {.06, 333, 500},  {.04, 500, 500},   {.05, 400, 300},
    {.06, 320, 240}, {.02, 240, 320}, {.03, 300, 225}, {.03, 250, 188},  {.03, 200, 200},   {.01, 150, 150},
    {.05, 640, 480}, {.03, 600, 450}, {.03, 800, 600}, {.02, 1024, 768}, {.01, 1600, 1200},
};
constexpr Coding kCodings[] = {
    {.45, 96, 1, 1, true},  {.15, 93, 1, 1, true},  {.10, 90, 1, 1, true},
    {.08, 85, 1, 1, false}, {.05, 95, 2, 2, false}, {.06, 90, 2, 2, false},
    {.06, 85, 2, 2, false}, {.04, 75, 2, 2, false}, {.01, 92, 2, 1, false},
};

// The element of `kinds` at the part `point` of [0, 1) of their shares.
template <typename Kind, size_t n>
const Kind& At(const Kind (&kinds)[n], double point) {
  double total = 0, sum = 0;
  for (const Kind& kind : kinds) total += kind.share;
  for (const Kind& kind : kinds) {
    sum += kind.share / total;
    if (point < sum) return kind;
  }
  return kinds[n - 1];
}

std::string MakePhotograph(const std::vector<Image>& sources, uint64_t number) {
  // Multiples of these two fill the unit square evenly (the R2 sequence, from the root of x^3 = x + 1).
  double whole;
  const Size& size = At(kSizes, std::modf((number + 0.5) * 0.7548776662466927, &whole));
  const Coding& coding = At(kCodings, std::modf((number + 0.5) * 0.5698402909980532, &whole));

  RandomStream stream(RandomKey{0, RandomPurpose::kPictures, 0, number});
  Image image(size.height, size.width), tile(kTile, kTile);
  ResizeScratch scratch;
  for (int top = 0; top < image.height(); top += kTile) {
    for (int left = 0; left < image.width(); left += kTile) {
      const Image& source = sources[stream.UniformInt(sources.size())];
      Box box;
      box.height = box.width =
          std::min({source.height(), source.width(), 118 + static_cast<int>(stream.UniformInt(56))});
      box.top = stream.UniformInt(source.height() - box.height + 1);
      box.left = stream.UniformInt(source.width() - box.width + 1);
      ResizeBicubic(source, box, kTile, kTile, stream.Bernoulli(0.5), &scratch, tile.data());
      const int rows = std::min(kTile, image.height() - top), columns = std::min(kTile, image.width() - left);
      for (int y = 0; y < rows; ++y) std::memcpy(image.row(top + y) + 3 * left, tile.row(y), 3 * columns);
    }
  }
  testing::JpegKind kind;
  kind.quality = coding.quality;
  kind.horizontal = coding.horizontal;
  kind.vertical = coding.vertical;
  kind.optimized = coding.optimized;
  return testing::MakeJpeg(image, kind);
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
