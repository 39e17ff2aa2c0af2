// Files made to take many times their size: whatever is in a file, reading it takes no more than its size and 64 MiB.

#include <malloc.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <functional>
#include <new>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "gtest/gtest.h"
#include "tec/checkpoint/families/vit_file.h"
#include "tec/checkpoint/state_dict_file.h"
#include "tec/checkpoint/zip_file.h"

namespace tec {
namespace {

constexpr size_t kAllowance = size_t{64} << 20;
constexpr size_t kMaxHeader = size_t{8} << 20;

// In a process of its own, whose address space may grow by the file's size and 64 MiB; one that wants more does not
// come back. (The address sanitizer needs terabytes of it: there the file is read without a limit.)
void ExpectBounded(const std::string& name, const std::string& bytes) {
  SCOPED_TRACE(name);
  const std::string path = absl::StrCat(testing::TempDir(), "/", name);
  ASSERT_TRUE((std::ofstream(path, std::ios::binary) << bytes).good());
  // What this process has freed is not to be what the other one lives on.
  malloc_trim(0);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
#if !defined(__SANITIZE_ADDRESS__)
    size_t pages = 0;
    std::ifstream("/proc/self/statm") >> pages;
    rlimit limit;
    limit.rlim_cur = limit.rlim_max = pages * getpagesize() + bytes.size() + kAllowance;
    if (setrlimit(RLIMIT_AS, &limit) != 0) _exit(2);
#endif
    try {
      ReadStateDict(path).status().IgnoreError();
      ReadVitFile(path).status().IgnoreError();
    } catch (const std::bad_alloc&) {
      _exit(1);
    }
    _exit(0);
  }
  int status;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
  unlink(path.c_str());
}

// `front`, as many of `item` as fit into `size`, `back`.
std::string Filled(absl::string_view front, const std::function<std::string(int)>& item, absl::string_view back,
                   size_t size) {
  std::string text(front);
  text.reserve(size);
  for (int i = 0;; ++i) {
    const std::string next = item(i);
    if (text.size() + next.size() + back.size() > size) break;
    text += next;
  }
  absl::StrAppend(&text, back);
  return text;
}

std::string Safetensors(absl::string_view header) {
  const uint64_t size = header.size();
  return absl::StrCat(absl::string_view(reinterpret_cast<const char*>(&size), 8), header);
}

TEST(MemoryTest, HeadersOfSafetensors) {
  // As large as the format allows: refused for that. And the largest that is read.
  ExpectBounded("large.safetensors", Safetensors("{" + std::string(90'000'000, ' ') + "}"));
  {
    const auto expect = [](const char* name, absl::string_view front, absl::string_view back,
                           const std::function<std::string(int)>& item) {
      ExpectBounded(absl::StrCat(name, ".safetensors"), Safetensors(Filled(front, item, back, kMaxHeader)));
    };
    const std::string empty = R"({"dtype":"U8","shape":[0],"data_offsets":[0,0]})";
    std::string zeros = "0";
    for (int i = 1; i < 64; ++i) zeros += ",0";
    expect("rank", R"({"a":{"dtype":"U8","data_offsets":[0,0],"shape":[0)", "]}}", [](int) { return ",0"; });
    expect("tensors", absl::StrCat(R"({"a":)", empty), "}",
           [&](int i) { return absl::StrFormat(",\"%x\":%s", i, empty); });
    expect("ranks", absl::StrCat(R"({"a":)", empty), "}", [&](int i) {
      return absl::StrFormat(R"(,"%x":{"dtype":"U8","shape":[%s],"data_offsets":[0,0]})", i, zeros);
    });
    expect("names", absl::StrCat(R"({"a":)", empty), "}",
           [&](int i) { return absl::StrFormat(",\"%0200x\":%s", i, empty); });
    expect("metadata", R"({"__metadata__":{"a":"")", "}}", [](int i) { return absl::StrFormat(",\"%x\":\"\"", i); });
    expect("value", R"({"__metadata__":{"a":")", "\"}}", [](int) { return std::string(1000, 'x'); });
    expect("name", "{\"", R"(":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}})",
           [](int) { return std::string(1000, 'x'); });
  }
}

template <typename T>
void Append(std::string* out, T value) {
  out->append(reinterpret_cast<const char*>(&value), sizeof(T));
}

