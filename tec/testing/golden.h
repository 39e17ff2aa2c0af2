// Reads the stored numbers of tec/testing/goldens, whose README.md says what they are.
//
//   const Golden golden("tec_tiny.safetensors");           // data = ["//tec/testing/goldens:tec_tiny.safetensors"]
//   TensorMap parameters = golden.WithPrefix("param.");
//   EXPECT_TRUE(TensorNear(mask, golden["out.mask"], 0));
//   const int64_t depth = golden.metadata("config")["depth"];
//
// A file that cannot be read, or a name that is not in it, ends the test: a check that compares nothing cannot fail.

#ifndef TEC_TESTING_GOLDEN_H_
#define TEC_TESTING_GOLDEN_H_

#include <map>
#include <string>
#include <vector>

#include "ATen/core/Tensor.h"
#include "nlohmann/json.hpp"

namespace tec::testing {

// Path of a file of tec/testing/goldens that the test lists in its `data`.
std::string GoldenPath(const std::string& file);

// A .json file.
nlohmann::json GoldenJson(const std::string& file);

// A .safetensors file, read whole.
class Golden {
 public:
  explicit Golden(const std::string& file);

  const at::Tensor& operator[](const std::string& name) const;
  bool contains(const std::string& name) const { return tensors_.count(name) != 0; }
  // Every tensor whose name begins with `prefix`, which is cut off. At least one.
  std::map<std::string, at::Tensor> WithPrefix(const std::string& prefix) const;
  // A metadata value that is JSON text.
  nlohmann::json metadata(const std::string& key) const;

 private:
  std::string file_;
  std::map<std::string, at::Tensor> tensors_;
  std::map<std::string, std::string> metadata_;
};

}  // namespace tec::testing

#endif  // TEC_TESTING_GOLDEN_H_
