// Pillow computes blends in float32 and affine fetches in float64 and cuts the fraction off, so the order of operations
// is Pillow's throughout; no product may be fused with a sum (-ffp-contract=off).

#include "data/augment/augment_op.h"

#ifdef __SSE4_1__
#include <immintrin.h>
#endif

#include <algorithm>
#include <cmath>
#include <cstring>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "tec/base/logging.h"

namespace tec {
namespace {

struct OpInfo {
  const char* name;
  bool has_argument;
};
constexpr OpInfo kInfo[kAugmentOps] = {
    {"AutoContrast", false}, {"Equalize", false},   {"Invert", false}, {"Rotate", true},        {"Posterize", true},
    {"Solarize", true},      {"SolarizeAdd", true}, {"Color", true},   {"Contrast", true},      {"Brightness", true},
    {"Sharpness", true},     {"ShearX", true},      {"ShearY", true},  {"TranslateXRel", true}, {"TranslateYRel", true},
};
constexpr absl::string_view kIncreasing = "Increasing";

// A plane is handled as one row of bytes where channels do not matter.
struct Plane {
  int height, width;
  uint8_t* pixels;
  int64_t bytes() const { return int64_t{3} * height * width; }
};

template <typename F>
void ForEachByte(const Plane& plane, F f) {
  const int64_t n = plane.bytes();
  uint8_t* const p = plane.pixels;  // Not of the struct, which the compiler takes these very bytes to change.
  for (int64_t i = 0; i < n; ++i) p[i] = f(p[i]);
}

// One table a channel.
using Tables = std::array<std::array<uint8_t, 256>, 3>;

void Look(const Plane& plane, const Tables& tables) {
  const uint8_t *red = tables[0].data(), *green = tables[1].data(), *blue = tables[2].data();
  const int64_t n = plane.bytes();
  uint8_t* p = plane.pixels;
  for (int64_t i = 0; i < n; i += 3) {
    p[i] = red[p[i]];
    p[i + 1] = green[p[i + 1]];
    p[i + 2] = blue[p[i + 2]];
  }
}

void AutoContrast(const Plane& plane) {
  // Least and largest value a channel: of blocks whose length is a multiple of both three and a vector's.
  constexpr int kBlock = 96;
  uint8_t low[kBlock], high[kBlock];
  std::memset(low, 255, kBlock);
  std::memset(high, 0, kBlock);
  const int64_t n = plane.bytes();
  int64_t begin = 0;
  for (; begin + kBlock <= n; begin += kBlock) {
    const uint8_t* block = plane.pixels + begin;
    for (int i = 0; i < kBlock; ++i) low[i] = low[i] < block[i] ? low[i] : block[i];
    for (int i = 0; i < kBlock; ++i) high[i] = high[i] > block[i] ? high[i] : block[i];
  }
  for (int i = 0; i < n - begin; ++i) {
    low[i] = std::min(low[i], plane.pixels[begin + i]);
    high[i] = std::max(high[i], plane.pixels[begin + i]);
  }
  Tables tables;
  bool changes = false;
  for (int c = 0; c < 3; ++c) {
    int lowest = 255, highest = 0;
    for (int i = c; i < kBlock; i += 3) {
      lowest = std::min<int>(lowest, low[i]);
      highest = std::max<int>(highest, high[i]);
    }
    for (int i = 0; i < 256; ++i) tables[c][i] = static_cast<uint8_t>(i);
    if (highest <= lowest || (lowest == 0 && highest == 255)) continue;
    changes = true;
    const double scale = 255.0 / (highest - lowest), offset = -lowest * scale;
    for (int i = 0; i < 256; ++i) {
      tables[c][i] = static_cast<uint8_t>(std::clamp(static_cast<int>(i * scale + offset), 0, 255));
    }
  }
  if (changes) Look(plane, tables);
}

void Equalize(const Plane& plane) {
  // Two histograms a channel, for neighbours: equal values one after the other would wait for one another.
  static_assert(sizeof(int32_t) == 4, "");
  int32_t counts[6][256] = {};
  const int64_t n = plane.bytes();
  const uint8_t* p = plane.pixels;
  int64_t i = 0;
  for (; i + 6 <= n; i += 6) {
    for (int k = 0; k < 6; ++k) ++counts[k][p[i + k]];
  }
  for (int k = 0; i + k < n; ++k) ++counts[k][p[i + k]];
  Tables tables;
  for (int c = 0; c < 3; ++c) {
    int64_t total = 0, last = 0;
    for (int v = 0; v < 256; ++v) {
      counts[c][v] += counts[c + 3][v];
      total += counts[c][v];
      if (counts[c][v] > 0) last = counts[c][v];
    }
    for (int v = 0; v < 256; ++v) tables[c][v] = static_cast<uint8_t>(v);
    const int64_t step = (total - last) / 255;  // Of one value alone: zero.
    if (step == 0) continue;
    int64_t sum = step / 2;
    for (int v = 0; v < 256; ++v) {
      tables[c][v] = static_cast<uint8_t>(std::min<int64_t>(255, sum / step));
      sum += counts[c][v];
    }
  }
  Look(plane, tables);
}

void Posterize(const Plane& plane, double argument) {
  const int bits = static_cast<int>(std::clamp(argument, 0.0, 8.0));
  const auto mask = static_cast<uint8_t>(0xFF << (8 - bits));
  ForEachByte(plane, [mask](uint8_t v) { return static_cast<uint8_t>(v & mask); });
}

void Solarize(const Plane& plane, double argument) {
  if (argument >= 256) return;
  const auto threshold = static_cast<uint8_t>(std::max(argument, 0.0));
  ForEachByte(plane, [threshold](uint8_t v) { return static_cast<uint8_t>(v < threshold ? v : 255 - v); });
}

void SolarizeAdd(const Plane& plane, double argument) {
  const int add = static_cast<int>(std::clamp(argument, -255.0, 255.0));
  Tables tables;
  for (int v = 0; v < 256; ++v) tables[0][v] = static_cast<uint8_t>(v < 128 ? std::clamp(v + add, 0, 255) : v);
  if (add < 0) {
    tables[1] = tables[2] = tables[0];
    return Look(plane, tables);
  }
  const auto amount = static_cast<uint8_t>(add);
  ForEachByte(plane, [amount](uint8_t v) {
    const auto sum = static_cast<uint8_t>(v + amount);
    return v < 128 ? (sum < v ? uint8_t{255} : sum) : v;
  });
}

// Image.blend(from, to, alpha).
inline uint8_t Blend(int from, int to, float alpha) {
  const float value = static_cast<float>(from) + alpha * static_cast<float>(to - from);
  // The fraction is cut off; within the range both cuts agree.
  const float above = value > 0.0F ? value : 0.0F;
  return static_cast<uint8_t>(static_cast<int>(above < 255.0F ? above : 255.0F));
}

#ifdef __AVX2__
// Blend() of eight bytes; the caller's packing turns what is below zero into zero.
inline __m256i Blend8(__m256i from, __m256i to, __m256 alpha) {
  const __m256 difference = _mm256_cvtepi32_ps(_mm256_sub_epi32(to, from));
  const __m256 value = _mm256_add_ps(_mm256_cvtepi32_ps(from), _mm256_mul_ps(alpha, difference));
  return _mm256_cvttps_epi32(_mm256_min_ps(value, _mm256_set1_ps(255.0F)));
}
inline __m256i LoadBytes8(const uint8_t* bytes) {
  return _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(bytes)));
}
#endif

