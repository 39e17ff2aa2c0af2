// Tensors as checkpoint files hold them: a type, a shape and dense little-endian bytes, without LibTorch. Everything
// that reads or writes a weight file speaks in these; torch_tensors.h turns them into at::Tensor and back.
//
//   StateDict weights;
//   TEC_RETURN_IF_ERROR(weights.Add("norm.weight", TensorView::Copy(DType::kFloat32, {4}, bytes)));
//   const TensorView* norm = weights.Find("norm.weight");   // nullptr if absent

#ifndef TEC_CHECKPOINT_TENSOR_VIEW_H_
#define TEC_CHECKPOINT_TENSOR_VIEW_H_

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace tec {

enum class DType { kBool, kUint8, kInt8, kInt16, kInt32, kInt64, kFloat16, kBFloat16, kFloat32, kFloat64 };

// Bytes of one element.
size_t DTypeSize(DType dtype);
// As safetensors spells it: "F32", "BF16", "BOOL", ...
absl::string_view DTypeName(DType dtype);
// InvalidArgument for a name that is none of ours.
absl::StatusOr<DType> DTypeFromName(absl::string_view name);

// A dense, row-major tensor whose bytes belong to somebody: a mapped file, a buffer, an at::Tensor. Copying a view
// copies no elements; `owner` keeps the bytes alive for as long as any copy lives. `bytes` is not necessarily aligned
// for its type: read elements with memcpy (or Values()).
struct TensorView {
  DType dtype = DType::kFloat32;
  // Every size is >= 0; the empty shape is one element.
  std::vector<int64_t> shape;
  // NumElements() * DTypeSize(dtype) bytes.
  absl::string_view bytes;
  std::shared_ptr<const void> owner;
  // True if `bytes` are pages of a file: ReleasePages() gives them back to the system.
  bool mapped = false;

  int64_t NumElements() const;
  // The elements as T, whose size must be that of the type: Values<float>() of a kFloat32 tensor.
  template <typename T>
  std::vector<T> Values() const;

  // A view that owns a copy of `bytes`, whose size must fit `shape`.
  static TensorView Copy(DType dtype, std::vector<int64_t> shape, absl::string_view bytes);
  static TensorView FromFloats(std::vector<int64_t> shape, const std::vector<float>& values);
};

// Same type, same shape, same bits (so a NaN equals itself and 0 differs from -0).
bool BitEqual(const TensorView& a, const TensorView& b);

// "F32[2,3]".
std::string Describe(const TensorView& tensor);

// Lets the system drop the memory pages behind a mapped tensor; the next access reads them from the file again. Called
// after a tensor has been copied, it keeps a load's peak at one copy of the weights. No effect on other tensors.
void ReleasePages(const TensorView& tensor);

// Number of elements of `shape`; InvalidArgument for a negative size, or where the product of the sizes that are not
// zero does not fit into int64.
absl::StatusOr<int64_t> CheckedNumElements(const std::vector<int64_t>& shape);

// Named tensors in order, as a state dict holds them. Names are unique.
class StateDict {
 public:
  using Entry = std::pair<std::string, TensorView>;

  // AlreadyExists if the name is taken.
  absl::Status Add(std::string name, TensorView tensor);
  // nullptr if there is none. Valid until the next Add().
  const TensorView* Find(absl::string_view name) const;

  size_t size() const { return entries_.size(); }
  bool empty() const { return entries_.empty(); }
  const std::vector<Entry>& entries() const { return entries_; }
  std::vector<Entry>::const_iterator begin() const { return entries_.begin(); }
  std::vector<Entry>::const_iterator end() const { return entries_.end(); }

 private:
  std::vector<Entry> entries_;
  std::unordered_map<std::string, size_t> index_;
};

// "" if both hold the same names in the same order with bit-equal tensors, else what differs first.
std::string FirstDifference(const StateDict& a, const StateDict& b);

// Implementation only below.

template <typename T>
std::vector<T> TensorView::Values() const {
  static_assert(!std::is_same<T, bool>::value, "std::vector<bool> has no bytes: ask for uint8_t");
  std::vector<T> values(bytes.size() / sizeof(T));
  if (!values.empty()) __builtin_memcpy(values.data(), bytes.data(), values.size() * sizeof(T));
  return values;
}

}  // namespace tec

#endif  // TEC_CHECKPOINT_TENSOR_VIEW_H_
