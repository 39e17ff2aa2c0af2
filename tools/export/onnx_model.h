// An ONNX model in the making: nodes, weights in float32 or float16, and the file, or the two files, that it becomes.

#ifndef TEC_TOOLS_EXPORT_ONNX_MODEL_H_
#define TEC_TOOLS_EXPORT_ONNX_MODEL_H_

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "onnx/onnx.pb.h"
#include "tec/checkpoint/tensor_view.h"

namespace tec {

class OnnxModel {
 public:
  using Shape = std::vector<int64_t>;
  using Attribute = std::pair<std::string, std::vector<int64_t>>;

  // protobuf's limit of 2 GiB, less what is no weight.
  static constexpr int64_t kMostBytes = (int64_t{1} << 31) - (int64_t{16} << 20);
  static constexpr char kDataSuffix[] = ".data";

  // dtype: kFloat32 or kFloat16, of every weight and of what is computed with them; inputs and outputs are float32.
  explicit OnnxModel(DType dtype);

  onnx::ModelProto& proto() { return proto_; }

  // Each adds what it is named after and gives the name of the one value that it makes.

  // Attributes are integers or lists of them.
  std::string Add(const std::string& operation, const std::vector<std::string>& inputs,
                  const std::vector<std::pair<std::string, int64_t>>& integers = {},
                  const std::vector<Attribute>& lists = {});
  // Of name.weight and name.bias, over the last axis; computed in float32 inside. `rms`: by the root mean square alone,
  // without a bias.
  std::string Norm(const std::string& x, const std::string& name, double epsilon, bool rms = false);
  // x weight^T + bias, of name.weight [out, in] and name.bias [out].
  std::string Linear(const std::string& x, const std::string& name);
  std::string Floats(const std::string& name, const Shape& shape, std::vector<float> values);
  // The same, read when the model is written: one weight at a time is then in memory.
  std::string Weights(const std::string& name, const Shape& shape, std::function<std::vector<float>()> read);
  std::string Scalar(float value) { return Floats(NewName(), {}, {value}); }
  std::string Integers(const Shape& values);
  std::string Index(int64_t value);  // Without an axis.

  // Float32 values from and to the outside. A size of "N" is any.
  void Input(const std::string& name, const std::vector<std::string>& sizes);
  void Output(const std::string& value, const std::string& name, const std::vector<std::string>& sizes);
  // `name` in the model's own type.
  std::string Entered(const std::string& name);

  // The model as one file. InvalidArgument names a weight that is too large for float16; FailedPrecondition: the
  // weights take more than `most` bytes.
  absl::StatusOr<std::string> Serialised(int64_t most = kMostBytes) const;

  struct Written {
    int64_t bytes = 0, data_bytes = 0;  // Of both files; without a second one 0.
    std::string data_path;
  };
  // Writes it to `path`; weights of more than `most` bytes beside it, to `path` + kDataSuffix, as ONNX's external data
  // has it: runtimes find them by that name, in the same folder. Each file is written whole or not at all, the model
  // last. No more than one weight is in memory at a time.
  absl::StatusOr<Written> Write(const std::string& path, int64_t most = kMostBytes);

 private:
  struct Weight {
    int initializer;  // Its number in the graph.
    Shape shape;
    std::function<std::vector<float>()> read;
  };
  using Sink = std::function<absl::Status(absl::string_view bytes)>;

  std::string NewName();
  std::string RmsNorm(const std::string& x, const std::string& name, double epsilon);
  std::string CastTo(const std::string& x, int type);
  int64_t BytesOf(const Weight& weight) const;
  int64_t WeightBytes() const;
  // The bytes that SerializeToString would give if every weight of `weights` stood in proto_.
  absl::Status WriteTo(const std::vector<Weight>& weights, const Sink& sink) const;
  // In the model's type.
  absl::StatusOr<TensorView> Read(const Weight& weight) const;

  DType dtype_;
  onnx::ModelProto proto_;
  onnx::GraphProto& graph_;
  std::vector<Weight> weights_;
  int constants_ = 0;
};

}  // namespace tec

#endif  // TEC_TOOLS_EXPORT_ONNX_MODEL_H_
