#include "tec/checkpoint/tensor_view.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tec/base/logging.h"

namespace tec {
namespace {

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "weight files are little-endian and are used in place");

struct DTypeRow {
  DType dtype;
  size_t size;
  absl::string_view name;
};

constexpr DTypeRow kDTypes[] = {
    {DType::kBool, 1, "BOOL"},   {DType::kUint8, 1, "U8"},      {DType::kInt8, 1, "I8"},
    {DType::kInt16, 2, "I16"},   {DType::kInt32, 4, "I32"},     {DType::kInt64, 8, "I64"},
    {DType::kFloat16, 2, "F16"}, {DType::kBFloat16, 2, "BF16"}, {DType::kFloat32, 4, "F32"},
    {DType::kFloat64, 8, "F64"},
};

const DTypeRow& RowOf(DType dtype) {
  for (const DTypeRow& row : kDTypes) {
    if (row.dtype == dtype) return row;
  }
  TEC_CHECK(false) << "no such type: " << static_cast<int>(dtype);
  return kDTypes[0];
}

}  // namespace

size_t DTypeSize(DType dtype) { return RowOf(dtype).size; }
absl::string_view DTypeName(DType dtype) { return RowOf(dtype).name; }

absl::StatusOr<DType> DTypeFromName(absl::string_view name) {
  for (const DTypeRow& row : kDTypes) {
    if (row.name == name) return row.dtype;
  }
  // Of the format, and no type of weights.
  for (absl::string_view other : {"U16", "U32", "U64", "C64", "F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ",
                                  "F8_E5M2FNUZ", "F4", "F6_E2M3", "F6_E3M2"}) {
    if (name != other) continue;
    const bool integer = name[0] == 'U';
    return absl::InvalidArgumentError(absl::StrCat(
        "elements of type ", name, " are not read: only F64, F32, F16, BF16, I64, I32, I16, I8, U8 and BOOL are. In ",
        "Python, sd = safetensors.torch.load_file(FILE) and safetensors.torch.save_file({k: ",
        name == "C64" ? "torch.view_as_real(v) if v.is_complex() else v"
        : integer     ? "v.long()"
                      : "v.float()",
        integer ? " if v.dtype in (torch.uint16, torch.uint32, torch.uint64) else v" : "",
        " for k, v in sd.items()}, NEW) make a file that is"));
  }
  return absl::InvalidArgumentError(absl::StrCat("unknown element type \"", name.substr(0, 100), "\""));
}

absl::StatusOr<int64_t> CheckedNumElements(const std::vector<int64_t>& shape) {
  int64_t product = 1;
  bool empty = false;
  for (int64_t size : shape) {
    if (size < 0) return absl::InvalidArgumentError(absl::StrCat("negative size ", size));
    if (size == 0) {
      empty = true;
    } else if (__builtin_mul_overflow(product, size, &product)) {
      return absl::InvalidArgumentError("the product of the sizes overflows");
    }
  }
  return empty ? 0 : product;
}

int64_t TensorView::NumElements() const {
  int64_t product = 1;
  for (int64_t size : shape) product *= size;
  return product;
}

TensorView TensorView::Copy(DType dtype, std::vector<int64_t> shape, absl::string_view bytes) {
  auto buffer = std::make_shared<std::string>(bytes);
  TensorView view;
  view.dtype = dtype;
  view.shape = std::move(shape);
  view.bytes = *buffer;
  view.owner = std::move(buffer);
  TEC_CHECK_EQ(view.NumElements() * DTypeSize(dtype), bytes.size());
  return view;
}

TensorView TensorView::FromFloats(std::vector<int64_t> shape, const std::vector<float>& values) {
  return Copy(DType::kFloat32, std::move(shape),
              absl::string_view(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)));
}

bool BitEqual(const TensorView& a, const TensorView& b) {
  return a.dtype == b.dtype && a.shape == b.shape && a.bytes == b.bytes;
}

std::string Describe(const TensorView& tensor) {
  return absl::StrCat(DTypeName(tensor.dtype), "[", absl::StrJoin(tensor.shape, ","), "]");
}

void ReleasePages(const TensorView& tensor) {
  if (!tensor.mapped) return;
  // Only pages that lie wholly inside: a neighbour may be in use. Dropping clean pages of a private mapping loses
  // nothing.
  static const uintptr_t page = sysconf(_SC_PAGESIZE);
  const uintptr_t begin = reinterpret_cast<uintptr_t>(tensor.bytes.data());
  const uintptr_t first = (begin + page - 1) / page * page;
  const uintptr_t last = (begin + tensor.bytes.size()) / page * page;
  if (last > first) madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED);
}

absl::Status StateDict::Add(std::string name, TensorView tensor) {
  if (!index_.emplace(name, entries_.size()).second) {
    return absl::AlreadyExistsError(absl::StrCat("\"", name, "\" occurs twice"));
  }
  entries_.emplace_back(std::move(name), std::move(tensor));
  return absl::OkStatus();
}

const TensorView* StateDict::Find(absl::string_view name) const {
  const auto found = index_.find(std::string(name));
  return found == index_.end() ? nullptr : &entries_[found->second].second;
}

std::string FirstDifference(const StateDict& a, const StateDict& b) {
  for (size_t i = 0; i < a.size() || i < b.size(); ++i) {
    if (i >= a.size()) return absl::StrCat("\"", b.entries()[i].first, "\" is only in the second");
    if (i >= b.size()) return absl::StrCat("\"", a.entries()[i].first, "\" is only in the first");
    const auto& [name, x] = a.entries()[i];
    const auto& [other_name, y] = b.entries()[i];
    if (name != other_name) return absl::StrCat("name ", i, " is \"", name, "\" and \"", other_name, "\"");
    if (x.dtype != y.dtype || x.shape != y.shape) {
      return absl::StrCat("\"", name, "\" is ", Describe(x), " and ", Describe(y));
    }
    for (size_t k = 0; k < x.bytes.size(); ++k) {
      if (x.bytes[k] != y.bytes[k]) return absl::StrCat("\"", name, "\" differs at byte ", k);
    }
  }
  return "";
}

}  // namespace tec
