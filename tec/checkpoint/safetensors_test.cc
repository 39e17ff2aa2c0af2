#include "tec/checkpoint/safetensors.h"

#include <string.h>
#include <unistd.h>

#include <fstream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tec/base/file.h"

namespace tec {
namespace {

constexpr char kGoldens[] = "tec/testing/goldens/checkpoints/";

std::string TempPath(const std::string& name) { return absl::StrCat(testing::TempDir(), "/", name); }

std::string FileOf(absl::string_view header, absl::string_view data) {
  const uint64_t size = header.size();
  return absl::StrCat(absl::string_view(reinterpret_cast<const char*>(&size), 8), header, data);
}

absl::StatusOr<Safetensors> Parse(absl::string_view header, absl::string_view data) {
  return ParseSafetensors(MappedFile::FromBytes(FileOf(header, data)));
}

TEST(SafetensorsTest, WrittenTensorsAreReadBackInOrder) {
  StateDict tensors;
  ASSERT_TRUE(tensors.Add("flag", TensorView::Copy(DType::kBool, {3}, absl::string_view("\1\0\1", 3))).ok());
  ASSERT_TRUE(tensors.Add("weight", TensorView::FromFloats({2, 3}, {1, -2, 3, 4.5, 5, 6})).ok());
  ASSERT_TRUE(tensors.Add("scalar", TensorView::FromFloats({}, {7})).ok());
  ASSERT_TRUE(tensors.Add("nothing", TensorView::FromFloats({0, 4}, {})).ok());
  const std::string path = TempPath("written.safetensors");
  ASSERT_TRUE(WriteSafetensors(path, tensors, {{"format", "pt"}, {"n", "\"quoted\""}}).ok());
  const auto read = ReadSafetensors(path);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(FirstDifference(read->tensors, tensors), "");
  EXPECT_EQ(read->metadata.at("n"), "\"quoted\"");
  EXPECT_EQ(read->tensors.Find("weight")->Values<float>()[3], 4.5f);
  // Pages of the file, there again after they were given back.
  EXPECT_TRUE(read->tensors.Find("weight")->mapped);
  ReleasePages(*read->tensors.Find("weight"));
  EXPECT_EQ(read->tensors.Find("weight")->Values<float>()[3], 4.5f);
  // Aligned although a tensor of three bytes comes first.
  EXPECT_EQ(reinterpret_cast<uintptr_t>(read->tensors.Find("weight")->bytes.data()) % 4, 0);
  const std::string bytes = *ReadFile(path);
  ASSERT_TRUE(WriteSafetensors(path, tensors, {{"format", "pt"}, {"n", "\"quoted\""}}).ok());
  EXPECT_EQ(*ReadFile(path), bytes);
}

TEST(SafetensorsTest, AFlippedBitAnywhereIsFound) {
  StateDict tensors;
  ASSERT_TRUE(tensors.Add("weight", TensorView::FromFloats({50}, std::vector<float>(50, 1.5f))).ok());
  ASSERT_TRUE(tensors.Add("flag", TensorView::Copy(DType::kBool, {3}, absl::string_view("\1\0\1", 3))).ok());
  const std::string path = TempPath("checksum.safetensors");
  ASSERT_TRUE(WriteSafetensors(path, tensors, {{"format", "pt"}}).ok());
  const auto read = ReadSafetensors(path);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->metadata, (std::map<std::string, std::string>{{"format", "pt"}}));
  const std::string whole = *ReadFile(path);
  for (size_t at = 0; at < whole.size(); ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string bytes = whole;
      bytes[at] ^= 1 << bit;
      // One bit makes the checksum's name another one, of which nothing is known.
      const size_t name = whole.find("tec_crc32");
      if (at >= name && at < name + 9) continue;
      EXPECT_FALSE(ParseSafetensors(MappedFile::FromBytes(bytes)).ok()) << at << " " << bit;
    }
  }
  // In the data nothing else would tell.
  std::string bytes = whole;
  bytes.back() ^= 1;
  const absl::Status status = ParseSafetensors(MappedFile::FromBytes(bytes)).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_TRUE(absl::StrContains(status.message(), "the file is damaged: its checksum is")) << status;
}

TEST(SafetensorsTest, TooLittleSpaceIsSaidBeforehand) {
  TensorView huge;  // 2^60 bytes that are never read.
  huge.shape = {int64_t{1} << 58};
  huge.bytes = absl::string_view(kGoldens, size_t{1} << 60);
  StateDict tensors;
  ASSERT_TRUE(tensors.Add("huge", huge).ok());
  const std::string path = TempPath("huge.safetensors");
  const absl::Status status = WriteSafetensors(path, tensors);
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(absl::StrContains(status.message(), "MiB free")) << status;
  EXPECT_NE(access(path.c_str(), F_OK), 0);
}

TEST(SafetensorsTest, FilesOfTheOfficialLibraryAreRead) {
  const auto read = ReadSafetensors(absl::StrCat(kGoldens, "zip_dtypes.safetensors"));
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->tensors.size(), 10);
}

TEST(SafetensorsTest, EveryHostileFileIsRefused) {
  std::ifstream stream(absl::StrCat(kGoldens, "index.json"));
  const nlohmann::json index = nlohmann::json::parse(stream);
  int count = 0;
  for (const auto& item : index["refuse"]) {
    const std::string file = item["file"];
    if (!absl::EndsWith(file, ".safetensors")) continue;
    ++count;
    const auto read = ReadSafetensors(absl::StrCat(kGoldens, file));
    EXPECT_EQ(read.status().code(), absl::StatusCode::kInvalidArgument) << file << " " << read.status();
    EXPECT_TRUE(absl::StrContains(read.status().message(), file)) << read.status();
  }
  EXPECT_GT(count, 15);
}

