// Address space kept for what has to be done when there is no more memory.
//
//   MemoryReserve reserve(16 << 20);
//   ...                    // Fails for want of memory.
//   reserve.Release();     // What has to be done now has 16 MiB.

#ifndef TEC_BASE_MEMORY_RESERVE_H_
#define TEC_BASE_MEMORY_RESERVE_H_

#include <cstddef>

namespace tec {

// Counts against a limit of addresses (ulimit -v, a batch system's) and, never written to, takes no memory. Keeps
// nothing, and says so by held(), where the system gives nothing.
class MemoryReserve {
 public:
  explicit MemoryReserve(size_t bytes);
  ~MemoryReserve() { Release(); }
  MemoryReserve(const MemoryReserve&) = delete;
  MemoryReserve& operator=(const MemoryReserve&) = delete;
  void Release();
  bool held() const { return addresses_ != nullptr; }

 private:
  void* addresses_;
  size_t bytes_;
};

}  // namespace tec

#endif  // TEC_BASE_MEMORY_RESERVE_H_
