// Any bytes as a weight file: every container, then every element, then the plan of a base model.

#include <cstddef>
#include <cstdint>
#include <string>

#include "tec/checkpoint/mutation.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  tec::ReadAnything(std::string(reinterpret_cast<const char*>(data), size));
  return 0;
}
