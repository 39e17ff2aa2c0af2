// Of c10d's messages, which go on with a C++ backtrace.

#ifndef TEC_DIST_FIRST_LINE_H_
#define TEC_DIST_FIRST_LINE_H_

#include <exception>
#include <string>

namespace tec {

inline std::string FirstLine(const std::exception& error) {
  const std::string text = error.what();
  return text.substr(0, text.find('\n'));
}

}  // namespace tec

#endif  // TEC_DIST_FIRST_LINE_H_
