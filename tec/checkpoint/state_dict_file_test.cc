#include "tec/checkpoint/state_dict_file.h"

#include <sys/stat.h>
#include <unistd.h>

#include <string>
#include <utility>

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
  EXPECT_TRUE(absl::StrContains(WeightFileIn(folder).status().message(), "model.safetensors")) << folder;
  ASSERT_TRUE(WritePth(folder + "/pytorch_model.bin", Value::FromStateDict(One("a", 1))).ok());
  EXPECT_EQ(*WeightFileIn(folder), folder + "/pytorch_model.bin");
  ASSERT_TRUE(ReadStateDict(folder).ok());
  // As transformers: safetensors come first.
  ASSERT_TRUE(WriteSafetensors(folder + "/model.safetensors", One("a", 2)).ok());
  EXPECT_EQ(ReadStateDict(folder)->tensors.Find("a")->Values<float>()[0], 2);
  EXPECT_EQ(*WeightFileIn(folder + "/model.safetensors"), folder + "/model.safetensors");
}

std::string Refusal(const std::string& path) { return std::string(ReadStateDict(path).status().message()); }

// Whatever the name says, what stands in a weight file's place is called what it is.
TEST(StateDictFileTest, NamesWhatIsNoWeightFile) {
  const std::string folder = Folder("no_weights");
  const std::pair<std::string, const char*> contents[] = {
      {"version https://git-lfs.github.com/spec/v1\noid sha256:4d4d\nsize 343279349\n", "git lfs pull"},
      {"<!DOCTYPE html><html><head><title>Sign in</title></head></html>", "perhaps a web page"},
      {"\n  <?xml version=\"1.0\"?><Error><Code>AccessDenied</Code></Error>", "perhaps a web page"},
      {R"({"error": "Repository not found"})", "a JSON text"},
      {std::string("\x1f\x8b\x08\0\0\0\0\0", 8) + std::string(100, 'x'), "a gzip file: unpack it first"},
      {std::string("\x89HDF\r\n\x1a\n", 8) + std::string(100, 'x'), "HDF5"},
      {"GGUF" + std::string(100, 'x'), "GGUF"},
  };
  for (const char* ending : {"safetensors", "pth", "bin"}) {
    for (const auto& [bytes, part] : contents) {
      const std::string path = absl::StrCat(folder, "/file.", ending);
      ASSERT_TRUE(WriteFile(path, bytes).ok());
      EXPECT_TRUE(absl::StrContains(Refusal(path), part)) << ending << ": " << Refusal(path);
      EXPECT_TRUE(absl::StrContains(Refusal(path), path)) << Refusal(path);
    }
  }
}

TEST(StateDictFileTest, FoldersSayWhatTheyHave) {
  const std::string open_clip = Folder("open_clip");
  ASSERT_TRUE(WriteSafetensors(open_clip + "/open_clip_model.safetensors", One("a", 1)).ok());
  ASSERT_TRUE(ReadStateDict(open_clip).ok());
  EXPECT_EQ(ReadStateDict(open_clip)->path, open_clip + "/open_clip_model.safetensors");

  const std::string other = Folder("other");
  ASSERT_TRUE(WriteFile(other + "/weights.h5", "x").ok());
  for (const char* part : {"model.safetensors", "open_clip_pytorch_model.bin", "it has weights.h5"}) {
    EXPECT_TRUE(absl::StrContains(Refusal(other), part)) << Refusal(other);
  }
  const std::string unpacked = Folder("unpacked");
  ASSERT_TRUE(MakeDirectories(unpacked + "/archive/data").ok());
  ASSERT_TRUE(WriteFile(unpacked + "/archive/data.pkl", "x").ok());
  EXPECT_TRUE(absl::StrContains(Refusal(unpacked), "an unpacked .pth")) << Refusal(unpacked);
  EXPECT_TRUE(absl::StrContains(Refusal(unpacked), "zip -0 -r archive.pth archive")) << Refusal(unpacked);
}

TEST(StateDictFileTest, ANameOnAHubGetsTheCommandThatDownloadsIt) {
  for (const char* path : {"facebook/vit-mae-base", "hf-hub:facebook/vit-mae-base"}) {
    EXPECT_TRUE(absl::StrContains(Refusal(path),
                                  "hf download facebook/vit-mae-base --local-dir vit-mae-base, then give vit-mae-base"))
        << Refusal(path);
  }
  // Files that are not there, as before.
  for (const std::string& path : {std::string("runs/checkpoint-299.pth"), Folder("hub") + "/model", std::string("x")}) {
    EXPECT_FALSE(absl::StrContains(Refusal(path), "hf download")) << Refusal(path);
    EXPECT_TRUE(absl::StrContains(Refusal(path), path)) << Refusal(path);
  }
}

TEST(StateDictFileTest, AnAddressGetsTheCommandThatDownloadsIt) {
  const std::string address = "https://dl.fbaipublicfiles.com/mae/mae_pretrain_vit_base.pth";
  for (const std::string& path : {address, "/where/the/user/stands/" + address}) {
    EXPECT_TRUE(absl::StrContains(Refusal(path), absl::StrCat("curl -L -o FILE \"", address, "\""))) << Refusal(path);
  }
  EXPECT_EQ(Refusal("s3://a/b.pth"),
            "s3://a/b.pth is an address, and files are read: aws s3 cp \"s3://a/b.pth\" FILE downloads it");
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
