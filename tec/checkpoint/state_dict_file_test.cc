#include "tec/checkpoint/state_dict_file.h"

#include <sys/stat.h>
#include <unistd.h>

#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tec/base/file.h"
#include "tec/checkpoint/pth.h"
#include "tec/checkpoint/safetensors.h"

namespace tec {
namespace {

std::string Folder(const std::string& name) {
  const std::string folder = absl::StrCat(testing::TempDir(), "/", name);
  EXPECT_TRUE(MakeDirectories(folder).ok());
  return folder;
}

StateDict One(const std::string& name, float value) {
  StateDict tensors;
  EXPECT_TRUE(tensors.Add(name, TensorView::FromFloats({1}, {value})).ok());
  return tensors;
}

TEST(StateDictFileTest, ReadsShardsOfPickledFiles) {
  const std::string folder = Folder("pickled");
  ASSERT_TRUE(WritePth(folder + "/part-1.bin", Value::FromStateDict(One("a", 1))).ok());
  ASSERT_TRUE(WritePth(folder + "/part-2.bin", Value::FromStateDict(One("b", 2))).ok());
  const std::string index = folder + "/pytorch_model.bin.index.json";
  ASSERT_TRUE(WriteFile(index, R"({"weight_map": {"a": "part-1.bin", "b": "part-2.bin"}})").ok());
  for (const std::string& path : {index, folder}) {
    const absl::StatusOr<StateDictFile> read = ReadStateDict(path);
    ASSERT_TRUE(read.ok()) << read.status();
    EXPECT_EQ(read->container, "zip .pth in 2 shards");
    ASSERT_EQ(read->tensors.size(), 2);
    EXPECT_EQ(read->tensors.Find("b")->Values<float>()[0], 2);
  }
  // A shard that is refused is named.
  ASSERT_TRUE(WriteFile(folder + "/part-2.bin", "<html>").ok());
  const absl::Status refused = ReadStateDict(folder).status();
  EXPECT_TRUE(absl::StrContains(refused.message(), "part-2.bin: text that starts with \"<\"")) << refused;
}

TEST(StateDictFileTest, WeightsAreReadFromRegularFilesOnly) {
  const std::string folder = Folder("kinds"), pipe = folder + "/pipe";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  for (const std::string& path : {pipe, std::string("/dev/zero")}) {
    const absl::Status status = ReadStateDict(path).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << path;
    EXPECT_TRUE(absl::StrContains(status.message(), "not a regular file")) << status;
  }
  for (const char* begin : {"PK\x03\x04", "\x80\x02\x8a\x0a", "\x01"}) {
    const std::string sparse = folder + "/sparse";
    ASSERT_TRUE(WriteFile(sparse, begin).ok());
    ASSERT_EQ(truncate(sparse.c_str(), off_t{1} << 40), 0);
    EXPECT_FALSE(ReadStateDict(sparse).ok()) << begin;
  }
}

TEST(StateDictFileTest, LongNamesAreCutWhereTheyAreTold) {
  const std::string path = Folder("long") + "/a.pth", name(size_t{10} << 20, 'n');
  ASSERT_TRUE(WritePth(path, Value::FromStateDict(One(name, 1))).ok());
  const absl::Status status = ReadStateDict(path, "model").status();
  EXPECT_FALSE(status.ok());
  EXPECT_LT(status.message().size(), 20000u);
  EXPECT_TRUE(absl::StrContains(status.message(), "nnn ... (")) << status;
}

TEST(StateDictFileTest, FindsTheFileOfAFolder) {
  const std::string folder = Folder("one_file");
  EXPECT_EQ(WeightFileIn(folder), folder);
  ASSERT_TRUE(WritePth(folder + "/pytorch_model.bin", Value::FromStateDict(One("a", 1))).ok());
  EXPECT_EQ(WeightFileIn(folder), folder + "/pytorch_model.bin");
  ASSERT_TRUE(ReadStateDict(folder).ok());
  // As transformers: safetensors come first.
  ASSERT_TRUE(WriteSafetensors(folder + "/model.safetensors", One("a", 2)).ok());
  EXPECT_EQ(ReadStateDict(folder)->tensors.Find("a")->Values<float>()[0], 2);
  EXPECT_EQ(WeightFileIn(folder + "/model.safetensors"), folder + "/model.safetensors");
}

TEST(StateDictFileTest, IndexesAreChecked) {
  const auto refused = [](const std::string& text, const char* message) {
    const absl::Status status = ParseShardIndex(text).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << message;
    EXPECT_TRUE(absl::StrContains(status.message(), message)) << status;
  };
  refused("{", "no JSON");
  refused("[]", "no \"weight_map\"");
  refused(R"({"weight_map": {}})", "no \"weight_map\"");
  refused(R"({"weight_map": {"a": 1}})", "no file name for a");
  refused(R"({"weight_map": {"a": "../b"}})", "no file name for a");
  refused(R"({"weight_map": {"a": ".b"}})", "no file name for a");
  // It could be itself.
  refused(R"({"weight_map": {"a": "model.safetensors.index.json"}})", "no file name for a");
  std::string many = "{\"weight_map\": {\"a\": \"b\"";
  for (int i = 0; i < 20'000; ++i) absl::StrAppend(&many, ",\"", i, "\":\"b\"");
  refused(many + "}}", "20001 tensors, more than 20000");
}

TEST(StateDictFileTest, NamesOfAFileCannotWriteToTheTerminal) {
  Value root = Value::Dict();
  root.Set("a\x1b[2J\nb", Value::Int(1));
  const std::string path = absl::StrCat(testing::TempDir(), "/escape.pth");
  ASSERT_TRUE(WritePth(path, root).ok());
  const absl::Status status = ReadStateDict(path).status();
  EXPECT_TRUE(absl::StrContains(status.message(), "a\\x1b[2J\\x0ab (int)")) << status;
}

}  // namespace
}  // namespace tec