// A directory of `count` compressed entries, which have no header of their own to agree with.
std::string ZipOfNames(uint64_t count, int name_size) {
  std::string out("PK\x03\x04", 4);
  const uint64_t begin = out.size();
  for (uint64_t i = 0; i < count; ++i) {
    Append<uint32_t>(&out, 0x02014b50);
    Append<uint32_t>(&out, 0);
    Append<uint16_t>(&out, 0);
    Append<uint16_t>(&out, 8);
    out.append(16, '\0');
    Append<uint16_t>(&out, name_size);
    out.append(16, '\0');
    absl::StrAppend(&out, "r/", absl::StrFormat("%0*d", name_size - 2, i));
  }
  const uint64_t end = out.size();
  Append<uint32_t>(&out, 0x06064b50);
  Append<uint64_t>(&out, 44);
  out.append(12, '\0');
  Append<uint64_t>(&out, count);
  Append<uint64_t>(&out, count);
  Append<uint64_t>(&out, end - begin);
  Append<uint64_t>(&out, begin);
  Append<uint32_t>(&out, 0x07064b50);
  Append<uint32_t>(&out, 0);
  Append<uint64_t>(&out, end);
  Append<uint32_t>(&out, 1);
  Append<uint32_t>(&out, 0x06054b50);
  Append<uint32_t>(&out, 0);
  Append<uint16_t>(&out, 0xFFFF);
  Append<uint16_t>(&out, 0xFFFF);
  Append<uint32_t>(&out, 0xFFFFFFFF);
  Append<uint32_t>(&out, 0xFFFFFFFF);
  Append<uint16_t>(&out, 0);
  return out;
}

TEST(MemoryTest, DirectoriesOfZipFiles) {
  ExpectBounded("million.pth", ZipOfNames(1'000'000, 9));
  ExpectBounded("many.pth", ZipOfNames(49'000, 9));
  ExpectBounded("named.pth", ZipOfNames(49'000, 120));
  ExpectBounded("long.pth", ZipOfNames(130, 60'000));
}

std::string Text(const std::string& text) {
  std::string out = "X";
  Append<uint32_t>(&out, text.size());
  return out + text;
}

// The pickle beside as many entries as an archive may have.
std::string ZipAround(const std::string& pickle) {
  std::string out;
  ZipWriter writer(&out, "r");
  EXPECT_TRUE(writer.Add("data.pkl", pickle).ok());
  for (int i = 0; i < 49'990; ++i) EXPECT_TRUE(writer.Add(absl::StrCat("data/", i), "1234").ok());
  EXPECT_TRUE(writer.Finish().ok());
  return out;
}

TEST(MemoryTest, ObjectsOfPickles) {
  const std::string tensor =
      absl::StrCat("ctorch._utils\n_rebuild_tensor_v2\n((", Text("storage"), "ctorch\nFloatStorage\n", Text("0"),
                   Text("cpu"), "K\x01tQK", std::string(1, 0), "))\x89", "ccollections\nOrderedDict\n)RtR");
  // Below what is refused, about there, and above.
  for (int count : {50'000, 150'000, 450'000}) {
    const auto expect = [count](const char* name, const std::string& front, const std::string& back,
                                const std::function<std::string(int)>& item) {
      std::string pickle = "\x80\x02" + front;
      for (int i = 0; i < count; ++i) pickle += item(i);
      ExpectBounded(absl::StrCat(name, count, ".pth"), ZipAround(pickle + back + "."));
    };
    expect("nones", "](", "e", [](int) { return "N"; });
    expect("stack", "", "", [](int) { return "N"; });
    expect("marks", "", "", [](int) { return "("; });
    expect("lists", "](", "e", [](int) { return "]"; });
    expect("appended", "]", "", [](int) {
      return "K\x01"
             "a";
    });
    // One object, many times: a pointer before it is written out, a value after.
    expect("shared", absl::StrCat("Nq", std::string(1, 0), std::string(1, '\x85'), "]("), "e\x86",
           [](int) { return std::string("h\0", 2); });
    expect("memo", "N", "", [](int i) {
      std::string put = "r";
      Append<uint32_t>(&put, i);
      return put;
    });
    expect("texts", "](", "e", [](int i) { return Text(absl::StrFormat("%030d", i)); });
    // What a state dict is made of: names of one tensor.
    expect("names", absl::StrCat(tensor, "q", std::string(1, 0), "}("), "u\x86",
           [](int i) { return absl::StrCat(Text(absl::StrCat(i)), absl::string_view("h\0", 2)); });
    expect("dict", absl::StrCat("}(", Text("first"), tensor, "q", std::string(1, 0)), "u",
           [](int i) { return absl::StrCat(Text(absl::StrCat(i)), absl::string_view("h\0", 2)); });
  }
}

TEST(MemoryTest, IndexesOfShards) {
  for (size_t size : {size_t{1} << 20, size_t{20} << 20}) {
    const auto expect = [size](const char* name, absl::string_view front, absl::string_view back,
                               const std::function<std::string(int)>& item) {
      ExpectBounded(absl::StrCat(name, size, ".index.json"), Filled(front, item, back, size));
    };
    expect("map", R"({"weight_map":{"a":"b")", "}}", [](int i) { return absl::StrFormat(",\"%x\":\"b\"", i); });
    expect("files", R"({"weight_map":{"a":"b")", "}}", [](int i) { return absl::StrFormat(",\"%x\":\"%x\"", i, i); });
    expect("arrays", R"({"weight_map":[[])", "]}", [](int) { return ",[]"; });
    expect("objects", R"({"weight_map":[{})", "]}", [](int) { return ",{}"; });
    expect("numbers", R"({"weight_map":[0)", "]}", [](int) { return ",0"; });
  }
}

}  // namespace
}  // namespace tec
