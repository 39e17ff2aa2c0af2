#include "data/pictures/made_pictures.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "data/image/encode.h"
#include "tec/base/file.h"
#include "tec/base/logging.h"
#include "tec/base/random.h"
#include "tec/base/status.h"

namespace tec {
namespace {

constexpr double kPi = 3.14159265358979323846;

// Lengths are in pixels of a picture of this side; another size scales all of them.
constexpr double kSide = 64;
constexpr int kSupersampling = 2;  // Per axis, against jagged edges.

// Ranges are uniform. Found by trying: MAE features beat an untrained encoder's within a minute of training, while
// neither raw pixels nor colour histograms do.
constexpr double kMinArea = 0.16, kMaxArea = 0.36;     // Of a shape, in cells.
constexpr double kMaxTurn = 12 * kPi / 180;            // Radians, either way.
constexpr double kMaxStretch = 1.15;                   // Width over height, log-uniform either way.
constexpr double kJitter = 0.12;                       // Of a shape's place, in cells, either way.
constexpr int kCopies = 2;                             // Cells a side: 2 x 2 shapes a picture.
constexpr double kBackLow = 0.05, kBackHigh = 0.45;    // Channels of the background's colour.
constexpr double kShapeLow = 0.55, kShapeHigh = 0.95;  // Channels of the shapes' colour.
constexpr double kMaxTexture = 0.1;                    // Amplitude.
constexpr double kMaxGradient = 0.1;                   // Amplitude at the picture's edge.
constexpr int kMinBehind = 1, kMaxBehind = 4;          // Strokes and blobs behind the shapes,
constexpr int kMinBefore = 0, kMaxBefore = 1;          // and before them.
constexpr double kMaxNoise = 0.02;                     // Standard deviation.

using Colour = std::array<double, 3>;

struct Point {
  double x, y;
};

// Is (x, y) inside? y points down. Every outline has area 1 and its centre of mass in the origin.
using Outline = std::function<bool(double x, double y)>;

Outline Polygon(std::vector<Point> points) {
  double area = 0, cx = 0, cy = 0;
  for (size_t i = 0; i < points.size(); ++i) {
    const Point p = points[i], q = points[(i + 1) % points.size()];
    const double cross = p.x * q.y - q.x * p.y;
    area += cross / 2;
    cx += (p.x + q.x) * cross;
    cy += (p.y + q.y) * cross;
  }
  const double scale = 1 / std::sqrt(std::abs(area));
  for (Point& p : points) p = {(p.x - cx / (6 * area)) * scale, (p.y - cy / (6 * area)) * scale};
  return [points](double x, double y) {  // Even-odd rule.
    bool inside = false;
    for (size_t i = 0; i < points.size(); ++i) {
      const Point p = points[i], q = points[(i + 1) % points.size()];
      if ((p.y > y) != (q.y > y) && x < (q.x - p.x) * (y - p.y) / (q.y - p.y) + p.x) inside = !inside;
    }
    return inside;
  };
}

// `corners` on the unit circle, the first one `turn` radians from the top; with `inner` > 0 a star whose inner corners
// lie on that radius.
std::vector<Point> Regular(int corners, double turn, double inner = 0) {
  std::vector<Point> points;
  for (int i = 0; i < corners; ++i) {
    const double angle = 2 * kPi * i / corners + turn - kPi / 2;
    points.push_back({std::cos(angle), std::sin(angle)});
    const double between = angle + kPi / corners;
    if (inner > 0) points.push_back({inner * std::cos(between), inner * std::sin(between)});
  }
  return points;
}

std::vector<Point> Plus(double turn) {
  std::vector<Point> points = {{-1, -3}, {1, -3}, {1, -1}, {3, -1}, {3, 1},   {1, 1},
                               {1, 3},   {-1, 3}, {-1, 1}, {-3, 1}, {-3, -1}, {-1, -1}};
  for (Point& p : points) {
    p = {p.x * std::cos(turn) - p.y * std::sin(turn), p.x * std::sin(turn) + p.y * std::cos(turn)};
  }
  return points;
}

constexpr double kHole = 0.55;  // Inner over outer size of ring and frame.

bool InDisc(double x, double y) { return x * x + y * y < 1 / kPi; }

bool InRing(double x, double y) {
  const double square = x * x + y * y, outer = 1 / (kPi * (1 - kHole * kHole));
  return square < outer && square > kHole * kHole * outer;
}

bool InFrame(double x, double y) {
  const double reach = std::max(std::abs(x), std::abs(y)), outer = 0.5 / std::sqrt(1 - kHole * kHole);
  return reach < outer && reach > kHole * outer;
}

struct NamedOutline {
  std::string name;
  Outline inside;
};

const std::vector<NamedOutline>& Outlines() {
  static const auto& outlines = *new std::vector<NamedOutline>{
      {"bar", Polygon({{-2.2, -1}, {2.2, -1}, {2.2, 1}, {-2.2, 1}})},
      {"column", Polygon({{-1, -2.2}, {1, -2.2}, {1, 2.2}, {-1, 2.2}})},
      {"diamond", Polygon({{0, -1.25}, {0.8, 0}, {0, 1.25}, {-0.8, 0}})},
      {"disc", InDisc},
      {"ex", Polygon(Plus(kPi / 4))},
      {"frame", InFrame},
      {"plus", Polygon(Plus(0))},
      {"ring", InRing},
      {"square", Polygon({{-1, -1}, {1, -1}, {1, 1}, {-1, 1}})},
      {"star", Polygon(Regular(5, 0, 0.42))},
      {"triangle", Polygon(Regular(3, 0))},
      {"triangle_down", Polygon(Regular(3, kPi))},
  };
  return outlines;
}

Colour DrawColour(RandomStream& random, double low, double high) {
  Colour colour;
  for (double& channel : colour) channel = random.Uniform(low, high);
  return colour;
}

// Mean colour, a linear gradient, and a pattern (none, stripes, checks or dots) along one direction in colour space.
class Surface {
 public:
  Surface(RandomStream& random, double low, double high)
      : mean_(DrawColour(random, low, high)), gradient_(DrawColour(random, -kMaxGradient, kMaxGradient)) {
    const double direction = random.Uniform(0, 2 * kPi);
    gradient_x_ = std::cos(direction) / (kSide / 2);
    gradient_y_ = std::sin(direction) / (kSide / 2);
    const double amplitude = random.Uniform(0, kMaxTexture);
    pattern_ = static_cast<int>(random.UniformInt(4));
    period_ = random.Uniform(4, 14);
    const double turn = random.Uniform(0, kPi);
    cos_ = std::cos(turn);
    sin_ = std::sin(turn);
    phase_x_ = random.Uniform(0, period_);
    phase_y_ = random.Uniform(0, period_);
    texture_ = DrawColour(random, -amplitude, amplitude);
  }

