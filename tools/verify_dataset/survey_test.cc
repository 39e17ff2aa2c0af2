#include "tools/verify_dataset/survey.h"

#include <atomic>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "data/image/encode.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tec/base/file.h"

namespace tec {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;

class Pictures : public Dataset {
 public:
  explicit Pictures(std::vector<std::string> files) : files_(std::move(files)), classes_{"even", "odd"} {}
  int64_t size() const override { return static_cast<int64_t>(files_.size()); }
  int32_t label(int64_t index) const override { return static_cast<int32_t>(index % 2); }
  std::string name(int64_t index) const override { return std::to_string(index); }
  const std::vector<std::string>& classes() const override { return classes_; }
  absl::Status Read(int64_t index, std::string* bytes) const override {
    if (files_[index] == "gone") return absl::NotFoundError("no such file");
    *bytes = files_[index];
    return absl::OkStatus();
  }

 private:
  std::vector<std::string> files_, classes_;
};

Image Flat(int height, int width, uint8_t red, uint8_t green, uint8_t blue) {
  Image image(height, width);
  for (size_t i = 0; i < image.size_bytes(); i += 3) {
    image.data()[i] = red;
    image.data()[i + 1] = green;
    image.data()[i + 2] = blue;
  }
  return image;
}

TEST(SurveyTest, CountsAll) {
  const std::string small = *EncodePng(Flat(2, 3, 0, 100, 255)), large = *EncodePng(Flat(6, 1, 51, 100, 0));
  const Pictures pictures({small, large, "<html>", small, "gone", small.substr(0, 40)});
  for (const int threads : {1, 3}) {
    SurveyOptions options;
    options.threads = threads;
    int64_t calls = 0, last = 0;
    options.progress = [&](int64_t done, int64_t total) {
      ++calls;
      last = done;
      EXPECT_EQ(total, 6);
    };
    const Survey survey = SurveyDataset(pictures, options);
    EXPECT_EQ(calls, 6);
    EXPECT_EQ(last, 6);
    EXPECT_EQ(survey.pictures, 6);
    EXPECT_EQ(survey.good, 3);
    EXPECT_THAT(survey.by_class, ElementsAre(3, 3));
    EXPECT_THAT(survey.formats, ElementsAre(Pair("PNG", 4), Pair("unknown", 1)));
    ASSERT_EQ(survey.bad.size(), 3);
    EXPECT_EQ(survey.bad[0].index, 2);
    EXPECT_EQ(survey.bad[1].index, 4);
    EXPECT_EQ(survey.bad[1].reason, "no such file");
    EXPECT_EQ(survey.bad[2].index, 5);
    EXPECT_THAT(survey.heights, ElementsAre(2, 2, 6));
    EXPECT_THAT(survey.widths, ElementsAre(1, 3, 3));
    // Twelve pixels of the one, six of the other. Rounding: a few units of the last place.
    EXPECT_NEAR(survey.mean[0], 51.0 / 255 / 3, 1e-15);
    EXPECT_NEAR(survey.std[0], 51.0 / 255 * std::sqrt(2.0 / 9), 1e-15);
    EXPECT_NEAR(survey.mean[1], 100.0 / 255, 1e-15);
    EXPECT_EQ(survey.std[1], 0);
    EXPECT_NEAR(survey.mean[2], 2.0 / 3, 1e-15);
  }
}

// The first readings of each picture fail, of those in `failures`, one number a picture.
class FailingPictures : public Pictures {
 public:
  FailingPictures(std::vector<std::string> files, const std::vector<int>& failures)
      : Pictures(std::move(files)), failures_(failures.begin(), failures.end()) {}
  absl::Status Read(int64_t index, std::string* bytes) const override {
    return --failures_[index] >= 0 ? ErrnoToStatus(EIO, "read", name(index)) : Pictures::Read(index, bytes);
  }

