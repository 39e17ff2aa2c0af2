#include "tec/checkpoint/pth.h"

#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <fstream>
#include <limits>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tec/base/file.h"
#include "tec/checkpoint/mutation.h"
#include "tec/checkpoint/safetensors.h"
#include "tec/checkpoint/state_dict_file.h"
#include "tec/checkpoint/zip_file.h"

namespace tec {
namespace {

constexpr char kGoldens[] = "tec/testing/goldens/checkpoints/";
constexpr char kConvert[] = "tec/testing/goldens/weight_convert/";

std::string TempPath(const std::string& name) { return absl::StrCat(testing::TempDir(), "/", name); }

nlohmann::json Index() {
  std::ifstream stream(absl::StrCat(kGoldens, "index.json"));
  return nlohmann::json::parse(stream);
}

// In either order of names: the twin's library sorts them.
std::string SameTensors(const StateDict& a, const StateDict& b) {
  if (a.size() != b.size()) return absl::StrCat(a.size(), " and ", b.size(), " tensors");
  for (const auto& [name, tensor] : a) {
    const TensorView* other = b.Find(name);
    if (other == nullptr) return absl::StrCat(name, " is missing");
    if (!BitEqual(tensor, *other)) return absl::StrCat(name, ": ", Describe(tensor), " and ", Describe(*other));
  }
  return "";
}

StateDict Twin(const std::string& path) {
  const auto read = ReadSafetensors(path);
  EXPECT_TRUE(read.ok()) << read.status();
  return read.ok() ? read->tensors : StateDict();
}

TEST(ReadPthTest, EveryAcceptedFileHasItsTwinsTensors) {
  int count = 0;
  const nlohmann::json index = Index();
  for (const auto& item : index["accept"]) {
    const std::string file = item["file"], path = absl::StrCat(kGoldens, file);
    SCOPED_TRACE(file);
    ++count;
    if (item.contains("raw_twin")) {
      const auto root = ReadPth(path);
      ASSERT_TRUE(root.ok()) << root.status();
      const auto all = FlattenTensors(*root);
      ASSERT_TRUE(all.ok()) << all.status();
      EXPECT_EQ(SameTensors(*all, Twin(absl::StrCat(kGoldens, std::string(item["raw_twin"])))), "");
      continue;
    }
    const auto read = ReadStateDict(path);
    if (item.value("may_refuse", false)) {
      // Arrays of numpy are not on our list; the message must say so.
      ASSERT_FALSE(read.ok());
      EXPECT_TRUE(absl::StrContains(read.status().message(), "numpy._core.multiarray._reconstruct")) << read.status();
      continue;
    }
    ASSERT_TRUE(read.ok()) << read.status();
    EXPECT_EQ(SameTensors(read->tensors, Twin(absl::StrCat(kGoldens, std::string(item["twin"])))), "");
  }
  EXPECT_GT(count, 10);
}

TEST(ReadPthTest, TheReferencesWayOfTakingTheStudent) {
  const std::string path = absl::StrCat(kGoldens, "ibot_student_teacher.pth");
  const auto unclear = ReadStateDict(path);
  EXPECT_TRUE(absl::StrContains(unclear.status().message(), "--entry=student or --entry=teacher")) << unclear.status();
  const auto student = ReadStateDict(path, "student");
  ASSERT_TRUE(student.ok()) << student.status();
  StateDict cut;
  for (const auto& [name, tensor] : student->tensors) ASSERT_TRUE(cut.Add(name.substr(16), tensor).ok());
  EXPECT_EQ(SameTensors(cut, Twin(absl::StrCat(kGoldens, "ibot_student_teacher.safetensors"))), "");
  EXPECT_EQ(ReadStateDict(path, "nobody").status().code(), absl::StatusCode::kNotFound);
}

TEST(ReadPthTest, EveryHostileFileIsRefused) {
  int count = 0;
  const nlohmann::json index = Index();
  for (const auto& item : index["refuse"]) {
    const std::string file = item["file"];
    if (!absl::EndsWith(file, ".pth")) continue;
    SCOPED_TRACE(file);
    ++count;
    const auto read = ReadStateDict(absl::StrCat(kGoldens, file));
    ASSERT_FALSE(read.ok());
    EXPECT_TRUE(read.status().code() == absl::StatusCode::kInvalidArgument ||
                read.status().code() == absl::StatusCode::kDataLoss)
        << read.status();
    EXPECT_TRUE(absl::StrContains(read.status().message(), file)) << read.status();
  }
  EXPECT_GT(count, 50);
  EXPECT_NE(access("PWNED_BY_CHECKPOINT", F_OK), 0);
}

TEST(ReadPthTest, ThePretrainingCheckpointOfTheReference) {
  const auto root = ReadPth(absl::StrCat(kConvert, "pretrain.pth"));
  ASSERT_TRUE(root.ok()) << root.status();
  const auto model = SelectStateDict(*root, "");
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(model->top_level, "model");
  EXPECT_EQ(SameTensors(model->tensors, Twin(absl::StrCat(kConvert, "pretrain.safetensors"))), "");
  std::ifstream stream(absl::StrCat(kConvert, "contents.json"));
  const nlohmann::json contents = nlohmann::json::parse(stream);
  for (size_t i = 0; i < model->tensors.size(); ++i) {
    EXPECT_EQ(model->tensors.entries()[i].first, contents["model_keys_in_order"][i]);
  }
  EXPECT_EQ(*root->GetInt("epoch"), contents["epoch"]);
  EXPECT_EQ(*root->Find("scaler")->GetDouble("scale"), 65536.0);
  const Value& args = *root->Find("args");
  EXPECT_EQ(args.text(), "argparse.Namespace");
  EXPECT_EQ(*args.GetString("basemodel"), "mae1kbase");
  EXPECT_EQ(args.entries().size(), contents["args"].size());
  StateDict optimizer;
  for (const auto& [index, moments] : root->Find("optimizer")->Find("state")->entries()) {
    for (const auto& [name, tensor] : moments.entries()) {
      ASSERT_TRUE(optimizer.Add(absl::StrCat(index.int_value(), ".", name.text()), tensor.tensor()).ok());
    }
  }
  EXPECT_EQ(SameTensors(optimizer, Twin(absl::StrCat(kConvert, "optimizer.safetensors"))), "");

  const auto converted = ReadStateDict(absl::StrCat(kConvert, "converted.pth"));
  ASSERT_TRUE(converted.ok()) << converted.status();
  EXPECT_EQ(converted->top_level, "");
  EXPECT_EQ(SameTensors(converted->tensors, Twin(absl::StrCat(kConvert, "converted.safetensors"))), "");
}

TEST(ReadPthTest, PythonsValues) {
  const auto root = ReadPth(absl::StrCat(kGoldens, "zip_python_values.pth"));
  ASSERT_TRUE(root.ok()) << root.status();
  const std::vector<Value>& ints = root->Find("ints")->items();
  ASSERT_EQ(ints.size(), 10);
  const int64_t expected[] = {0, 255, 256, 65535, 65536, -1, 2147483648, -2147483649};
  for (int i = 0; i < 8; ++i) EXPECT_EQ(ints[i].int_value(), expected[i]);
  EXPECT_EQ(ints[8].kind(), Value::Kind::kBigInt);
  EXPECT_EQ(root->Find("bytes")->text(), std::string("\0\xff", 2));
  EXPECT_EQ(root->Find("set")->kind(), Value::Kind::kSet);
  EXPECT_EQ(root->Find("floats")->items()[0].double_value(), std::numeric_limits<double>::infinity());
  EXPECT_EQ(root->Find("dtype")->text(), "torch.float16");
  EXPECT_EQ(root->Find("device")->text(), "cpu");
  EXPECT_EQ(root->Find("size")->items()[1].int_value(), 3);
}

// A small state with every kind of value and type.
Value Example() {
  Value root = Value::Dict();
  Value model = Value::OrderedDict();
  model.Set("weight", Value::Tensor(TensorView::FromFloats({2, 3}, {1, 2, 3, 4, 5, -0.0f})));
  model.Set("scalar", Value::Tensor(TensorView::FromFloats({}, {std::nanf("")})));
  model.Set("empty", Value::Tensor(TensorView::FromFloats({0, 4}, {})));
  int fill = 0;
  for (DType dtype : {DType::kUint8, DType::kInt8, DType::kInt16, DType::kInt32, DType::kInt64, DType::kFloat16,
                      DType::kBFloat16, DType::kFloat64}) {
    model.Set(DTypeName(dtype),
              Value::Tensor(TensorView::Copy(dtype, {3, 1}, std::string(3 * DTypeSize(dtype), '\x11' + ++fill))));
  }
  model.Set("bool", Value::Tensor(TensorView::Copy(DType::kBool, {2}, absl::string_view("\0\1", 2))));
  root.Set("model", model);
  Value values = Value::List();
  for (int64_t number : {int64_t{0}, int64_t{255}, int64_t{256}, int64_t{65535}, int64_t{65536}, int64_t{-1},
                         int64_t{INT32_MIN}, int64_t{INT32_MAX} + 1, INT64_MIN, INT64_MAX}) {
    values.Append(Value::Int(number));
  }
  values.Append(Value::Double(0.1));
  values.Append(Value::Double(-std::numeric_limits<double>::infinity()));
  values.Append(Value::None());
  values.Append(Value::Bool(true));
  values.Append(Value::Bool(false));
  values.Append(Value::String("\xC3\xBC\xE6\xBC\xA2\xF0\x9F\x98\x80"));
  values.Append(Value::Tuple({Value::Double(0.9), Value::Double(0.95)}));
  values.Append(Value::Tuple());
  values.Append(Value::List());
  root.Set("values", values);
  Value state = Value::Dict();
  state.Set(0, Value::Tensor(TensorView::FromFloats({1}, {3})));
  state.Set(70000, Value::Dict());
  root.Set("state", state);
  return root;
}

std::string Text(const Value& value) {
  switch (value.kind()) {
    case Value::Kind::kBool:
      return value.bool_value() ? "True" : "False";
    case Value::Kind::kInt:
      return absl::StrCat(value.int_value());
    case Value::Kind::kDouble:
      return absl::StrFormat("%a", value.double_value());
    case Value::Kind::kString:
      return absl::StrCat("'", value.text(), "'");
    case Value::Kind::kList:
    case Value::Kind::kTuple: {
      std::string text = value.Describe() + "[";
      for (const Value& item : value.items()) absl::StrAppend(&text, Text(item), ",");
      return text + "]";
    }
    case Value::Kind::kDict:
    case Value::Kind::kOrderedDict: {
      std::string text = value.Describe() + "{";
      for (const auto& [key, item] : value.entries()) absl::StrAppend(&text, Text(key), ":", Text(item), ",");
      return text + "}";
    }
    case Value::Kind::kTensor: {
      uint64_t sum = 0;
      for (unsigned char c : value.tensor().bytes) sum = sum * 131 + c;
      return absl::StrCat(value.Describe(), "#", sum);
    }
    default:
      return value.Describe();
  }
}

TEST(WritePthTest, WhatIsWrittenIsReadBack) {
  const std::string path = TempPath("written.pth");
  const Value example = Example();
  const absl::Status status = WritePth(path, example);
  ASSERT_TRUE(status.ok()) << status;
  const auto read = ReadPth(path);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(Text(*read), Text(example));
  const std::string bytes = *ReadFile(path);
  EXPECT_LE(bytes.size(), PthSizeBound(example));
  ASSERT_TRUE(WritePth(path, Example()).ok());
  EXPECT_EQ(*ReadFile(path), bytes);
  // Aligned for LibTorch to use in place.
  const auto model = SelectStateDict(*read, "");
  ASSERT_TRUE(model.ok());
  const auto file = MappedFile::FromBytes(bytes);
  const auto zip = ZipReader::Open(file);
  for (const ZipEntry& entry : zip->entries())
    EXPECT_EQ((entry.data.data() - file->bytes().data()) % 64, 0) << entry.name;
}

// torch.load(weights_only=True) of PyTorch 2.11 read exactly these bytes, with and without mmap, and gave back the
// values of Example(). Whoever changes the writer has to try that again before changing the number.
TEST(WritePthTest, BytesAreThoseThatPyTorchHasRead) {
  const std::string path = TempPath("stable.pth");
  ASSERT_TRUE(WritePth(path, Example()).ok());
  uint64_t hash = 14695981039346656037u;  // FNV-1a.
  const std::string bytes = *ReadFile(path);
  for (unsigned char c : bytes) hash = (hash ^ c) * 1099511628211u;
  EXPECT_EQ(hash, 14893064031269490444u);
}

TEST(WritePthTest, WhatPyTorchWouldRefuseIsNotWritten) {
  const std::string path = TempPath("refused.pth");
  unlink(path.c_str());
  const Value refused[] = {
      Value::Text(Value::Kind::kBytes, "x"),
      Value::Text(Value::Kind::kBigInt, "123456789"),
      Value::Items(Value::Kind::kSet, {}),
      Value::Entries(Value::Kind::kObject, {}, "argparse.Namespace"),
      Value::String("\xff"),
  };
  for (const Value& value : refused) {
    EXPECT_EQ(WritePth(path, Value::List({value})).code(), absl::StatusCode::kInvalidArgument) << value.Describe();
  }
  Value deep = Value::List();
  for (int i = 0; i < 150; ++i) deep = Value::List({deep});
  EXPECT_EQ(WritePth(path, deep).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(access(path.c_str(), F_OK), 0);
}

TEST(WritePthTest, EveryFlippedBitIsFound) {
  const std::string path = TempPath("flipped.pth");
  ASSERT_TRUE(WritePth(path, Example()).ok());
  std::string bytes = *ReadFile(path);
  for (size_t i = 0; i < bytes.size(); ++i) {
    const char bit = 1 << (i % 8);
    bytes[i] ^= bit;
    EXPECT_FALSE(ParsePth(MappedFile::FromBytes(bytes)).ok()) << "byte " << i;
    bytes[i] ^= bit;
  }
  EXPECT_TRUE(ParsePth(MappedFile::FromBytes(bytes)).ok());
}

TEST(WritePthTest, EveryTruncationIsFound) {
  const std::string path = TempPath("cut.pth");
  ASSERT_TRUE(WritePth(path, Example()).ok());
  const std::string bytes = *ReadFile(path);
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(ParsePth(MappedFile::FromBytes(bytes.substr(0, size))).ok()) << size;
  }
  EXPECT_FALSE(ParsePth(MappedFile::FromBytes(bytes + "x")).ok());
}

TEST(ReadPthTest, EveryTruncationOfALegacyFileIsFound) {
  const std::string bytes = *ReadFile(absl::StrCat(kGoldens, "legacy_plain.pth"));
  ASSERT_TRUE(ParsePth(MappedFile::FromBytes(bytes)).ok());
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(ParsePth(MappedFile::FromBytes(bytes.substr(0, size))).ok()) << size;
  }
  EXPECT_FALSE(ParsePth(MappedFile::FromBytes(bytes + "x")).ok());
}

TEST(ZipFileTest, LargeSizesGoIntoZip64Fields) {
  std::string out;
  // From 300 bytes on, so that a small file shows it.
  ZipWriter writer(&out, "r", 300);
  ASSERT_TRUE(writer.Add("small", "abc").ok());
  ASSERT_TRUE(writer.Add("large", std::string(1000, 'x')).ok());
  ASSERT_TRUE(writer.Add("far", "def").ok());
  ASSERT_TRUE(writer.Finish().ok());
  const auto zip = ZipReader::Open(MappedFile::FromBytes(out));
  ASSERT_TRUE(zip.ok()) << zip.status();
  EXPECT_EQ(zip->Find("r/large")->data, std::string(1000, 'x'));
  EXPECT_EQ(zip->Find("r/far")->data, "def");
  EXPECT_EQ(zip->Find("large"), nullptr);
}

TEST(ZipFileTest, EntriesInsideOneAnotherAreRefused) {
  const auto make = [](const std::string& first) {
    std::string out;
    ZipWriter writer(&out, "r");
    EXPECT_TRUE(writer.Add("a", first).ok());
    EXPECT_TRUE(writer.Add("b", "xyz").ok());
    EXPECT_TRUE(writer.Finish().ok());
    return out;
  };
  // Header and data of "b" stand a second time in the data of "a", where the directory is made to find them.
  std::string zip = make("?");
  const size_t b = zip.find("r/b") - 30;
  zip = make(zip.substr(b, zip.find("xyz") + 3 - b));
  const uint32_t inside = zip.find("r/b") - 30;
  const size_t directory = zip.rfind("r/b") - 46;
  ASSERT_TRUE(ZipReader::Open(MappedFile::FromBytes(zip)).ok());
  memcpy(&zip[directory + 42], &inside, 4);
  const auto status = ZipReader::Open(MappedFile::FromBytes(zip)).status();
  EXPECT_TRUE(absl::StrContains(status.message(), "overlap")) << status;
}

// No crash, whatever the bytes; the sanitizers' runs of this test are what it is for. A mutated file may well be valid
// still. //tools/weights:mutate makes any number of them.
// Every file that has to be read, whole.
std::vector<std::string> AcceptedFiles() {
  std::vector<std::string> names;
  const nlohmann::json index = Index();
  for (const auto& item : index["accept"]) names.push_back(item["file"]);
  return names;
}

TEST(ReadPthTest, MutatedFilesNeverCrash) {
  std::vector<std::string> files = AcceptedFiles();
  EXPECT_GT(files.size(), 10);
  files.push_back("zip_dtypes.safetensors");
  int refused = 0, total = 0;
  for (size_t f = 0; f < files.size(); ++f) {
    const std::string original = *ReadFile(absl::StrCat(kGoldens, files[f]));
    const FileKind kind = absl::EndsWith(files[f], ".safetensors") ? FileKind::kSafetensors : FileKind::kPth;
    for (int i = 0; i < 600; ++i) {
      ++total;
      refused += !ReadAnything(MutatedFile(original, 1, f, i), kind);
    }
  }
  EXPECT_GT(refused, total / 2);
  EXPECT_LT(refused, total);
}

TEST(PickleTest, MutatedPicklesNeverCrash) {
  const std::vector<std::string> files = AcceptedFiles();
  int refused = 0, total = 0;
  for (size_t f = 0; f < files.size(); ++f) {
    const std::string original = *ReadFile(absl::StrCat(kGoldens, files[f]));
    for (int i = 0; i < 1000; ++i) {
      const std::string bytes = MutatedPickle(original, 2, f, i);
      if (bytes.empty()) break;  // The legacy format, which has no checksum to go round.
      ++total;
      refused += !ReadAnything(bytes, FileKind::kPth);
    }
  }
  EXPECT_GE(total, 8000);
  EXPECT_GT(refused, total / 2);
  EXPECT_LT(refused, total);
}

TEST(ReadPthTest, MutatedJsonNeverCrashes) {
  const std::string files[] = {
      R"({"metadata":{"total_size":8},"weight_map":{"a.b":"part-1.safetensors","c":"part-2.safetensors"}})",
      R"({"model_type":"clip","vision_config":{"num_attention_heads":12,"layer_norm_eps":1e-05,)"
      R"("hidden_act":"quick_gelu","hidden_size":768},"projection_dim":512})"};
  int refused = 0, total = 0;
  for (size_t f = 0; f < 2; ++f) {
    ASSERT_TRUE(ReadAnything(files[f], FileKind::kJson)) << f;
    for (int i = 0; i < 1000; ++i) {
      ++total;
      refused += !ReadAnything(MutatedFile(files[f], 3, f, i), FileKind::kJson);
    }
  }
  EXPECT_GT(refused, total / 2);
  EXPECT_LT(refused, total);
}

#if !defined(__SANITIZE_ADDRESS__)  // Which needs terabytes of address space for itself.
TEST(ReadPthTest, MemoryStaysBounded) {
  const nlohmann::json index = Index();
  for (const char* list : {"accept", "refuse"}) {
    for (const auto& item : index[list]) {
      const std::string path = absl::StrCat(kGoldens, std::string(item["file"]));
      const size_t size = ReadFile(path)->size();
      const pid_t child = fork();
      ASSERT_GE(child, 0);
      if (child == 0) {
        // From here on the address space may grow by the file and 64 MiB; what wants more does not come back.
        size_t pages = 0;
        std::ifstream("/proc/self/statm") >> pages;
        rlimit limit;
        limit.rlim_cur = limit.rlim_max = pages * getpagesize() + size + (size_t{64} << 20);
        if (setrlimit(RLIMIT_AS, &limit) != 0) _exit(2);
        ReadStateDict(path).status().IgnoreError();
        _exit(0);
      }
      int status;
      ASSERT_EQ(waitpid(child, &status, 0), child);
      EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << path << " " << status;
    }
  }
}
#endif

}  // namespace
}  // namespace tec