std::string Repeated(absl::string_view text, int count) {
  std::string all;
  for (int i = 0; i < count; ++i) absl::StrAppend(&all, text);
  return all;
}

constexpr char kGood[] = R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}})";

TEST(SafetensorsTest, HeadersThatAreAlmostRight) {
  EXPECT_TRUE(Parse(kGood, "xy").ok());
  EXPECT_TRUE(Parse(absl::StrCat(" \n", kGood, "   "), "xy").ok());
  EXPECT_TRUE(Parse("{}", "").ok());
  const struct {
    std::string header;
    absl::string_view data, message;
  } cases[] = {
      {absl::StrCat("\xEF\xBB\xBF", kGood), "xy", "not a JSON object"},
      {absl::StrCat(kGood, absl::string_view("\0{", 2)), "xy", "NUL"},
      {absl::StrCat(kGood, "{}"), "xy", "not valid JSON"},
      {R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"\u0061":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})",
       "xy", "\"a\" occurs twice"},
      {R"({"a":{"dtype":"U8","dtype":"I8","shape":[2],"data_offsets":[0,2]}})", "xy", "\"dtype\" occurs twice"},
      {R"({"__metadata__":{"k":"1","k":"2"}})", "", "\"k\" occurs twice"},
      {R"({"__metadata__":{"k":{}}})", "", "object inside"},
      {R"({"a":{"dtype":"U8","shape":[[2]],"data_offsets":[0,2]}})", "xy", "unexpected array"},
      {R"({"a":{"dtype":"U8","shape":[-0],"data_offsets":[0,0]}})", "", "negative number"},
      {R"({"a":{"dtype":"U8","shape":[2e0],"data_offsets":[0,2]}})", "xy", "not an integer"},
      {R"({"a":{"dtype":"U8","shape":[1e400],"data_offsets":[0,2]}})", "xy", "not valid JSON"},
      {R"({"a":{"dtype":"U8","shape":[18446744073709551615],"data_offsets":[0,2]}})", "xy", "too large"},
      {R"({"a":{"dtype":"F64","shape":[2305843009213693952],"data_offsets":[0,0]}})", "", "does not take"},
      {R"({"a":{"dtype":"U8","shape":[0,4611686018427387904,4],"data_offsets":[0,0]}})", "", "overflows"},
      {R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2,2]}})", "xy", "two numbers"},
      {absl::StrCat(R"({"a":{"dtype":"U8","data_offsets":[0,2],"shape":[1)", Repeated(",1", 64), "]}}"), "xy",
       "more than 64 dimensions"},
      {R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2],"x":"y"}})", "xy", "unknown field"},
      {R"({"a":"U8"})", "", "unexpected text"},
      {R"({"a":{"dtype":"U16","shape":[1],"data_offsets":[0,2]}})", "xy", "elements of type U16 are not read"},
      {kGood, "xyz", "follow the last tensor"},
      {kGood, "x", "beyond the file"},
  };
  for (const auto& c : cases) {
    const auto parsed = Parse(c.header, c.data);
    EXPECT_EQ(parsed.status().code(), absl::StatusCode::kInvalidArgument) << c.header;
    EXPECT_TRUE(absl::StrContains(parsed.status().message(), c.message)) << c.header << ": " << parsed.status();
  }
}

TEST(SafetensorsTest, AHeaderAboveTheLimitIsRefusedBeforeItIsRead) {
  std::string bytes(64, ' ');
  const uint64_t size = (8 << 20) + 1;
  memcpy(&bytes[0], &size, 8);
  const auto parsed = ParseSafetensors(MappedFile::FromBytes(bytes));
  EXPECT_TRUE(absl::StrContains(parsed.status().message(), "limit")) << parsed.status();
}

TEST(SafetensorsTest, EveryTruncationIsRefused) {
  const std::string whole = *ReadFile(absl::StrCat(kGoldens, "zip_plain.safetensors"));
  ASSERT_TRUE(ParseSafetensors(MappedFile::FromBytes(whole)).ok());
  for (size_t size = 0; size < whole.size(); ++size) {
    EXPECT_FALSE(ParseSafetensors(MappedFile::FromBytes(whole.substr(0, size))).ok()) << size;
  }
}

TEST(SafetensorsTest, MissingFilesAreNamed) {
  const auto read = ReadSafetensors("/no/such/file.safetensors");
  EXPECT_EQ(read.status().code(), absl::StatusCode::kNotFound);
  EXPECT_TRUE(absl::StrContains(read.status().message(), "/no/such/file.safetensors"));
  EXPECT_EQ(ReadSafetensors(testing::TempDir()).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(StateDictTest, DifferencesAreFound) {
  StateDict a, b;
  ASSERT_TRUE(a.Add("x", TensorView::FromFloats({1}, {0.0f})).ok());
  ASSERT_TRUE(b.Add("x", TensorView::FromFloats({1}, {-0.0f})).ok());
  EXPECT_NE(FirstDifference(a, b), "");
  EXPECT_EQ(FirstDifference(a, a), "");
  EXPECT_EQ(a.Add("x", TensorView()).code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(a.Find("y"), nullptr);
}

}  // namespace
}  // namespace tec
