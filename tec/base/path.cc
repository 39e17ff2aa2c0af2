#include "tec/base/path.h"

#include <cstdlib>
#include <filesystem>
#include <system_error>

namespace tec {

std::string UserPath(const std::string& path) {
  const char* where = std::getenv("BUILD_WORKING_DIRECTORY");
  if (path.empty() || path[0] == '/' || where == nullptr || *where == '\0') return path;
  std::string relative = path;
  while (relative.compare(0, 2, "./") == 0) relative.erase(0, 2);
  return relative == "." || relative.empty() ? std::string(where) : std::string(where) + "/" + relative;
}

std::string AbsoluteUserPath(const std::string& path) {
  const std::string seen = UserPath(path);
  if (seen.empty() || seen[0] == '/') return seen;
  std::error_code error;
  const std::filesystem::path here = std::filesystem::current_path(error);
  return error ? seen : (here / seen).lexically_normal().string();
}

}  // namespace tec
