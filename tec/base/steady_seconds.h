// The clock for spans of time.

#ifndef TEC_BASE_STEADY_SECONDS_H_
#define TEC_BASE_STEADY_SECONDS_H_

#include <chrono>

namespace tec {

// Seconds since some moment before the process began; only differences mean something. Unlike the time of day, which an
// administrator or a time server sets back and forth, it never jumps.
inline double SteadySeconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace tec

#endif  // TEC_BASE_STEADY_SECONDS_H_
