#include "tec/testing/golden.h"

#include <cstdlib>
#include <fstream>
#include <utility>

#include "absl/strings/match.h"
#include "tec/base/logging.h"
#include "tec/checkpoint/safetensors.h"
#include "tec/checkpoint/torch_tensors.h"

namespace tec::testing {
std::string GoldenPath(const std::string& file) {
  const char* runfiles = std::getenv("TEST_SRCDIR");
  const char* workspace = std::getenv("TEST_WORKSPACE");
  const std::string path = "tec/testing/goldens/" + file;
  return runfiles && workspace ? std::string(runfiles) + "/" + workspace + "/" + path : path;
}

nlohmann::json GoldenJson(const std::string& file) {
  std::ifstream stream(GoldenPath(file));
  TEC_CHECK(stream.good()) << "cannot read " << GoldenPath(file);
  return nlohmann::json::parse(stream);
}

Golden::Golden(const std::string& file) : file_(file) {
  absl::StatusOr<Safetensors> read = ReadSafetensors(GoldenPath(file));
  TEC_CHECK_OK(read);
  tensors_ = TensorsOf(read->tensors);
  metadata_ = std::move(read->metadata);
}

const at::Tensor& Golden::operator[](const std::string& name) const {
  const auto found = tensors_.find(name);
  TEC_CHECK(found != tensors_.end()) << "no " << name << " in " << file_;
  return found->second;
}

std::map<std::string, at::Tensor> Golden::WithPrefix(const std::string& prefix) const {
  std::map<std::string, at::Tensor> found;
  for (const auto& [name, tensor] : tensors_) {
    if (absl::StartsWith(name, prefix)) found.emplace(name.substr(prefix.size()), tensor);
  }
  TEC_CHECK(!found.empty()) << "nothing begins with " << prefix << " in " << file_;
  return found;
}

nlohmann::json Golden::metadata(const std::string& key) const {
  const auto found = metadata_.find(key);
  TEC_CHECK(found != metadata_.end()) << "no metadata " << key << " in " << file_;
  return nlohmann::json::parse(found->second);
}

}  // namespace tec::testing
