// The program from command line to files.

#include <filesystem>
#include <memory>
#include <string>

#include "ATen/ATen.h"
#include "eval/embed/embedding_file.h"
#include "eval/features/features.h"
#include "eval/features/pretrained.h"
#include "eval/testing/tiny.h"
#include "gtest/gtest.h"
#include "tec/base/file.h"

namespace tec {
namespace {

using testing::ProgramResult;

class EmbedProgramTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = testing::FreshFolder("embed");
    testing::WritePictures(folder_ + "/data", {"ant", "bee"}, 6, 1);
    testing::WriteTecCheckpoint(folder_ + "/tec.pth", /*mlp_token=*/true);
  }
  static ProgramResult Run(const std::string& arguments) {
    return testing::RunProgram(
        "eval/embed/embed",
        "--device=cpu --num_workers=1 --threads=1 --batch_size=5 --checkpoint=" + folder_ + "/tec.pth " + arguments);
  }
  // Of the readable images of a folder, by the library.
  static Features Expected(const std::string& folder, const FeatureSpec& spec) {
    const auto pretrained = ReadPretrained(folder_ + "/tec.pth");
    EXPECT_TRUE(pretrained.ok()) << pretrained.status();
    const auto encoder = MakeEncoder(*pretrained);
    FeatureOptions options;
    options.spec = spec;
    options.batch_size = 5;
    options.max_bad_fraction = 1;
    options.mean = pretrained->mean;
    options.std = pretrained->std;
    std::shared_ptr<const Dataset> dataset = *OpenDataset(folder, Split::kWhole);
    auto features = ExtractFeatures(**encoder, dataset, options);
    EXPECT_TRUE(features.ok()) << features.status();
    return *features;
  }

  static std::string folder_;
};

std::string EmbedProgramTest::folder_;

TEST_F(EmbedProgramTest, VectorsNamesAndLabels) {
  for (const std::string ending : {".npy", ".safetensors", ".csv"}) {
    const std::string output = folder_ + "/v" + ending;
    const ProgramResult result = Run("--data_path=" + folder_ + "/data --features=cls+pool --output=" + output);
    ASSERT_EQ(result.exit_code, 0) << result.output;
    EXPECT_NE(result.output.find("12 vectors of 32 numbers written to " + output), std::string::npos) << result.output;
    const absl::StatusOr<Embeddings> read = ReadEmbeddings(output);
    ASSERT_TRUE(read.ok()) << read.status();
    const Features expected = Expected(folder_ + "/data", {1, FeatureSpec::PatchMean::kAfterNorm});
    EXPECT_TRUE(at::equal(read->values, expected.values)) << ending;
    EXPECT_EQ(read->images[0].name, "ant/0.png");
    EXPECT_EQ(read->images[11].name, "bee/5.png");
    EXPECT_EQ(read->images[11].label, 1);
    EXPECT_EQ(read->images[11].class_name, "bee");
  }
}

TEST_F(EmbedProgramTest, RowsKeepTheirNamesAroundAnUnreadableImage) {
  const std::string data = folder_ + "/damaged";
  testing::WritePictures(data, {"ant", "bee"}, 6, 1);
  ASSERT_TRUE(WriteFile(data + "/ant/2.png", "not a picture").ok());
  const std::string output = folder_ + "/damaged.npy";
  // Twice: the second time from the stored features.
  for (int i = 0; i < 2; ++i) {
    const ProgramResult result = Run("--max_bad_fraction=0.5 --data_path=" + data + " --output=" + output +
                                     " --output_dir=" + folder_ + "/damaged_out");
    ASSERT_EQ(result.exit_code, 0) << result.output;
    EXPECT_NE(result.output.find("1 unreadable images left out"), std::string::npos) << result.output;
    const absl::StatusOr<Embeddings> read = ReadEmbeddings(output);
    ASSERT_TRUE(read.ok()) << read.status();
    ASSERT_EQ(read->images.size(), 11);
    EXPECT_EQ(read->images[1].name, "ant/1.png");
    EXPECT_EQ(read->images[2].name, "ant/3.png");
    EXPECT_TRUE(at::equal(read->values, Expected(data, kPoolFeatures).values));
  }
  EXPECT_TRUE(std::filesystem::exists(folder_ + "/damaged_out/bad_images.txt"));
}