// out[i] = Blend(from[i], to[i], alpha); with kConstant, from[0] throughout. `out` may be `to`.
template <bool kConstant>
void BlendBytes(const uint8_t* from, const uint8_t* to, float alpha, int64_t n, uint8_t* out) {
  int64_t i = 0;
#ifdef __AVX2__
  // What the compiler makes of the plain loop takes three times as long.
  const __m256 alphas = _mm256_set1_ps(alpha);
  const __m256i constant = _mm256_set1_epi32(from[0]);
  const auto blend = [&](int64_t at) {
    return Blend8(kConstant ? constant : LoadBytes8(from + at), LoadBytes8(to + at), alphas);
  };
  // Packing works within the halves of a register: its groups of four bytes come out in the order 0, 2, 4, 6, 1, ...
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  for (; i + 32 <= n; i += 32) {
    const __m256i low = _mm256_packs_epi32(blend(i), blend(i + 8));
    const __m256i high = _mm256_packs_epi32(blend(i + 16), blend(i + 24));
    const __m256i bytes = _mm256_permutevar8x32_epi32(_mm256_packus_epi16(low, high), order);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + i), bytes);
  }
#endif
  for (; i < n; ++i) out[i] = Blend(from[kConstant ? 0 : i], to[i], alpha);
}

