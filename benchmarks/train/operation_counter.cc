#include "benchmarks/train/operation_counter.h"

#include <algorithm>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <utility>

#include "ATen/core/Tensor.h"
#include "ATen/core/dispatch/Dispatcher.h"
#include "ATen/record_function.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "tec/base/logging.h"

namespace tec {

const char kProducts[] = "products", kAttention[] = "attention", kOptimizer[] = "update and gradient norm",
           kHostWaits[] = "numbers read by the host";

namespace {

// tec/nn/low_linear.cc: a product that gives float32 from operands of low precision.
constexpr char kWeightGradient[] = "tec::weight_gradient";
// tec/nn/product.cc: x weight^T, also with what comes after it.
constexpr char kProductGelu[] = "tec::product_gelu";
bool IsLinearProduct(absl::string_view name) { return name == "tec::product" || name == kProductGelu; }
// tec/nn/head_product.cc: a b^T of every image and head.
constexpr char kHeadProduct[] = "tec::head_product";
constexpr char kAdamW[] = "tec::adamw";                 // tec/optim/adamw_update.cc
constexpr char kGradientNorm[] = "tec::gradient_norm";  // tec/optim/gradients.cc

// Of a tensor, so that none is kept alive.
struct Operand : CountedTensor {
  int64_t bytes = 0;    // Distinct elements times their size.
  int64_t numel = 0;    // Elements as its shape says.
  int64_t element = 0;  // Bytes of one.
  bool floating = false;
};

Operand OperandOf(const at::Tensor& tensor) {
  Operand operand;
  operand.sizes = tensor.sizes().vec();
  operand.strides = tensor.strides().vec();
  operand.type = tensor.scalar_type();
  operand.numel = tensor.numel();
  operand.element = static_cast<int64_t>(tensor.element_size());
  operand.floating = tensor.is_floating_point();
  operand.bytes = operand.element;
  for (int64_t d = 0; d < tensor.dim(); ++d) {
    if (tensor.stride(d) != 0 || tensor.size(d) == 0) operand.bytes *= tensor.size(d);
  }
  return operand;
}

void Collect(const c10::IValue& value, std::vector<Operand>* operands, std::vector<size_t>* list_lengths) {
  if (value.isTensor()) {
    if (value.toTensor().defined()) operands->push_back(OperandOf(value.toTensor()));
  } else if (value.isTensorList()) {
    list_lengths->push_back(value.toTensorVector().size());
    for (const at::Tensor& tensor : value.toTensorVector()) operands->push_back(OperandOf(tensor));
  }
}

// An operation on its way.
struct Frame : at::ObserverContext {
  std::string name;
  bool own_function = false;  // Of this project.
  bool whole = false;         // Has a kernel: what it calls does not count, unless that is the same operation again.
  bool free = false;          // A view or an allocation.
  bool in_place = false;      // Its first operand is its result.
  int64_t kernels = 1;
  std::vector<Operand> inputs, outputs;
  std::vector<size_t> list_lengths;
  std::vector<CountedOperation> children;
};

thread_local std::vector<Frame*> frames;
std::mutex mutex;
std::vector<CountedOperation> counted;

// LibTorch's multi_tensor_apply: launches for lists of tensors of these sizes, `lists` of them side by side.
int64_t ListLaunches(const std::vector<int64_t>& sizes, size_t lists) {
  constexpr int64_t kChunk = 65536, kBlocks = 320;
  constexpr int64_t kMostTensors[] = {110, 64, 48, 36, 30};
  const int64_t most = kMostTensors[std::min<size_t>(lists, 5) - 1];
  int64_t launches = 0, tensors = 0, blocks = 0;
  for (const int64_t size : sizes) {
    ++tensors;
    for (int64_t left = (size + kChunk - 1) / kChunk; left > 0; --left) {
      if (++blocks < kBlocks && !(tensors == most && left == 1)) continue;
      ++launches;
      blocks = 0;
      tensors = left == 1 ? 0 : 1;  // A tensor that goes on stays in the next launch.
    }
  }
  return launches + (blocks > 0 ? 1 : 0);
}

bool StartsWithAny(absl::string_view name, std::initializer_list<const char*> prefixes) {
  return std::any_of(prefixes.begin(), prefixes.end(),
                     [&](const char* prefix) { return absl::StartsWith(name, prefix); });
}

// Whether floating operands of two sizes meet in one operation: LibTorch's CUDA half converts element by element then.
bool MixesTypes(const Frame& frame) {
  std::set<int64_t> sizes;
  for (const Operand& operand : frame.inputs) {
    // A scalar's type does not count.
    if (operand.floating && !operand.sizes.empty()) sizes.insert(operand.element);
  }
  return sizes.size() > 1;
}

std::string KindOf(const Frame& frame) {
  static const auto& kinds = *new std::map<std::string, std::string>{
      {"mm", kProducts},
      {"addmm", kProducts},
      {"bmm", kProducts},
      {"baddbmm", kProducts},
      {"gelu", "GELU"},
      {"gelu_backward", "GELU"},
      {"native_layer_norm", "layer norm"},
      {"native_layer_norm_backward", "layer norm backward"},
      {"gather", "gather, cat, copies"},
      {"index_select", "gather, cat, copies"},
      {"cat", "gather, cat, copies"},
      {"flip", "gather, cat, copies"},
      {"scatter_add", "scatter"},
      {"scatter_add_", "scatter"},
      {"scatter_", "scatter"},
      {"zero_", "fills"},
      {"fill_", "fills"},
      {"sum", "sums and means"},
      {"mean", "sums and means"},
      {"var_mean", "sums and means"},
      {"_foreach_copy_", "casts down"},
      {"_local_scalar_dense", kHostWaits},
      {"_fused_adamw_", kOptimizer},
      {"linalg_vector_norm", kOptimizer},
  };
  if (frame.name == kWeightGradient || frame.name == kHeadProduct || IsLinearProduct(frame.name)) return kProducts;
  if (frame.name == kAdamW || frame.name == kGradientNorm) return kOptimizer;
  if (frame.own_function) return "fused functions of this project";
  const auto found = kinds.find(frame.name);
  if (found != kinds.end()) return found->second;
  if (absl::StartsWith(frame.name, "_foreach_")) return kOptimizer;
  if (absl::StrContains(frame.name, "scaled_dot_product")) return kAttention;
  if (frame.name == "copy_") {
    const Operand &to = frame.inputs[0], &from = frame.inputs[1];
    if (to.element == from.element) return "gather, cat, copies";
    return to.element < from.element ? "casts down" : "casts up";
  }
  if (StartsWithAny(frame.name, {"add", "sub", "mul", "div"})) {
    return MixesTypes(frame) ? "arithmetic on two types" : "arithmetic on one type";
  }
  return "other";
}

double FlopsOf(const Frame& frame) {
  const std::vector<Operand>& in = frame.inputs;
  const auto product = [](const Operand& a, const Operand& b) {
    return 2.0 * static_cast<double>(a.numel) * static_cast<double>(b.sizes.back());
  };
  if (frame.name == "mm" || frame.name == "bmm" || frame.name == kWeightGradient) return product(in[0], in[1]);
  if (frame.name == "addmm" || frame.name == "baddbmm") return product(in[1], in[2]);
  if (IsLinearProduct(frame.name)) {
    return 2.0 * static_cast<double>(in[0].numel) * static_cast<double>(in[1].sizes.front());
  }
  if (frame.name == kHeadProduct) {
    return 2.0 * static_cast<double>(in[0].numel) * static_cast<double>(in[1].sizes[2]);
  }
  if (absl::StrContains(frame.name, "scaled_dot_product")) {
    const bool backward = absl::StrContains(frame.name, "backward");
    const Operand &q = in[backward ? 1 : 0], &k = in[backward ? 2 : 1];
    return (backward ? 2.5 : 1) * 4 * static_cast<double>(q.numel) * static_cast<double>(k.sizes[2]);
  }
  return 0;
}

int64_t Bytes(const std::vector<Operand>& operands, size_t from = 0) {
  int64_t bytes = 0;
  for (size_t i = from; i < operands.size(); ++i) bytes += operands[i].bytes;
  return bytes;
}

CountedOperation Count(const Frame& frame) {
  CountedOperation result;
  result.name = frame.name;
  result.kind = KindOf(frame);
  result.kernels = frame.kernels;
  result.flops = FlopsOf(frame);
  result.inputs.assign(frame.inputs.begin(), frame.inputs.end());
  const std::vector<Operand>&in = frame.inputs, &out = frame.outputs;
  result.bytes_read = Bytes(in);
  result.bytes_written = Bytes(out);
  if (frame.name == kGradientNorm) {
    // One function on a CPU; on a GPU _foreach_norm, stack and linalg_vector_norm.
    std::vector<int64_t> sizes;
    for (const Operand& gradient : in) sizes.push_back(gradient.numel);
    result.kernels = ListLaunches(sizes, 1) + 3;
  }
  if (frame.own_function) return result;
  const std::string& name = frame.name;
  if (name == "copy_") {
    result.bytes_read = in[1].bytes;
  } else if (name == "zero_" || name == "fill_") {
    result.bytes_read = 0;
  } else if (name == "gather" || name == "index_select") {
    result.bytes_read = out[0].bytes + in[1].bytes;
  } else if (StartsWithAny(name, {"scatter_add", "scatter_"})) {
    // The place is read and written for each element of the source, beside what copies the rest of it.
    const Operand& source = in.back();
    const bool copies = name == "scatter_add";
    result.bytes_read = in[1].bytes + source.bytes + source.numel * in[0].element + (copies ? in[0].bytes : 0);
    result.bytes_written = source.numel * in[0].element + (copies ? out[0].bytes : 0);
    result.kernels = copies ? 2 : 1;
  } else if (name == "native_layer_norm_backward") {
    result.bytes_read += in[0].bytes + in[1].bytes;
    result.kernels = 3;
  } else if (name == "sort") {
    result.kernels = 4;
  } else if (absl::StrContains(name, "scaled_dot_product") && absl::StrContains(name, "backward")) {
    result.kernels = 3;
  } else if (name == "_local_scalar_dense") {
    result.kernels = 0;
    result.bytes_read = 0;
  } else if (name == "_fused_adamw_" || absl::StartsWith(name, "_foreach_")) {
    std::vector<int64_t> sizes;
    for (size_t i = 0; i < (frame.list_lengths.empty() ? 0 : frame.list_lengths[0]); ++i) sizes.push_back(in[i].numel);
    const bool norm = name == "_foreach_norm";
    result.kernels = ListLaunches(sizes, frame.list_lengths.size()) + (norm ? 1 : 0);
    // Parameters, both moments and the step are written as well; a list in place its own.
    if (name == "_fused_adamw_") {
      const size_t tensors = sizes.size();
      result.bytes_written = 0;
      for (const size_t list : {0, 2, 3}) {
        for (size_t i = 0; i < tensors; ++i) result.bytes_written += in[list * tensors + i].bytes;
      }
    } else if (frame.in_place) {
      result.bytes_written = 0;
      for (size_t i = 0; i < sizes.size(); ++i) result.bytes_written += in[i].bytes;
      if (name == "_foreach_copy_") result.bytes_read = Bytes(in, sizes.size());
    }
  }
  return result;
}

// On a GPU GELU is a kernel after the product: that of its result.
CountedOperation GeluAfter(const Frame& product) {
  CountedOperation result;
  result.name = "gelu";
  result.kind = "GELU";
  result.kernels = 1;
  result.inputs.assign(product.outputs.begin(), product.outputs.end());
  result.bytes_read = result.bytes_written = Bytes(product.outputs);
  return result;
}

// Whether all tensors that it returns are views of what it is given, or it makes no values at all.
bool IsFree(const c10::FunctionSchema& schema, absl::string_view name) {
  if (StartsWithAny(name, {"empty", "new_empty", "is_", "size", "stride", "_has_", "set_", "detach", "_version"})) {
    return true;
  }
  if (name == "_local_scalar_dense" || absl::StartsWith(name, "_foreach_")) return false;
  for (const c10::Argument& argument : schema.arguments()) {
    if (argument.alias_info() != nullptr && argument.alias_info()->isWrite()) return false;
  }
  if (schema.returns().empty()) return true;
  for (const c10::Argument& result : schema.returns()) {
    const std::string type = result.type()->str();
    if (absl::StrContains(type, "Tensor") && result.alias_info() == nullptr) return false;
  }
  return true;
}

// Whether it has a kernel of its own on a CPU.
bool HasKernel(const c10::FunctionSchema& schema, absl::string_view name) {
  // One kernel serves every device here; and the CPU goes through a list one by one, which a GPU does not.
  if (name == "copy_" || absl::StartsWith(name, "_foreach_")) return true;
  const auto handle = c10::Dispatcher::singleton().findSchema({schema.name(), schema.overload_name()});
  return handle.has_value() && handle->hasKernelForDispatchKey(c10::DispatchKey::CPU);
}

std::unique_ptr<at::ObserverContext> Begin(const at::RecordFunction& function) {
  auto frame = std::make_unique<Frame>();
  absl::string_view name = function.name();
  const c10::ArrayRef<const c10::IValue> inputs = function.inputs();
  frame->own_function = absl::StartsWith(name, "tec::");
  if (frame->own_function) {
    frame->whole = true;
    frame->kernels = inputs[0].toInt();
  } else if (const auto schema = function.operator_schema(); schema.has_value()) {
    absl::ConsumePrefix(&name, "aten::");
    frame->free = IsFree(*schema, name);
    frame->whole = !frame->free && HasKernel(*schema, name);
    frame->in_place = absl::EndsWith(name, "_");
  } else {
    frame->free = true;  // A scope that somebody named.
  }
  frame->name = std::string(name);
  if (frame->whole) {
    for (const c10::IValue& input : inputs) Collect(input, &frame->inputs, &frame->list_lengths);
  }
  frames.push_back(frame.get());
  return frame;
}

void End(const at::RecordFunction& function, at::ObserverContext* context) {
  Frame* frame = static_cast<Frame*>(context);
  TEC_CHECK(!frames.empty() && frames.back() == frame) << "operations end in another order than they began";
  frames.pop_back();
  const bool called_itself = std::any_of(frame->children.begin(), frame->children.end(),
                                         [&](const CountedOperation& child) { return child.name == frame->name; });
  if (frame->whole && !called_itself) {
    std::vector<size_t> unused;
    for (const c10::IValue& output : function.outputs()) Collect(output, &frame->outputs, &unused);
    CountedOperation operation = Count(*frame);
    frame->children.clear();
    if (operation.bytes_read + operation.bytes_written > 0 || operation.kind == kHostWaits) {
      frame->children.push_back(std::move(operation));
    }
    if (frame->name == kProductGelu) frame->children.push_back(GeluAfter(*frame));
  }
  if (frames.empty()) {
    const std::lock_guard<std::mutex> lock(mutex);
    std::move(frame->children.begin(), frame->children.end(), std::back_inserter(counted));
  } else {
    std::move(frame->children.begin(), frame->children.end(), std::back_inserter(frames.back()->children));
  }
}

}  // namespace

OperationCounter::OperationCounter() {
  counted.clear();
  handle_ = at::addGlobalCallback(at::RecordFunctionCallback(Begin, End)
                                      .needsInputs(true)
                                      .needsOutputs(true)
                                      .scopes({at::RecordScope::FUNCTION, at::RecordScope::USER_SCOPE}));
}

OperationCounter::~OperationCounter() { at::removeCallback(handle_); }

std::vector<CountedOperation> OperationCounter::Take() {
  const std::lock_guard<std::mutex> lock(mutex);
  return std::exchange(counted, {});
}

}  // namespace tec