 private:
  mutable std::vector<std::atomic<int>> failures_;
};

TEST(SurveyTest, ErrorsOfTheSystemBlameNoPicture) {
  const std::vector<std::string> files(8, *EncodePng(Flat(2, 3, 0, 100, 255)));
  SurveyOptions options;
  options.threads = 2;
  const Survey patient = SurveyDataset(FailingPictures(files, {1, 2, 3, 0, 0, 2, 1, 1}), options);
  EXPECT_TRUE(patient.fault.ok()) << patient.fault;
  EXPECT_EQ(patient.good, 8);
  const Survey ended = SurveyDataset(FailingPictures(files, std::vector<int>(8, 1000)), options);
  EXPECT_EQ(ended.fault.code(), absl::StatusCode::kUnavailable);
  EXPECT_NE(ended.fault.message().find("Input/output error"), std::string::npos) << ended.fault;
  EXPECT_TRUE(ended.bad.empty());
}

TEST(SurveyTest, ErrorsOfTheSystemHideNoDuplicates) {
  const std::vector<std::string> files(3, *EncodePng(Flat(2, 3, 0, 100, 255)));
  const std::vector<Survey> surveys = {SurveyDataset(Pictures(files), {})};
  const FailingPictures patient(files, {2, 0, 1}), never(files, {0, 1000, 0});
  const auto found = FindDuplicates({&patient}, surveys);
  ASSERT_TRUE(found.ok()) << found.status();
  ASSERT_EQ(found->size(), 1);
  EXPECT_EQ((*found)[0].size(), 3);
  const absl::Status fault = FindDuplicates({&never}, surveys).status();
  EXPECT_EQ(fault.code(), absl::StatusCode::kUnavailable);
  EXPECT_NE(fault.message().find("Input/output error"), std::string::npos) << fault;
}

TEST(SurveyTest, TakesAnyNumberOfChannels) {
  Image image(1, 2, 4);
  const uint8_t values[] = {0, 51, 255, 102, 255, 51, 255, 204};
  std::memcpy(image.data(), values, sizeof(values));
  const std::string four = *EncodePng(image), three = *EncodePng(Flat(1, 1, 204, 204, 204));
  const Pictures pictures({four, three});
  SurveyOptions options;
  options.channels = 4;
  Survey survey = SurveyDataset(pictures, options);
  ASSERT_EQ(survey.bad.size(), 1);
  EXPECT_EQ(survey.bad[0].reason, "the PNG has 3 channels, not the 4 asked for");
  EXPECT_THAT(survey.mean, ElementsAre(0.5, 51 / 255., 1, 153 / 255.));
  EXPECT_THAT(survey.std, ElementsAre(0.5, 0, 0, 51 / 255.));
  options.channels = 1;
  survey = SurveyDataset(Pictures({three}), options);
  EXPECT_THAT(survey.mean, ElementsAre(204 / 255.));
}

TEST(SurveyTest, FindsDuplicatesWithinAndAcross) {
  const std::string a = *EncodePng(Flat(2, 3, 1, 2, 3)), b = *EncodePng(Flat(2, 3, 1, 2, 4));
  const Pictures train({a, b, a, "<html>"}), val({"<html>", *EncodePng(Flat(9, 9, 0, 0, 0)), b});
  std::vector<Survey> surveys = {SurveyDataset(train, {}), SurveyDataset(val, {})};
  const auto text = [&] {
    std::string all;
    const auto groups = FindDuplicates({&train, &val}, surveys);
    EXPECT_TRUE(groups.ok()) << groups.status();
    for (const auto& group : groups.value()) {
      for (const PicturePlace& place : group)
        all += std::to_string(place.dataset) + ":" + std::to_string(place.index) + " ";
      all += "| ";
    }
    return all;
  };
  EXPECT_EQ(text(), "0:0 0:2 | 0:1 1:2 | 0:3 1:0 | ");
  // Equal hashes of different files are no duplicates.
  surveys[0].by_hash = {{1, {0, 1, 2}}};
  surveys[1].by_hash = {{1, {1}}};
  EXPECT_EQ(text(), "0:0 0:2 | ");
}

}  // namespace
}  // namespace tec