void BlendWithConstant(const Plane& plane, uint8_t from, float alpha) {
  BlendBytes<true>(&from, plane.pixels, alpha, plane.bytes(), plane.pixels);
}

// ITU-R 601-2 luma, in Pillow's fixed point.
inline uint8_t Grey(const uint8_t* pixel) {
  return static_cast<uint8_t>((pixel[0] * 19595 + pixel[1] * 38470 + pixel[2] * 7471 + 0x8000) >> 16);
}

void Contrast(const Plane& plane, float factor) {
  const int64_t pixels = int64_t{plane.height} * plane.width;
  int64_t sum = 0;
  for (int y = 0; y < plane.height; ++y) {
    const uint8_t* row = plane.pixels + int64_t{3} * plane.width * y;
    uint32_t row_sum = 0;
    for (int x = 0; x < plane.width; ++x) row_sum += Grey(row + 3 * x);
    sum += row_sum;
  }
  const int mean = static_cast<int>(static_cast<double>(sum) / static_cast<double>(pixels) + 0.5);
  BlendWithConstant(plane, static_cast<uint8_t>(mean), factor);
}

void Color(const Plane& plane, float factor, AugmentScratch* scratch) {
  const int width = plane.width;
  scratch->row.resize(4 * static_cast<size_t>(width));
  uint8_t *grey = scratch->row.data(), *spread = grey + width;
  for (int y = 0; y < plane.height; ++y) {
    uint8_t* row = plane.pixels + int64_t{3} * width * y;
    for (int x = 0; x < width; ++x) grey[x] = Grey(row + 3 * x);
    for (int x = 0; x < width; ++x) spread[3 * x] = spread[3 * x + 1] = spread[3 * x + 2] = grey[x];
    BlendBytes<false>(spread, row, factor, 3 * width, row);
  }
}

// ImageFilter.SMOOTH: a 3 x 3 sum with weight 5 in the middle and 13 altogether; the border stays. Pillow sums in
// float32 and adds a half; sum / 13 + 1/2 is never nearer to a whole number than 1/26, so integers give the same.
void Sharpness(const Plane& plane, float factor, AugmentScratch* scratch) {
  const int bytes = 3 * plane.width;
  if (plane.height < 3 || plane.width < 3) return;  // Nothing but border: blended with itself.
  scratch->copy.assign(plane.pixels, plane.pixels + plane.bytes());
  scratch->row.resize(bytes);
  uint8_t* smooth = scratch->row.data();
  for (int y = 1; y + 1 < plane.height; ++y) {
    const uint8_t* in = scratch->copy.data() + int64_t{bytes} * y;
    const uint8_t *above = in - bytes, *below = in + bytes;
    for (int i = 3; i < bytes - 3; ++i) {
      const auto sum = static_cast<uint16_t>(above[i - 3] + above[i] + above[i + 3] + in[i - 3] + 5 * in[i] +
                                             in[i + 3] + below[i - 3] + below[i] + below[i + 3]);
      // (2 sum + 13) / 26 by a multiplication: exact for all of 0..13 * 255 (tested).
      smooth[i] = static_cast<uint8_t>((static_cast<uint32_t>(2 * sum + 13) * 5041) >> 17);
    }
    uint8_t* out = plane.pixels + int64_t{bytes} * y;
    BlendBytes<false>(smooth + 3, in + 3, factor, bytes - 6, out + 3);
  }
}

