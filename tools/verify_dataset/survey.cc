#include "tools/verify_dataset/survey.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

#include "absl/numeric/int128.h"
#include "absl/strings/string_view.h"
#include "data/dataset/patient_read.h"
#include "data/image/decode.h"
#include "tec/base/logging.h"
#include "tec/base/status.h"

namespace tec {
namespace {

// FNV-1a over eight bytes at a time: only to bring equal files together, whose bytes are compared afterwards.
uint64_t Hash(absl::string_view bytes) {
  constexpr uint64_t kPrime = 0x100000001b3;
  uint64_t hash = 0xcbf29ce484222325 ^ bytes.size();
  size_t i = 0;
  for (; i + 8 <= bytes.size(); i += 8) {
    uint64_t word;
    std::memcpy(&word, bytes.data() + i, sizeof(word));
    hash = (hash ^ word) * kPrime;
    hash ^= hash >> 29;
  }
  for (; i < bytes.size(); ++i) hash = (hash ^ static_cast<uint8_t>(bytes[i])) * kPrime;
  return hash;
}

// What one picture adds. Sums over its pixels fit: 255^2 times the largest picture is below 2^44.
struct Finding {
  absl::Status status;
  const char* format = "unknown";
  bool read = false;
  uint64_t hash = 0;
  int height = 0, width = 0;
  std::vector<uint64_t> sum, squares;  // [channels]
};

void AddPixels(const Image& image, Finding* finding) {
  const size_t channels = image.channels();
  finding->sum.assign(channels, 0);
  finding->squares.assign(channels, 0);
  const uint8_t* const end = image.data() + image.size_bytes();
  for (size_t c = 0; c < channels; ++c) {
    uint64_t sum = 0, squares = 0;
    for (const uint8_t* value = image.data() + c; value < end; value += channels) {
      sum += *value;
      squares += uint32_t{*value} * *value;
    }
    finding->sum[c] = sum;
    finding->squares[c] = squares;
  }
}

absl::Status Look(const Dataset& dataset, int64_t index, int channels, std::string* bytes, Image* image,
                  Finding* finding) {
  try {
    TEC_RETURN_IF_ERROR(ReadPatiently(dataset, index, bytes));
    finding->hash = Hash(*bytes);
    finding->read = true;
    finding->format = ImageFormatName(SniffImageFormat(*bytes));
    TEC_RETURN_IF_ERROR(DecodeImage(*bytes, image, channels));
  } catch (const std::exception& exception) {  // No memory.
    return absl::ResourceExhaustedError(exception.what());
  }
  finding->height = image->height();
  finding->width = image->width();
  AddPixels(*image, finding);
  return absl::OkStatus();
}

}  // namespace

Survey SurveyDataset(const Dataset& dataset, const SurveyOptions& options) {
  TEC_CHECK_GE(options.threads, 1);
  Survey survey;
  survey.pictures = dataset.size();
  survey.by_class.assign(dataset.classes().size(), 0);
  if (dataset.labelled()) {
    for (int64_t i = 0; i < dataset.size(); ++i) ++survey.by_class[dataset.label(i)];
  }

  std::mutex mutex;  // Guards the survey and all below.
  std::vector<absl::uint128> sum(options.channels), squares(options.channels);
  int64_t pixels = 0, done = 0;
  const auto take = [&](int64_t index, const Finding& finding) {
    std::lock_guard<std::mutex> lock(mutex);
    ++done;
    if (options.progress) options.progress(done, survey.pictures);
    if (finding.read) {
      ++survey.formats[finding.format];
      survey.by_hash[finding.hash].push_back(index);
    }
    if (absl::IsUnavailable(finding.status)) {
      survey.fault.Update(finding.status);
      return;
    }
    if (!finding.status.ok()) {
      survey.bad.push_back({index, std::string(finding.status.message())});
      return;
    }
    ++survey.good;
    survey.heights.push_back(finding.height);
    survey.widths.push_back(finding.width);
    pixels += int64_t{finding.height} * finding.width;
    for (int c = 0; c < options.channels; ++c) {
      sum[c] += finding.sum[c];
      squares[c] += finding.squares[c];
    }
  };
  std::atomic<int64_t> next{0};
  const auto work = [&] {
    std::string bytes;
    Image image;
    for (int64_t index = next++; index < survey.pictures; index = next++) {
      Finding finding;
      finding.status = Look(dataset, index, options.channels, &bytes, &image, &finding);
      if (absl::IsUnavailable(finding.status)) next = survey.pictures;
      take(index, finding);
    }
  };
  std::vector<std::thread> threads;
  try {
    for (int i = 1; i < options.threads; ++i) threads.emplace_back(work);
  } catch (const std::system_error&) {  // No more threads: those that there are do the work.
  }
  work();
  for (std::thread& thread : threads) thread.join();

  std::sort(survey.bad.begin(), survey.bad.end(), [](const auto& a, const auto& b) { return a.index < b.index; });
  std::sort(survey.heights.begin(), survey.heights.end());
  std::sort(survey.widths.begin(), survey.widths.end());
  for (auto& [hash, indices] : survey.by_hash) std::sort(indices.begin(), indices.end());
  survey.mean.resize(options.channels);
  survey.std.resize(options.channels);
  for (int c = 0; c < options.channels && pixels > 0; ++c) {
    const double mean = static_cast<double>(sum[c]) / static_cast<double>(pixels);
    const double square = static_cast<double>(squares[c]) / static_cast<double>(pixels);
    survey.mean[c] = mean / 255;
    survey.std[c] = std::sqrt(std::max(0.0, square - mean * mean)) / 255;
  }
  return survey;
}

absl::StatusOr<std::vector<std::vector<PicturePlace>>> FindDuplicates(const std::vector<const Dataset*>& datasets,
                                                                      const std::vector<Survey>& surveys) {
  TEC_CHECK_EQ(datasets.size(), surveys.size());
  std::map<uint64_t, std::vector<PicturePlace>> by_hash;
  for (size_t d = 0; d < surveys.size(); ++d) {
    for (const auto& [hash, indices] : surveys[d].by_hash) {
      for (const int64_t index : indices) by_hash[hash].push_back({static_cast<int>(d), index});
    }
  }
  std::vector<std::vector<PicturePlace>> groups;
  for (const auto& [hash, places] : by_hash) {
    if (places.size() < 2) continue;
    std::map<std::string, std::vector<PicturePlace>> by_bytes;
    for (const PicturePlace& place : places) {
      std::string bytes;
      const absl::Status read = ReadPatiently(*datasets[place.dataset], place.index, &bytes);
      if (absl::IsUnavailable(read)) return read;
      if (read.ok()) by_bytes[std::move(bytes)].push_back(place);
    }
    for (auto& [bytes, same] : by_bytes) {
      if (same.size() > 1) groups.push_back(std::move(same));
    }
  }
  std::sort(groups.begin(), groups.end(), [](const auto& a, const auto& b) {
    return std::make_pair(a[0].dataset, a[0].index) < std::make_pair(b[0].dataset, b[0].index);
  });
  return groups;
}

}  // namespace tec
