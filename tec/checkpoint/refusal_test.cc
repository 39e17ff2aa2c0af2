// Every file of the reference's collection that has to be refused, and what the refusal has to say.

#include <fstream>
#include <map>
#include <set>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tec/checkpoint/state_dict_file.h"

namespace tec {
namespace {

constexpr char kGoldens[] = "tec/testing/goldens/checkpoints/";

struct Refusal {
  const char *file, *message;
};

// One message a defect. Two files have the same only where they have the same defect in other clothes: a call of
// os.system, compressed entries.
constexpr Refusal kRefusals[] = {
    {"os_system.pth", "wants \"posix.system\""},
    {"builtins_eval.pth", "wants \"__builtin__.eval\""},
    {"builtins_exec_getattr.pth", "wants \"__builtin__.getattr\""},
    {"ordereddict_state.pth", "wants \"posix.system\", which is not among the names that weights need; it is not run"},
    {"subprocess.pth", "wants \"commands.call\""},
    {"inst_opcode.pth", "operation STRING (0x53)"},
    {"stack_global.pth", "wants \"posix.system\", which is not among the names that weights need; it is not run"},
    {"raw_pickle.pth", "bare pickle"},
    {"legacy_os_system.pth", "wants \"posix.system\", which is not among the names that weights need; it is not run"},
    {"truncated_half.pth", "the file is cut: no zip directory at its end"},
    {"truncated_one_byte.pth", "cut inside its last record"},
    {"truncated_front.pth", "its front is cut"},
    {"legacy_truncated.pth", "cut inside storage"},
    {"legacy_truncated_pickle.pth", "the pickle ends inside an item of 9 bytes"},
    {"bad_crc.pth", "the bytes of entry \"archive/data/0\" do not have its CRC"},
    {"storage_too_short.pth", "a tensor of 12 elements in storage \"0\", which has 6"},
    {"offset_too_far.pth", "a tensor at offset 3 reaches element 6"},
    {"negative_size.pth", "size is negative: -2"},
    {"negative_stride.pth", "stride is negative: -3"},
    {"negative_offset.pth", "offset is negative: -1"},
    {"stride_rank_mismatch.pth", "not as many strides as sizes"},
    {"huge_size.pth", "expanded to 4611686018427387904 elements by its strides is far larger than the file"},
    {"size_product_overflow.pth", "the product of the sizes overflows ("},
    {"stride_overflow.pth", "sizes and strides overflow"},
    {"huge_storage.pth", "claims 1099511627776 elements, more than the file has bytes"},
    {"storage_numel_mismatch.pth", "should hold 7 elements of 4 bytes and has 24 bytes"},
    {"negative_storage.pth", "storage \"0\" of -1 elements"},
    {"missing_storage.pth", "no entry \"archive/data/9\""},
    {"storage_key_path.pth", "no entry \"archive/data/../data.pkl\""},
    {"size_is_text.pth", "size is a text"},
    {"float_size.pth", "size is a float"},
    {"unknown_storage_type.pth", "wants \"torch.FlawStorages\""},
    {"missing_pickle.pth", "without \"archive/data.pkl\""},
    {"duplicate_entry.pth", "entry \"archive/data/0\" occurs twice"},
    {"pickle_no_stop.pth", "ends without STOP"},
    {"pickle_unknown_opcode.pth", "operation unknown (0xff)"},
    {"pickle_bad_memo.pth", "memo slot 99 was never set"},
    {"pickle_underflow.pth", "takes from an empty stack"},
    {"pickle_no_mark.pth", "a mark that was never set"},
    {"pickle_huge_string.pth", "inside an item of 2147483647 bytes"},
    {"pickle_negative_string.pth", "operation BINSTRING (0x54)"},
    {"pickle_huge_long.pth", "operation LONG4 (0x8b)"},
    {"pickle_memo_2_31.pth", "no tensors"},
    {"pickle_deep.pth", "operation LIST (0x6c)"},
    {"pickle_deep_tuples.pth", "far more memory than weights need"},
    {"pickle_not_tensors.pth", "a int, not a dict of tensors"},
    {"deflated.pth", "\"archive/data.pkl\" is compressed"},
    {"zip_claims_4gb.pth", "its header has another size"},
    {"zip_bomb_32mb.pth", "\"archive/data.pkl\" is compressed, which torch.save never does"},
    {"zip_directory_offset.pth", "directory is not where the end record says"},
    {"zip_directory_count.pth", "cannot hold the 65535 entries it claims"},
    {"empty.pth", "the file is empty"},
    {"html.pth", "perhaps a web page"},
    {"random.pth", "neither a zip nor a legacy file"},
    {"overlap.safetensors", "overlap at data byte 8"},
    {"hole.safetensors", "data bytes 8 to 16 belong to no tensor"},
    {"tail.safetensors", "16 bytes follow the last tensor"},
    {"header_beyond_file.safetensors", "header length 100000 is beyond the file"},
    {"header_huge.safetensors", "header length 9223372036854775813 is above the limit"},
    {"header_not_utf8.safetensors", "not UTF-8"},
    {"header_not_json.safetensors", "ends inside its JSON"},
    {"header_array.safetensors", "not a JSON object"},
    {"header_deep.safetensors", "unexpected array"},
    {"duplicate_key.safetensors", "name \"a\" occurs twice"},
    {"beyond_data.safetensors", "data ends at 16, beyond the file"},
    {"reversed.safetensors", "data ends at 0, before its begin at 8"},
    {"negative_offset.safetensors", "data_offsets has the negative number -8"},
    {"shape_mismatch.safetensors", "F32[3] does not take 8 bytes"},
    {"negative_shape.safetensors", "shape has the negative number -2"},
    {"shape_overflow.safetensors", "tensor \"a\": the product of the sizes overflows"},
    {"shape_fraction.safetensors", "shape has the number 2.5"},
    {"unknown_dtype.safetensors", "unknown element type \"Q99\""},
    {"missing_offsets.safetensors", "lacks dtype, shape or data_offsets"},
    {"metadata_number.safetensors", "is a number, not text"},
    {"seven_bytes.safetensors", "a file of 7 bytes"},
    {"empty.safetensors", "a file of 0 bytes"},
};

TEST(RefusalTest, EachFileIsRefusedWithItsOwnMessage) {
  std::ifstream stream(absl::StrCat(kGoldens, "index.json"));
  const nlohmann::json index = nlohmann::json::parse(stream);
  std::map<std::string, std::string> expected;
  for (const Refusal& refusal : kRefusals) expected[absl::StrCat("hostile/", refusal.file)] = refusal.message;
  EXPECT_EQ(index["refuse"].size(), expected.size());
  // Messages without what differs from file to file.
  std::map<std::string, std::string> files_of;
  std::set<std::string> alike;
  for (const auto& item : index["refuse"]) {
    const std::string file = item["file"], path = absl::StrCat(kGoldens, file);
    ASSERT_EQ(expected.count(file), 1) << file << " has no row above";
    const absl::Status status = ReadStateDict(path).status();
    EXPECT_TRUE(status.code() == absl::StatusCode::kInvalidArgument || status.code() == absl::StatusCode::kDataLoss)
        << status;
    std::string message(status.message());
    EXPECT_TRUE(absl::StrContains(message, expected[file])) << expected[file] << " | " << message;
    ASSERT_TRUE(absl::StartsWith(message, path)) << message;
    message = message.substr(path.size());
    if (const size_t place = message.find(" (pickle byte"); place != std::string::npos) message.resize(place);
    const auto [first, added] = files_of.emplace(message, item["file"]);
    if (!added) alike.insert(absl::StrCat(first->second, " ", file));
  }
  EXPECT_EQ(alike, (std::set<std::string>{"hostile/os_system.pth hostile/ordereddict_state.pth",
                                          "hostile/os_system.pth hostile/stack_global.pth",
                                          "hostile/os_system.pth hostile/legacy_os_system.pth",
                                          "hostile/deflated.pth hostile/zip_bomb_32mb.pth"}));
}

}  // namespace
}  // namespace tec