// Affine fetches. Output pixel (x, y) comes from (a (x + 1/2) + b (y + 1/2) + c, d (x + 1/2) + e (y + 1/2) + f).
struct Affine {
  double a = 1, b = 0, c = 0, d = 0, e = 1, f = 0;
};

// Four lanes: a pixel's channels and one that does not matter.
using Int4 = int32_t __attribute__((vector_size(16)));
using Double4 = double __attribute__((vector_size(32)));
using Byte4 = uint8_t __attribute__((vector_size(4)));

inline Int4 LoadInts(const uint8_t* pixel) {
#ifdef __SSE4_1__
  // What the compiler makes of the other version takes twice the time.
  int32_t four;
  std::memcpy(&four, pixel, sizeof(four));
  return reinterpret_cast<Int4>(_mm_cvtepu8_epi32(_mm_cvtsi32_si128(four)));
#else
  Byte4 bytes;
  std::memcpy(&bytes, pixel, sizeof(bytes));
  return __builtin_convertvector(bytes, Int4);
#endif
}

// The bytes of a pixel, out of range at its ends; the fraction is cut off. Writes four bytes.
inline void StoreClamped(Double4 value, uint8_t* out) {
#ifdef __AVX2__
  // Packing clamps. Cutting off a fraction below zero gives zero too.
  const __m128i whole = _mm256_cvttpd_epi32(reinterpret_cast<__m256d>(value));
  const __m128i bytes = _mm_packus_epi16(_mm_packs_epi32(whole, whole), whole);
  const int32_t four = _mm_cvtsi128_si32(bytes);
  std::memcpy(out, &four, sizeof(four));
#else
  const Double4 zero = {0, 0, 0, 0}, most = {255, 255, 255, 255};
  value = value > zero ? value : zero;
  value = value < most ? value : most;
  const Byte4 bytes = __builtin_convertvector(__builtin_convertvector(value, Int4), Byte4);
  std::memcpy(out, &bytes, sizeof(bytes));
#endif
}
inline Double4 ToDoubles(Int4 v) {
#ifdef __AVX2__
  return reinterpret_cast<Double4>(_mm256_cvtepi32_pd(reinterpret_cast<__m128i>(v)));
#else
  return __builtin_convertvector(v, Double4);
#endif
}

// Pillow's cubic (a = -1) and linear interpolation, in its order of operations. Of bytes the differences are exact.
inline Double4 Cubic(Int4 v1, Int4 v2, Int4 v3, Int4 v4, double t) {
  const Int4 first = v1 - v2, second = v3 - v4;
  const Double4 p1 = ToDoubles(v2), p2 = ToDoubles(v3 - v1), p3 = ToDoubles(first + first + second),
                p4 = -ToDoubles(first + second);
  return p1 + t * (p2 + t * (p3 + t * p4));
}
inline Double4 Cubic(Double4 v1, Double4 v2, Double4 v3, Double4 v4, double t) {
  const Double4 p2 = v3 - v1, p3 = 2 * (v1 - v2) + v3 - v4, p4 = v2 - v1 - v3 + v4;
  return v2 + t * (p2 + t * (p3 + t * p4));
}

// The source with a frame of repeated edge pixels, four bytes a pixel, so that no fetch has to look where it is.
struct Framed {
  static constexpr int kBefore = 2, kAfter = 2;
  int stride;             // Bytes.
  const uint8_t* origin;  // Of pixel (0, 0).
};

