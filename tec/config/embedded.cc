#include "tec/config/embedded.h"

namespace tec {

std::vector<std::string> EmbeddedNames() {
  std::vector<std::string> names;
  for (const EmbeddedFile& file : EmbeddedFiles()) {
    const std::string name = file.name;
    if (name.find('/') == std::string::npos) names.push_back(name);
  }
  return names;
}

const char* FindEmbedded(const std::string& name) {
  for (const EmbeddedFile& file : EmbeddedFiles()) {
    if (name == file.name) return file.text;
  }
  return nullptr;
}

}  // namespace tec
