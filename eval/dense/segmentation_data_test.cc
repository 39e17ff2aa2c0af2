// The three layouts, and what is said where a part of one is missing.

#include "eval/dense/segmentation_data.h"

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <string>

#include "data/image/encode.h"
#include "data/pictures/made_pictures.h"
#include "eval/testing/program.h"
#include "gtest/gtest.h"
#include "tec/base/file.h"
#include "tec/base/system_error.h"

namespace tec {
namespace {

constexpr char kAuto[] = "auto", kTrain[] = "train";

void WritePair(const std::string& picture, const std::string& mask, uint8_t number) {
  ASSERT_TRUE(MakeDirectories(std::filesystem::path(picture).parent_path().string()).ok());
  ASSERT_TRUE(MakeDirectories(std::filesystem::path(mask).parent_path().string()).ok());
  Image rgb(4, 6, 3), numbers(4, 6, 1);
  std::fill_n(rgb.data(), rgb.size_bytes(), 99);
  std::fill_n(numbers.data(), numbers.size_bytes(), number);
  ASSERT_TRUE(WriteFile(picture, *EncodeJpeg(rgb)).ok());
  ASSERT_TRUE(WriteFile(mask, *EncodePng(numbers)).ok());
}

TEST(SegmentationDataTest, FoldersOfMadePictures) {
  const std::string folder = testing::FreshFolder("folders");
  PictureOptions options;
  options.train_images = 5;
  options.test_images = 3;
  options.size = 32;
  ASSERT_TRUE(WriteMaskedPictures(options, folder).ok());
  const auto data = OpenSegmentationData(folder, kAuto, kTrain, {});
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_EQ(data->layout, "folders");
  EXPECT_EQ(data->train->size(), 5);
  EXPECT_EQ(data->held_out->size(), 3);
  EXPECT_EQ(data->ignored, std::vector<int>{255});
  EXPECT_EQ(data->NameOf(0), "0 background");
  EXPECT_EQ(data->NameOf(1), "1 " + PictureClasses()[0]);
  EXPECT_EQ(data->NameOf(200), "200");
  for (int64_t i = 0; i < 3; ++i) {
    const auto mask = data->held_out->ReadMask(i);
    ASSERT_TRUE(mask.ok()) << mask.status();
    const Image drawn = DrawMask(options, PictureSplit::kTest, i);
    ASSERT_EQ(mask->size_bytes(), drawn.size_bytes());
    EXPECT_TRUE(std::equal(drawn.data(), drawn.data() + drawn.size_bytes(), mask->data())) << i;
    std::string bytes;
    EXPECT_TRUE(data->held_out->Read(i, &bytes).ok());
  }
  EXPECT_EQ(data->train->Subset({3, 1})->name(0), data->train->name(3));
  EXPECT_EQ(OpenSegmentationData(folder, kAuto, kTrain, {7, 0})->ignored, (std::vector<int>{7, 0}));

  const auto names = ReadFile(folder + "/classes.txt");
  ASSERT_TRUE(names.ok());
  ASSERT_TRUE(WriteFile(folder + "/classes.txt", "\xEF\xBB\xBF" + *names).ok());
  EXPECT_EQ(OpenSegmentationData(folder, kAuto, kTrain, {})->NameOf(0), "0 background");
  EXPECT_EQ(OpenSegmentationData(folder + "/classes.txt", kAuto, kTrain, {}).status().message(),
            folder + "/classes.txt is not a folder: pictures and masks must lie in folders; archives must be unpacked");

  std::filesystem::remove(folder + "/masks/train/00002.png");
  const auto missing = OpenSegmentationData(folder, kAuto, kTrain, {});
  EXPECT_EQ(missing.status().code(), absl::StatusCode::kNotFound);
  EXPECT_NE(std::string(missing.status().message())
                .find("1 of 5 pictures have no mask; missing are " + folder + "/masks/train/00002.png"),
            std::string::npos)
      << missing.status();
}

// None of it says anything of a picture or a mask.
TEST(SegmentationDataTest, ErrorsOfTheSystemBlameNoFile) {
  const std::string folder = testing::FreshFolder("system");
  for (const std::string part : {"train", "test"}) {
    WritePair(folder + "/images/" + part + "/1.jpg", folder + "/masks/" + part + "/1.png", 3);
  }
  const auto data = OpenSegmentationData(folder, kAuto, kTrain, {});
  ASSERT_TRUE(data.ok()) << data.status();
  const std::string images = folder + "/images/train", masks = folder + "/masks/train", away = folder + "/away";
  std::string bytes;
  std::filesystem::rename(images, away);
  EXPECT_EQ(ErrnoOf(data->train->Read(0, &bytes)), ESTALE);
  std::filesystem::rename(away, images);
  EXPECT_TRUE(data->train->Read(0, &bytes).ok());
  std::filesystem::rename(masks, away);
  EXPECT_EQ(data->train->ReadMask(0).status().code(), absl::StatusCode::kUnavailable);
  std::filesystem::rename(away, masks);
  EXPECT_TRUE(data->train->ReadMask(0).ok());
  std::filesystem::remove(images + "/1.jpg");
  WritePair(images + "/2.jpg", masks + "/2.png", 3);
  EXPECT_EQ(ErrnoOf(data->train->Read(0, &bytes)), ENOENT);  // Its folder is there.

  const auto error = [&folder] {
    return std::string(OpenSegmentationData(folder, kAuto, kTrain, {}).status().message());
  };
  std::filesystem::create_directory(folder + "/classes.txt");
  EXPECT_EQ(error(), folder + "/classes.txt is a folder, not a regular file");
  std::filesystem::remove(folder + "/classes.txt");
  std::filesystem::remove(masks + "/2.png");
  std::filesystem::create_symlink("2.png", masks + "/2.png");
  EXPECT_EQ(error(), "stat " + masks + "/2.png: Too many levels of symbolic links");
}

TEST(SegmentationDataTest, FoldersWithinParts) {
  const std::string folder = testing::FreshFolder("parts");
  for (const std::string part : {"train", "test"}) {
    WritePair(folder + "/" + part + "/images/a/1.JPG", folder + "/" + part + "/labels/a/1.png", 3);
  }
  const auto data = OpenSegmentationData(folder, kAuto, kTrain, {});
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_EQ(data->train->name(0), "a/1.JPG");
  EXPECT_EQ(data->held_out->ReadMask(0)->at(2, 3, 0), 3);
  EXPECT_EQ(data->NameOf(3), "3");
}

TEST(SegmentationDataTest, Voc) {
  const std::string folder = testing::FreshFolder("voc"), root = folder + "/VOCdevkit/VOC2012";
  for (const std::string name : {"a", "b", "c"}) {
    WritePair(root + "/JPEGImages/" + name + ".jpg", root + "/SegmentationClass/" + name + ".png", 15);
  }
  WritePair(root + "/JPEGImages/d.jpg", root + "/SegmentationClassAug/d.png", 16);
  WritePair(root + "/JPEGImages/a.jpg", root + "/SegmentationClassAug/a.png", 17);
  ASSERT_TRUE(MakeDirectories(root + "/ImageSets/Segmentation").ok());
  ASSERT_TRUE(WriteFile(root + "/ImageSets/Segmentation/train.txt", "a\nb\r\n\n").ok());
  ASSERT_TRUE(WriteFile(root + "/ImageSets/Segmentation/trainaug.txt", "a\nd\n").ok());
  ASSERT_TRUE(WriteFile(root + "/ImageSets/Segmentation/val.txt", "c\n").ok());
  const auto data = OpenSegmentationData(folder, kAuto, kTrain, {});
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_EQ(data->layout, "voc");
  EXPECT_EQ(data->train->size(), 2);
  EXPECT_EQ(data->train->name(1), "b");
  EXPECT_EQ(data->held_out->name(0), "c");
  EXPECT_EQ(data->ignored, std::vector<int>{255});
  EXPECT_EQ(data->NameOf(15), "15 person");
  EXPECT_EQ(data->NameOf(20), "20 tvmonitor");
  const auto augmented = OpenSegmentationData(root, "voc", "trainaug", {});
  ASSERT_TRUE(augmented.ok()) << augmented.status();
  EXPECT_EQ(augmented->train->ReadMask(0)->at(0, 0, 0), 17);
  EXPECT_EQ(OpenSegmentationData(root, "voc", "none", {}).status().code(), absl::StatusCode::kNotFound);
}

TEST(SegmentationDataTest, Ade20k) {
  const std::string root = testing::FreshFolder("ade");
  for (const std::string part : {"training", "validation"}) {
    WritePair(root + "/images/" + part + "/x.jpg", root + "/annotations/" + part + "/x.png", 2);
  }
  ASSERT_TRUE(WriteFile(root + "/objectInfo150.txt",
                        "Idx\tRatio\tTrain\tVal\tStuff\tName\n"
                        "1\t0.1\t9\t9\t1\twall\n2\t0.1\t9\t9\t1\tbuilding, edifice\n")
                  .ok());
  const auto data = OpenSegmentationData(root, kAuto, kTrain, {});
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_EQ(data->layout, "ade20k");
  EXPECT_EQ(data->ignored, (std::vector<int>{0, 255}));
  EXPECT_EQ(data->NameOf(2), "2 building, edifice");
}

TEST(SegmentationDataTest, SaysWhatIsMissing) {
  const std::string folder = testing::FreshFolder("nothing");
  const auto says = [](const absl::Status& status, const std::string& text) {
    EXPECT_NE(std::string(status.message()).find(text), std::string::npos) << status;
  };
  says(OpenSegmentationData(folder, kAuto, kTrain, {}).status(), "none of images/train, train/images");
  says(OpenSegmentationData(folder, "voc", kTrain, {}).status(), "no ImageSets/Segmentation");
  says(OpenSegmentationData(folder, "ade20k", kTrain, {}).status(), "no images/training");
  says(OpenSegmentationData(folder, "coco", kTrain, {}).status(), "--layout=coco: it must be");
  WritePair(folder + "/images/train/1.jpg", folder + "/elsewhere/1.png", 1);
  says(OpenSegmentationData(folder, kAuto, kTrain, {}).status(), folder + "/masks/train");
}

}  // namespace
}  // namespace tec