Framed Frame(const Plane& plane, AugmentScratch* scratch) {
  const int width = plane.width, columns = width + Framed::kBefore + Framed::kAfter;
  const int rows = plane.height + Framed::kBefore + Framed::kAfter;
  Framed framed;
  framed.stride = 4 * columns;
  scratch->copy.resize(static_cast<size_t>(framed.stride) * rows);
  for (int y = 0; y < rows; ++y) {
    uint8_t* out = scratch->copy.data() + static_cast<size_t>(framed.stride) * y;
    const uint8_t* in = plane.pixels + int64_t{3} * width * std::clamp(y - Framed::kBefore, 0, plane.height - 1);
    // Four bytes at once, one of them the next pixel's; after the last pixel there is none to read.
    uint8_t* const middle = out + 4 * Framed::kBefore;
    for (int x = 0; x + 1 < width; ++x) std::memcpy(middle + 4 * x, in + 3 * x, 4);
    std::memcpy(middle + 4 * (width - 1), in + 3 * (width - 1), 3);
    for (int x = 0; x < Framed::kBefore; ++x) std::memcpy(out + 4 * x, in, 3);
    for (int x = Framed::kBefore + width; x < columns; ++x) std::memcpy(out + 4 * x, in + 3 * (width - 1), 3);
  }
  framed.origin = scratch->copy.data() + static_cast<size_t>(framed.stride) * Framed::kBefore + 4 * Framed::kBefore;
  return framed;
}

// Where along one axis the pixels of an output row come from: whole is the sample before, part the way to the next.
struct Positions {
  double* at;
  double* part;
  int32_t* whole;

  // at[x] = slope * (x + 1/2) + by + constant, in Pillow's order, for x < width. Only rises, or only falls.
  void Fill(double slope, double by, double constant, int width) const {
    double* const to = at;
    for (int x = 0; x < width; ++x) to[x] = slope * (x + 0.5) + by + constant;
  }
  void Split(int begin, int end) const {
    const double* const from = at;
    double* const rest = part;
    int32_t* const floor = whole;
    for (int x = begin; x < end; ++x) {
      const double centred = from[x] - 0.5, down = std::floor(centred);
      rest[x] = centred - down;
      floor[x] = static_cast<int32_t>(down);
    }
  }
};

// Where the transform leaves an axis alone its fraction is exactly zero, and Pillow's formula gives the middle sample
// to the last bit: kMoveX, kMoveY say which axes need work.
template <Interpolation kInterpolation, bool kMoveX, bool kMoveY>
void Fetch(const Plane& plane, const Affine& affine, const std::array<uint8_t, 3>& fill, AugmentScratch* scratch) {
  const int height = plane.height, width = plane.width;
  const Framed source = Frame(plane, scratch);
  const ptrdiff_t stride = source.stride;
  scratch->row.resize(3 * static_cast<size_t>(width) + 1);
  scratch->positions.resize(4 * static_cast<size_t>(width));
  scratch->samples.resize(2 * static_cast<size_t>(width));
  const Positions columns{scratch->positions.data(), scratch->positions.data() + width, scratch->samples.data()};
  const Positions rows{scratch->positions.data() + 2 * width, scratch->positions.data() + 3 * width,
                       scratch->samples.data() + width};
  if (!kMoveX) columns.Fill(1, 0, 0, width);
  for (int y = 0; y < height; ++y) {
    if (kMoveX) columns.Fill(affine.a, affine.b * (y + 0.5), affine.c, width);
    rows.Fill(affine.d, affine.e * (y + 0.5), affine.f, width);
    const auto inside = [&](int x) {
      return columns.at[x] >= 0 && columns.at[x] < width && rows.at[x] >= 0 && rows.at[x] < height;
    };
    uint8_t* const out = scratch->row.data();
    int begin = 0, end = width;
    while (begin < end && !inside(begin)) std::memcpy(out + 3 * begin++, fill.data(), 3);
    while (begin < end && !inside(end - 1)) std::memcpy(out + 3 * --end, fill.data(), 3);
    columns.Split(begin, end);
    rows.Split(begin, end);
    uint8_t after[3];
    std::memcpy(after, out + 3 * end, end < width ? 3 : 0);
    for (int x = begin; x < end; ++x) {
      const double dx = columns.part[x], dy = rows.part[x];
      const uint8_t* const pixel = source.origin + stride * rows.whole[x] + 4 * columns.whole[x];
      Double4 value;
      if constexpr (kInterpolation == Interpolation::kBicubic) {
        const auto along = [dx](const uint8_t* p) {
          return Cubic(LoadInts(p - 4), LoadInts(p), LoadInts(p + 4), LoadInts(p + 8), dx);
        };
        if constexpr (kMoveX && kMoveY) {
          value = Cubic(along(pixel - stride), along(pixel), along(pixel + stride), along(pixel + 2 * stride), dy);
        } else if constexpr (kMoveX) {
          value = along(pixel);
        } else {
          value = Cubic(LoadInts(pixel - stride), LoadInts(pixel), LoadInts(pixel + stride),
                        LoadInts(pixel + 2 * stride), dy);
        }
      } else {
        const auto along = [dx](const uint8_t* p) {
          const Int4 v1 = LoadInts(p), v2 = LoadInts(p + 4);
          return ToDoubles(v1) + ToDoubles(v2 - v1) * dx;
        };
        if constexpr (kMoveX && kMoveY) {
          const Double4 v1 = along(pixel), v2 = along(pixel + stride);
          value = v1 + (v2 - v1) * dy;
        } else if constexpr (kMoveX) {
          value = along(pixel);
        } else {
          const Int4 v1 = LoadInts(pixel), v2 = LoadInts(pixel + stride);
          value = ToDoubles(v1) + ToDoubles(v2 - v1) * dy;
        }
      }
      StoreClamped(value, out + 3 * x);  // And one byte more, for the next pixel to overwrite.
    }
    std::memcpy(out + 3 * end, after, end < width ? 3 : 0);
    std::memcpy(plane.pixels + int64_t{3} * width * y, out, 3 * static_cast<size_t>(width));
  }
}

