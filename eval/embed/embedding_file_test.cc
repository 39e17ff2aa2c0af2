#include "eval/embed/embedding_file.h"

#include <cmath>
#include <string>
#include <vector>

#include "ATen/ATen.h"
#include "eval/testing/program.h"
#include "gtest/gtest.h"
#include "tec/base/file.h"

namespace tec {
namespace {

class EmbeddingFileTest : public ::testing::TestWithParam<const char*> {
 protected:
  const std::string path_ = testing::FreshFolder("embedding_file") + "/v" + GetParam();
};

TEST_P(EmbeddingFileTest, ComesBackToTheBit) {
  at::Tensor values = at::empty({5, 3}, at::kFloat);
  for (int i = 0; i < 15; ++i) values.data_ptr<float>()[i] = std::ldexp(1.0f / (i + 1), i * 9 - 60);
  const std::vector<EmbeddedImage> images = {
      {"a,b.jpg", 0, "cat"}, {"c \"d\".jpg", 12, "dog"}, {"e.jpg", -1, ""}, {"f\ng.jpg", 1, "x"}, {"h.jpg", 2, "y"}};
  const auto writer = EmbeddingWriter::Open(path_, 5, 3, {{"features", "pool"}});
  ASSERT_TRUE(writer.ok()) << writer.status();
  EXPECT_EQ((*writer)->Append(values.narrow(0, 0, 2), {images[0], images[1]}), absl::OkStatus());
  // Columns of a wider matrix: not contiguous.
  const at::Tensor wide = at::cat({values.narrow(0, 2, 3), values.narrow(0, 0, 3)}, 1);
  EXPECT_EQ((*writer)->Append(wide.narrow(1, 0, 3), {images[2], images[3], images[4]}), absl::OkStatus());
  EXPECT_FALSE(ReadFile(path_).ok()) << "before Commit";
  ASSERT_EQ((*writer)->Commit(), absl::OkStatus());

  const absl::StatusOr<Embeddings> read = ReadEmbeddings(path_);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_TRUE(at::equal(read->values, values)) << read->values;
  ASSERT_EQ(read->images.size(), 5);
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(read->images[i].name, images[i].name);
    EXPECT_EQ(read->images[i].label, images[i].label);
    EXPECT_EQ(read->images[i].class_name, images[i].class_name);
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, EmbeddingFileTest, ::testing::Values(".npy", ".safetensors", ".csv"));

TEST(EmbeddingPathTest, OtherEndingsAreRefused) {
  EXPECT_EQ(CheckEmbeddingPath("a.h5").message(),
            "a.h5: the format is told by the name's ending, one of .npy, .safetensors and .csv");
  EXPECT_FALSE(CheckEmbeddingPath("a.images.csv").ok());
  // What writes it: tools/consumers/vectors_test.py runs that.
  EXPECT_NE(CheckEmbeddingPath("a b.parquet").message().find("' 'a b.npy' 'a b.images.csv' 'a b.parquet'"),
            std::string::npos)
      << CheckEmbeddingPath("a b.parquet");
  EXPECT_EQ(ImagesPathOf("out/a.b.npy"), "out/a.b.images.csv");
}

// As numpy.save writes them: version 1.0, the header padded with blanks to a multiple of 64 bytes.
std::string Npy(const std::string& header, int numbers) {
  std::string text = header;
  text.append(127 - 10 - text.size(), ' ');
  text += '\n';
  return std::string("\x93NUMPY\x01\x00", 8) + static_cast<char>(text.size()) + '\0' + text +
         std::string(numbers * 4, '\0');
}

TEST(NpyTest, WhatIsNoMatrixOfFloat32IsRefused) {
  const std::string folder = testing::FreshFolder("npy"), path = folder + "/x.npy";
  ASSERT_TRUE(WriteFile(folder + "/x.images.csv", "row,name,label,class\n0,a,,\n1,b,,\n").ok());
  const auto read = [&](const std::string& bytes) {
    EXPECT_TRUE(WriteFile(path, bytes).ok());
    return ReadEmbeddings(path).status();
  };
  const std::string good = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }";
  EXPECT_EQ(read(Npy(good, 6)), absl::OkStatus());
  EXPECT_EQ(read(Npy(good, 5)).message(), path + ": not read: it says 2 x 3 numbers and has 5");
  EXPECT_EQ(read("hello").message(), path + ": not read: it is no .npy file");
  EXPECT_EQ(read(Npy(good, 6).substr(0, 60)).message(), path + ": not read: its header is cut off");
  EXPECT_EQ(read(Npy("{'descr': '<f8', 'fortran_order': False, 'shape': (2, 3), }", 12)).message(),
            path + ": not read: its numbers are not float32 ('<f4'); use .astype('float32')");
  EXPECT_EQ(read(Npy("{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3), }", 6)).message(),
            path + ": not read: it is in Fortran's order");
  // 2 * 4611686018427387905 numbers are 2 modulo 2^63.
  for (const std::string shape : {"(6,)", "(0, 3)", "(2, 3, 1)", "(2, -3)", "2"}) {
    EXPECT_EQ(read(Npy("{'descr': '<f4', 'fortran_order': False, 'shape': " + shape + ", }", 6)).message(),
              path + ": not read: it is not a matrix of at least one row")
        << shape;
  }
  EXPECT_FALSE(read(Npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 4611686018427387905), }", 2)).ok());
  ASSERT_TRUE(WriteFile(folder + "/x.images.csv", "row,name,label,class\n0,a,,\n").ok());
  EXPECT_EQ(read(Npy(good, 6)).message(), folder + "/x.images.csv names 1 images, " + path + " has 2 rows");
}

}  // namespace
}  // namespace tec