TEST_F(EmbedProgramTest, PicturesBesideFoldersHaveNoLabels) {
  const std::string data = folder_ + "/mixed";
  testing::WritePictures(data, {"ant"}, 3, 1);
  std::filesystem::copy(data + "/ant/0.png", data + "/loose.png");
  const ProgramResult result = Run("--data_path=" + data + " --output=" + folder_ + "/mixed.csv");
  ASSERT_EQ(result.exit_code, 0) << result.output;
  EXPECT_NE(result.output.find("without labels: "), std::string::npos) << result.output;
  const absl::StatusOr<Embeddings> read = ReadEmbeddings(folder_ + "/mixed.csv");
  ASSERT_TRUE(read.ok()) << read.status();
  ASSERT_EQ(read->images.size(), 4);
  EXPECT_EQ(read->images[0].label, -1);
}

TEST_F(EmbedProgramTest, NeighboursAndDuplicates) {
  const std::string data = folder_ + "/pairs", vectors = folder_ + "/pairs.npy", page = folder_ + "/pairs.html";
  testing::WritePictures(data, {"ant", "bee"}, 6, 1);
  std::filesystem::copy(data + "/ant/2.png", data + "/bee/copy <i>.png");
  ASSERT_EQ(Run("--data_path=" + data + " --output=" + vectors).exit_code, 0);
  const auto neighbours = [](const std::string& arguments) {
    return testing::RunProgram("eval/embed/neighbours", arguments);
  };
  const ProgramResult nearest = neighbours(vectors + " --query=ant/2.png --k=3");
  ASSERT_EQ(nearest.exit_code, 0) << nearest.output;
  EXPECT_NE(nearest.output.find("nearest to ant/2.png\n1.0000  bee/copy <i>.png\n"), std::string::npos)
      << nearest.output;
  // Row 2 is ant/2.png.
  EXPECT_EQ(neighbours(vectors + " --query 2 --k 3").output, nearest.output);
  const ProgramResult pairs = neighbours(vectors + " --duplicates=0.9999999 --data_path=" + data + " --output=" + page);
  ASSERT_EQ(pairs.exit_code, 0) << pairs.output;
  EXPECT_NE(pairs.output.find("1 pairs of 13 pictures"), std::string::npos) << pairs.output;
  EXPECT_NE(pairs.output.find("1.0000  ant/2.png  bee/copy <i>.png\n"), std::string::npos) << pairs.output;
  const std::string html = *ReadFile(page);
  EXPECT_NE(html.find("src=\"data:image/jpeg;base64,"), std::string::npos);
  EXPECT_NE(html.find("bee/copy &lt;i&gt;.png"), std::string::npos);
  EXPECT_EQ(html.find("<i>.png"), std::string::npos);

  EXPECT_EQ(neighbours(vectors).exit_code, 1);
  EXPECT_EQ(neighbours(vectors + " --query=none.png").exit_code, 1);
  EXPECT_EQ(neighbours(folder_ + "/none.npy --query=0").exit_code, 1);
  EXPECT_EQ(neighbours(vectors + " --query=0 --output=x.html").exit_code, 1);
}

TEST_F(EmbedProgramTest, BadUse) {
  EXPECT_EQ(Run("--data_path=" + folder_ + "/data").exit_code, 1);
  const ProgramResult ending = Run("--data_path=" + folder_ + "/data --output=x.h5");
  EXPECT_EQ(ending.exit_code, 1);
  EXPECT_NE(ending.output.find("--output: x.h5: the format is told by the name's ending"), std::string::npos)
      << ending.output;
  EXPECT_EQ(Run("--data_path=" + folder_ + "/data --output=x.npy --part=all").exit_code, 1);
}

}  // namespace
}  // namespace tec