template <Interpolation kInterpolation>
void FetchAlong(const Plane& plane, const Affine& affine, const std::array<uint8_t, 3>& fill, AugmentScratch* scratch) {
  if (affine.d == 0 && affine.e == 1 && affine.f == 0) {
    Fetch<kInterpolation, true, false>(plane, affine, fill, scratch);
  } else if (affine.a == 1 && affine.b == 0 && affine.c == 0) {
    Fetch<kInterpolation, false, true>(plane, affine, fill, scratch);
  } else {
    Fetch<kInterpolation, true, true>(plane, affine, fill, scratch);
  }
}

void Transform(const Plane& plane, const Affine& affine, const AugmentStyle& style, AugmentScratch* scratch) {
  if (style.interpolation == Interpolation::kBicubic) {
    FetchAlong<Interpolation::kBicubic>(plane, affine, style.fill, scratch);
  } else {
    FetchAlong<Interpolation::kBilinear>(plane, affine, style.fill, scratch);
  }
}

// Python's round(x, 15): to the nearest decimal of 15 places, then to the nearest double.
double Round15(double x) {
  double result = 0;
  TEC_CHECK(absl::SimpleAtod(absl::StrFormat("%.15f", x), &result)) << x;
  return result;
}

void Rotate(const Plane& plane, double degrees, const AugmentStyle& style, AugmentScratch* scratch) {
  // Python's degrees % 360, of the divisor's sign.
  double angle = std::fmod(degrees, 360.0);
  if (angle < 0) angle += 360.0;
  if (angle == 0) return;
  angle = -(angle * (3.14159265358979323846 / 180.0));
  const double x = plane.width / 2.0, y = plane.height / 2.0;
  Affine affine;
  affine.a = affine.e = Round15(std::cos(angle));
  affine.b = Round15(std::sin(angle));
  affine.d = Round15(-std::sin(angle));
  affine.c = affine.a * -x + affine.b * -y + 0.0 + x;
  affine.f = affine.d * -x + affine.e * -y + 0.0 + y;
  Transform(plane, affine, style, scratch);
}

}  // namespace

const char* AugmentOpName(AugmentOp op) { return kInfo[static_cast<int>(op)].name; }

