#include "tec/base/memory_reserve.h"

#include <sys/mman.h>

namespace tec {

MemoryReserve::MemoryReserve(size_t bytes)
    : addresses_(mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)),
      bytes_(bytes) {
  if (addresses_ == MAP_FAILED) addresses_ = nullptr;
}

void MemoryReserve::Release() {
  if (addresses_ != nullptr) munmap(addresses_, bytes_);
  addresses_ = nullptr;
}

}  // namespace tec
