// The version of this project, from //:version.bzl.

#ifndef TEC_BASE_VERSION_H_
#define TEC_BASE_VERSION_H_

namespace tec {

// "1.2.3".
extern const char* const kVersion;

}  // namespace tec

#endif  // TEC_BASE_VERSION_H_