absl::StatusOr<AugmentOp> FindAugmentOp(absl::string_view name) {
  const absl::string_view base = absl::StripSuffix(name, kIncreasing);
  for (int i = 0; i < kAugmentOps; ++i) {
    if (base == kInfo[i].name) return static_cast<AugmentOp>(i);
  }
  return absl::NotFoundError(absl::StrCat("no augmentation operation is called \"", name, "\""));
}

void ApplyAugmentOp(AugmentOp op, double argument, const AugmentStyle& style, int height, int width,
                    AugmentScratch* scratch, uint8_t* pixels) {
  TEC_CHECK(height >= 1 && width >= 1) << height << " x " << width;
  const Plane plane{height, width, pixels};
  const auto factor = static_cast<float>(argument);
  switch (op) {
    case AugmentOp::kAutoContrast:
      return AutoContrast(plane);
    case AugmentOp::kEqualize:
      return Equalize(plane);
    case AugmentOp::kInvert:
      return ForEachByte(plane, [](uint8_t v) { return static_cast<uint8_t>(255 - v); });
    case AugmentOp::kRotate:
      return Rotate(plane, argument, style, scratch);
    case AugmentOp::kPosterize:
      return Posterize(plane, argument);
    case AugmentOp::kSolarize:
      return Solarize(plane, argument);
    case AugmentOp::kSolarizeAdd:
      return SolarizeAdd(plane, argument);
    case AugmentOp::kColor:
      return Color(plane, factor, scratch);
    case AugmentOp::kContrast:
      return Contrast(plane, factor);
    case AugmentOp::kBrightness:
      return BlendWithConstant(plane, 0, factor);
    case AugmentOp::kSharpness:
      return Sharpness(plane, factor, scratch);
    case AugmentOp::kShearX:
      return Transform(plane, Affine{1, argument, 0, 0, 1, 0}, style, scratch);
    case AugmentOp::kShearY:
      return Transform(plane, Affine{1, 0, 0, argument, 1, 0}, style, scratch);
    case AugmentOp::kTranslateX:
      return Transform(plane, Affine{1, 0, argument * width, 0, 1, 0}, style, scratch);
    case AugmentOp::kTranslateY:
      return Transform(plane, Affine{1, 0, 0, 0, 1, argument * height}, style, scratch);
  }
}

std::string AugmentStepsToText(const std::vector<AugmentStep>& steps) {
  if (steps.empty()) return "none";
  return absl::StrJoin(steps, ", ", [](std::string* out, const AugmentStep& step) {
    absl::StrAppend(out, AugmentOpName(step.op));
    if (kInfo[static_cast<int>(step.op)].has_argument) absl::StrAppendFormat(out, "(%.17g)", step.argument);
  });
}

absl::StatusOr<std::vector<AugmentStep>> ParseAugmentSteps(absl::string_view text) {
  std::vector<AugmentStep> steps;
  text = absl::StripAsciiWhitespace(text);
  if (text == "none" || text.empty()) return steps;
  for (absl::string_view part : absl::StrSplit(text, ',')) {
    part = absl::StripAsciiWhitespace(part);
    const size_t open = part.find('(');
    const absl::StatusOr<AugmentOp> op = FindAugmentOp(part.substr(0, open));
    if (!op.ok()) return absl::InvalidArgumentError(op.status().message());
    AugmentStep step;
    step.op = *op;
    const bool wants = kInfo[static_cast<int>(*op)].has_argument;
    if (wants != (open != absl::string_view::npos)) {
      return absl::InvalidArgumentError(absl::StrCat("\"", part, "\": ", AugmentOpName(*op), " takes ",
                                                     wants ? "a number in brackets" : "no argument"));
    }
    if (wants) {
      absl::string_view number = part.substr(open + 1);
      if (!absl::ConsumeSuffix(&number, ")") || !absl::SimpleAtod(number, &step.argument) ||
          !std::isfinite(step.argument)) {
        return absl::InvalidArgumentError(absl::StrCat("\"", part, "\": the argument must be a number in brackets"));
      }
    }
    steps.push_back(step);
  }
  return steps;
}

}  // namespace tec
