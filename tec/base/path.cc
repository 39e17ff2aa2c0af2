#include "tec/base/path.h"

#include <cstdlib>

namespace tec {

std::string UserPath(const std::string& path) {
  const char* where = std::getenv("BUILD_WORKING_DIRECTORY");
  if (path.empty() || path[0] == '/' || where == nullptr || *where == '\0') return path;
  std::string relative = path;
  while (relative.compare(0, 2, "./") == 0) relative.erase(0, 2);
  return relative == "." || relative.empty() ? std::string(where) : std::string(where) + "/" + relative;
}

}  // namespace tec
