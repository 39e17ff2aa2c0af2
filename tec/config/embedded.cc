#include "tec/config/embedded.h"

namespace tec {

std::vector<std::string> EmbeddedNames(const std::string& prefix) {
  std::vector<std::string> names;
  for (const EmbeddedFile& file : EmbeddedFiles()) {
    const std::string name = file.name;
    if (name.compare(0, prefix.size(), prefix) != 0) continue;
    if (name.find('/', prefix.size()) != std::string::npos) continue;
    names.push_back(name.substr(prefix.size()));
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
