// Any bytes as the pickle of a zip .pth file, whose checksums would keep a fuzzer from it.

#include <cstddef>
#include <cstdint>

#include "absl/strings/string_view.h"
#include "tec/checkpoint/mutation.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  tec::ReadAnything(tec::FileAround(absl::string_view(reinterpret_cast<const char*>(data), size)), tec::FileKind::kPth);
  return 0;
}
