// Pickles made by hand, and what is odd about them, through ParsePth.

#include "tec/checkpoint/pickle.h"

#include <cstdint>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tec/checkpoint/pth.h"
#include "tec/checkpoint/zip_file.h"

namespace tec {
namespace {

std::string Zip(const std::string& pickle, const std::string& storage = std::string(24, 'x'),
                const std::string& byteorder = "little", const std::string& more = "") {
  std::string out;
  ZipWriter writer(&out, "r");
  EXPECT_TRUE(writer.Add("data.pkl", pickle).ok());
  EXPECT_TRUE(writer.Add("data/0", storage).ok());
  EXPECT_TRUE(writer.Add("byteorder", byteorder).ok());
  if (!more.empty()) {
    EXPECT_TRUE(writer.Add(more, "").ok());
  }
  EXPECT_TRUE(writer.Finish().ok());
  return out;
}

absl::Status ParsePickle(const std::string& pickle) { return ParsePth(MappedFile::FromBytes(Zip(pickle))).status(); }

std::string U(const std::string& text) {
  const uint32_t size = text.size();
  return absl::StrCat("X", absl::string_view(reinterpret_cast<const char*>(&size), 4), text);
}

const std::string kProto("\x80\x02", 2);
const std::string kStorage = absl::StrCat("(", U("storage"), "ctorch\nFloatStorage\n", U("0"), U("cpu"), "K\x06tQ");
const std::string kHooks = "ccollections\nOrderedDict\n)R";

TEST(PickleTest, HandMadeTensorsAreRead) {
  const auto root = ParsePth(MappedFile::FromBytes(Zip(absl::StrCat(
      kProto, "ctorch._utils\n_rebuild_tensor_v2\n(", kStorage, "K\x01K\x02\x85K\x02\x85\x89", kHooks, "tR."))));
  ASSERT_TRUE(root.ok()) << root.status();
  EXPECT_EQ(root->Describe(), "tensor F32[2]");
}

TEST(PickleTest, StoragesMustHaveTheirSize) {
  const std::string pickle = absl::StrCat(kProto, "ctorch._utils\n_rebuild_tensor_v2\n(", kStorage,
                                          "K\x01K\x02\x85K\x02\x85\x89", kHooks, "tR.");
  for (size_t size : {0, 20, 23, 25, 28}) {
    const absl::Status status = ParsePth(MappedFile::FromBytes(Zip(pickle, std::string(size, 'x')))).status();
    EXPECT_TRUE(absl::StrContains(status.message(), "should hold 6 elements")) << size << ": " << status;
  }
}

TEST(PickleTest, WhatIsOddIsRefused) {
  // Each level holds the one before ten times: 10^40 items if written out.
  std::string bomb = kProto + "]";
  for (int i = 0; i < 40; ++i) {
    bomb += "q";
    bomb.push_back(static_cast<char>(i));
    bomb += "](";
    for (int k = 0; k < 10; ++k) {
      bomb += "h";
      bomb.push_back(static_cast<char>(i));
    }
    bomb += "e";
    // The level before is still below on the stack: make a list of both.
    bomb += "\x86";
  }
  bomb += ".";
  const std::string tensor = absl::StrCat("ctorch._utils\n_rebuild_tensor_v2\n");
  const struct {
    std::string pickle;
    const char* message;
  } cases[] = {
      {kProto + "K\x01" + U("a") + "K\x02s.", "SETITEM on an int"},
      {kProto + "](" + U("a") + "u.", "SETITEM on a list"},
      {kProto + "}(" + U("a") + "u.", "key without a value"},
      {kProto + "}" + U("a") + "NsK\x01N" + ".", "left over"},
      {kProto + "}(" + U("a") + "N" + U("a") + "Nu.", "occurs twice"},
      {kProto + "}]Ns.", "a list as the key"},
      {kProto + kStorage + "}b.", "BUILD of a storage"},
      {kProto + kStorage + ".", "storage outside"},
      {kProto + "cargparse\nNamespace\n)R.", "call of argparse.Namespace"},
      {kProto + "ctorch\nFloatStorage\n)R.", "call of torch.FloatStorage"},
      {kProto + "ccollections\nOrderedDict\n)\x81.", "NEWOBJ"},
      {kProto + tensor + "(" + kStorage + "K\x01tR.", "arguments"},
      {kProto + tensor + "(K\x01K\x01K\x02\x85K\x02\x85\x89" + kHooks + "tR.", "a tensor in an int"},
      {kProto + tensor + "(" + kStorage + "K\x01K\x02K\x02\x89" + kHooks + "tR.", "no tuple"},
      {kProto + tensor + "(" + kStorage + "K\x01K\x03\x85K\x03\x85\x89" + kHooks + "tR.", "reaches element 7"},
      {kProto + "(" + U("module") + "tQ.", "save the state dict"},
      {kProto + "K\x01Q.", "persistent id"},
      {kProto + "X\xff\xff\xff\xff.", "inside an item"},
      {kProto + "X\x01" + std::string(3, '\0') + "\xff.", "UTF-8"},
      {kProto + "\x8a\x11" + std::string(17, 'x') + ".", "an integer of 17 bytes"},
      {kProto + "]q" + std::string(1, '\0') + "h" + std::string(1, '\0') + "a.", "nested deeper"},
      {kProto + "N.N", "bytes follow"},
      {bomb, "memory"},
      {std::string("\x80\x01N.", 4), "protocol 1"},
      {kProto + "0.", "POP"},
      // Types that weights do not have.
      {kProto + "(" + U("storage") + "ctorch\nComplexFloatStorage\n" + U("0") + U("cpu") + "K\x06tQ.",
       "tensors of type complex64 are not read"},
      {kProto + "ctorch._utils\n_rebuild_tensor_v3\n((" + U("storage") + "ctorch\nUntypedStorage\n" + U("0") +
           U("cpu") + "K\x18tQK\x01K\x02\x85K\x02\x85\x89" + kHooks + "ctorch\nfloat8_e4m3fn\ntR.",
       "tensors of type float8_e4m3fn are not read"},
      {kProto + "ctorch._utils\n_rebuild_tensor_v3\n(K\x01tR.", "wrong arguments"},
  };
  for (const auto& c : cases) {
    const absl::Status status = ParsePickle(c.pickle);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << c.message;
    EXPECT_TRUE(absl::StrContains(status.message(), c.message)) << c.message << ": " << status;
  }
}

TEST(PickleTest, OtherContainersAreRefusedByName) {
  const auto message = [](std::string bytes) {
    return std::string(ParsePth(MappedFile::FromBytes(std::move(bytes))).status().message());
  };
  std::string tar(512, '\0');
  tar.replace(257, 5, "ustar");
  EXPECT_TRUE(absl::StrContains(message(tar), "tar format"));
  EXPECT_TRUE(absl::StrContains(message(Zip(kProto + "}.", "", "little", "constants.pkl")), "TorchScript"));
  // PyTorch compresses the code in it; what the archive is matters more than that.
  std::string script = Zip(kProto + "}.", "", "little", "constants.pkl");
  const size_t entry = script.rfind("r/constants.pkl") - 46;
  ASSERT_EQ(script.substr(entry, 4), "PK\x01\x02");
  script[entry + 10] = 8;
  EXPECT_TRUE(absl::StrContains(message(script), "TorchScript")) << message(script);
  EXPECT_TRUE(absl::StrContains(message(Zip(kProto + "}.", "", "big")), "big-endian"));
  EXPECT_TRUE(absl::StrContains(message("version https://git-lfs.github.com/spec/v1"), "git lfs pull"));
  EXPECT_TRUE(absl::StrContains(message("x" + Zip(kProto + "}.")), "has something before it"));
  EXPECT_TRUE(absl::StrContains(message("x" + Zip(kProto + "}.") + "x"), "neither"));
}

}  // namespace
}  // namespace tec