  Colour At(double x, double y) const {
    const double slope = (x - kSide / 2) * gradient_x_ + (y - kSide / 2) * gradient_y_;
    const double a = (x * cos_ + y * sin_ + phase_x_) / period_, b = (-x * sin_ + y * cos_ + phase_y_) / period_;
    double wave = 0;
    if (pattern_ == 1) {
      wave = a - std::floor(a) < 0.5 ? 1 : -1;
    } else if (pattern_ == 2) {
      wave = static_cast<int64_t>(std::floor(2 * a) + std::floor(2 * b)) % 2 == 0 ? 1 : -1;
    } else if (pattern_ == 3) {
      const double da = a - std::floor(a) - 0.5, db = b - std::floor(b) - 0.5;
      wave = da * da + db * db < 0.09 ? 1.4 : -0.56;  // Mean 0: a dot covers 0.2827 of its cell.
    }
    Colour colour;
    for (int c = 0; c < 3; ++c) colour[c] = mean_[c] + slope * gradient_[c] + wave * texture_[c];
    return colour;
  }

 private:
  Colour mean_, gradient_, texture_;
  double gradient_x_, gradient_y_, period_, cos_, sin_, phase_x_, phase_y_;
  int pattern_;
};

// The picture at kSupersampling times its resolution.
class Canvas {
 public:
  explicit Canvas(int size) : side_(size * kSupersampling), unit_(kSide / side_), pixels_(size_t(side_) * side_) {}

  int side() const { return side_; }
  // Centre of pixel i, in units of kSide.
  double At(int i) const { return (i + 0.5) * unit_; }
  // The first pixel whose centre is at or beyond `x`, within 0..side().
  int From(double x) const { return static_cast<int>(std::clamp(std::ceil(x / unit_ - 0.5), 0.0, double(side_))); }
  Colour& operator()(int row, int column) { return pixels_[size_t(row) * side_ + column]; }

