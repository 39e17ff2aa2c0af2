// Paths as the user means them.

#ifndef TEC_BASE_PATH_H_
#define TEC_BASE_PATH_H_

#include <string>

namespace tec {

// `bazel run` starts a program in a folder of its own and tells in BUILD_WORKING_DIRECTORY where the user stands: a
// relative path is taken from there. Absolute and empty paths, and all paths where the variable is unset, stay as they
// are.
std::string UserPath(const std::string& path);

// The same as an absolute path, which means the same file from every folder; "" stays "".
std::string AbsoluteUserPath(const std::string& path);

}  // namespace tec

#endif  // TEC_BASE_PATH_H_