 private:
  int side_;
  double unit_;
  std::vector<Colour> pixels_;
};

// A small blob or a stroke: an ellipse of one colour. What lies under it is no longer in `covered`, if there is one.
void AddClutter(RandomStream& random, Canvas& canvas, std::vector<bool>* covered = nullptr) {
  const Colour colour = DrawColour(random, 0, 1);
  const double cx = random.Uniform(0, kSide), cy = random.Uniform(0, kSide), turn = random.Uniform(0, kPi);
  const bool blob = random.Bernoulli(0.5);
  const double a = blob ? random.Uniform(2, 5) : random.Uniform(5, 11);
  const double b = blob ? random.Uniform(2, 5) : random.Uniform(0.7, 1.5);
  const double reach = std::max(a, b), c = std::cos(turn), s = std::sin(turn);
  for (int row = canvas.From(cy - reach); row < canvas.From(cy + reach); ++row) {
    for (int column = canvas.From(cx - reach); column < canvas.From(cx + reach); ++column) {
      const double x = canvas.At(column) - cx, y = canvas.At(row) - cy;
      const double u = (x * c + y * s) / a, v = (-x * s + y * c) / b;
      if (u * u + v * v >= 1) continue;
      canvas(row, column) = colour;
      if (covered != nullptr) (*covered)[size_t(row) * canvas.side() + column] = false;
    }
  }
}

// Which pixels the shapes cover: one in each cell, with its own size, turn, stretch and place.
std::vector<bool> CoverShapes(RandomStream& random, const Outline& inside, const Canvas& canvas) {
  std::vector<bool> covered(size_t(canvas.side()) * canvas.side());
  constexpr double cell = kSide / kCopies;
  for (int i = 0; i < kCopies * kCopies; ++i) {
    const double size = cell * std::sqrt(random.Uniform(kMinArea, kMaxArea));
    const double turn = random.Uniform(-kMaxTurn, kMaxTurn);
    const double stretch = std::exp(random.Uniform(-0.5, 0.5) * std::log(kMaxStretch));
    const double cx = cell * (i % kCopies + 0.5 + random.Uniform(-kJitter, kJitter));
    const double cy = cell * (i / kCopies + 0.5 + random.Uniform(-kJitter, kJitter));
    const double c = std::cos(turn), s = std::sin(turn);
    for (int row = canvas.From(cy - cell); row < canvas.From(cy + cell); ++row) {
      for (int column = canvas.From(cx - cell); column < canvas.From(cx + cell); ++column) {
        const double x = canvas.At(column) - cx, y = canvas.At(row) - cy;
        if (inside((x * c + y * s) / (size * stretch), (-x * s + y * c) / (size / stretch))) {
          covered[size_t(row) * canvas.side() + column] = true;
        }
      }
    }
  }
  return covered;
}

int DrawCount(RandomStream& random, int low, int high) {
  return low + static_cast<int>(random.UniformInt(high - low + 1));
}

const char* SplitName(PictureSplit split) { return split == PictureSplit::kTrain ? "train" : "test"; }

RandomStream StreamOf(const PictureOptions& options, PictureSplit split, int64_t index) {
  return RandomStream(
      RandomKey{options.seed, RandomPurpose::kPictures, static_cast<uint64_t>(split), static_cast<uint64_t>(index)});
}

// Everything but the noise. *covered: where the canvas shows the shapes.
Canvas DrawCanvas(const PictureOptions& options, int64_t index, RandomStream& random, std::vector<bool>* covered) {
  TEC_CHECK_GE(options.size, 16);
  Canvas canvas(options.size);
  const Surface back(random, kBackLow, kBackHigh), front(random, kShapeLow, kShapeHigh);
  for (int row = 0; row < canvas.side(); ++row) {
    for (int column = 0; column < canvas.side(); ++column) {
      canvas(row, column) = back.At(canvas.At(column), canvas.At(row));
    }
  }
  for (int i = DrawCount(random, kMinBehind, kMaxBehind); i > 0; --i) AddClutter(random, canvas);
  *covered = CoverShapes(random, Outlines()[PictureLabel(index)].inside, canvas);
  for (int row = 0; row < canvas.side(); ++row) {
    for (int column = 0; column < canvas.side(); ++column) {
      if (!(*covered)[size_t(row) * canvas.side() + column]) continue;
      canvas(row, column) = front.At(canvas.At(column), canvas.At(row));
    }
  }
  for (int i = DrawCount(random, kMinBefore, kMaxBefore); i > 0; --i) AddClutter(random, canvas, covered);
  return canvas;
}

// Not WriteFile: two fsyncs a file would cost more than drawing it.
absl::Status WriteQuickly(const std::string& path, const std::string& bytes) {
  std::ofstream file(path, std::ios::binary);
  if (!file.write(bytes.data(), bytes.size()).flush()) return ErrnoToStatus(errno, "cannot write", path);
  return absl::OkStatus();
}

// Changes whenever the same options would give other pictures.
constexpr int kVersion = 1;

}  // namespace

const std::vector<std::string>& PictureClasses() {
  static const auto& names = *[] {
    auto* names = new std::vector<std::string>;
    for (const NamedOutline& outline : Outlines()) names->push_back(outline.name);
    return names;
  }();
  return names;
}

Image DrawPicture(const PictureOptions& options, PictureSplit split, int64_t index) {
  RandomStream random = StreamOf(options, split, index);
  std::vector<bool> covered;
  Canvas canvas = DrawCanvas(options, index, random, &covered);
  const double noise = random.Uniform(0, kMaxNoise);
  Image image(options.size, options.size);
  for (int y = 0; y < options.size; ++y) {
    for (int x = 0; x < options.size; ++x) {
      for (int c = 0; c < 3; ++c) {
        double sum = 0;
        for (int i = 0; i < kSupersampling * kSupersampling; ++i) {
          sum += std::clamp(canvas(y * kSupersampling + i / kSupersampling, x * kSupersampling + i % kSupersampling)[c],
                            0.0, 1.0);
        }
        const double value = sum / (kSupersampling * kSupersampling) + noise * random.Normal();
        image.row(y)[3 * x + c] = static_cast<uint8_t>(std::clamp(value * 255 + 0.5, 0.0, 255.0));
      }
    }
  }
  return image;
}

Image DrawMask(const PictureOptions& options, PictureSplit split, int64_t index) {
  RandomStream random = StreamOf(options, split, index);
  std::vector<bool> covered;
  const Canvas canvas = DrawCanvas(options, index, random, &covered);
  Image mask(options.size, options.size, 1);
  for (int y = 0; y < options.size; ++y) {
    for (int x = 0; x < options.size; ++x) {
      int count = 0;
      for (int i = 0; i < kSupersampling * kSupersampling; ++i) {
        const int row = y * kSupersampling + i / kSupersampling, column = x * kSupersampling + i % kSupersampling;
        count += covered[size_t(row) * canvas.side() + column];
      }
      const bool shape = 2 * count >= kSupersampling * kSupersampling;
      mask.row(y)[x] = shape ? static_cast<uint8_t>(1 + PictureLabel(index)) : 0;
    }
  }
  return mask;
}

absl::Status WritePictures(const PictureOptions& options, const std::string& folder,
                           const std::function<void(int64_t)>& progress) {
  // Written last, so that a folder with it is complete; made from everything the pictures depend on.
  const std::string marker = folder + "/pictures.txt";
  const std::string description =
      absl::StrFormat("made pictures, version %d\ntrain_images %d\ntest_images %d\nsize %d\nseed %d\n", kVersion,
                      options.train_images, options.test_images, options.size, options.seed);
  if (const absl::StatusOr<std::string> found = ReadFile(marker); found.ok()) {
    if (*found == description) return absl::OkStatus();
    return absl::FailedPreconditionError(absl::StrCat(
        folder, " holds pictures made with other settings; remove it or choose another folder. It says:\n", *found));
  }
  int64_t done = 0;
  for (const PictureSplit split : {PictureSplit::kTrain, PictureSplit::kTest}) {
    const std::string split_folder = absl::StrCat(folder, "/", SplitName(split), "/");
    for (const std::string& name : PictureClasses()) TEC_RETURN_IF_ERROR(MakeDirectories(split_folder + name));
    const int64_t count = split == PictureSplit::kTrain ? options.train_images : options.test_images;
    for (int64_t i = 0; i < count; ++i) {
      TEC_ASSIGN_OR_RETURN(const std::string jpeg, EncodeJpeg(DrawPicture(options, split, i)));
      const std::string& name = PictureClasses()[PictureLabel(i)];
      // The marker vouches for all of them.
      TEC_RETURN_IF_ERROR(WriteQuickly(absl::StrFormat("%s%s/%05d.jpg", split_folder, name, i), jpeg));
      if (progress && ++done % 100 == 0) progress(done);
    }
  }
  return WriteFile(marker, description);
}

absl::Status WriteMaskedPictures(const PictureOptions& options, const std::string& folder) {
  for (const PictureSplit split : {PictureSplit::kTrain, PictureSplit::kTest}) {
    const char* part = split == PictureSplit::kTrain ? "train" : "val";
    const std::string images = absl::StrCat(folder, "/images/", part), masks = absl::StrCat(folder, "/masks/", part);
    TEC_RETURN_IF_ERROR(MakeDirectories(images));
    TEC_RETURN_IF_ERROR(MakeDirectories(masks));
    const int64_t count = split == PictureSplit::kTrain ? options.train_images : options.test_images;
    for (int64_t i = 0; i < count; ++i) {
      TEC_ASSIGN_OR_RETURN(const std::string jpeg, EncodeJpeg(DrawPicture(options, split, i)));
      TEC_ASSIGN_OR_RETURN(const std::string png, EncodePng(DrawMask(options, split, i)));
      TEC_RETURN_IF_ERROR(WriteQuickly(absl::StrFormat("%s/%05d.jpg", images, i), jpeg));
      TEC_RETURN_IF_ERROR(WriteQuickly(absl::StrFormat("%s/%05d.png", masks, i), png));
    }
  }
  return WriteFile(folder + "/classes.txt", absl::StrCat("background\n", absl::StrJoin(PictureClasses(), "\n"), "\n"));
}

}  // namespace tec
