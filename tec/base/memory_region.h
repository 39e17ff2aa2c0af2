// Large blocks out of one region of addresses, which keeps what it gets back.
//
//   static MemoryRegion& region = *new MemoryRegion(size_t{16} << 30);
//   void* block = region.Allocate(bytes);
//   if (block == nullptr) ...   // Elsewhere.
//
// For programs that need the same large blocks again and again, as a training step does. In malloc's heap they lie
// among small blocks, some of which outlive them: what was freed then falls into pieces that are too small for the
// next, and the heap grows though there is room in it. Here freed neighbours become one again.

#ifndef TEC_BASE_MEMORY_REGION_H_
#define TEC_BASE_MEMORY_REGION_H_

#include <cstddef>
#include <map>
#include <mutex>
#include <set>
#include <unordered_map>
#include <utility>

namespace tec {

class MemoryRegion {
 public:
  // Of at most `bytes`, which are addresses only: memory is taken where a block is written to, and kept from then on.
  // Has no room where the system gives no addresses.
  explicit MemoryRegion(size_t bytes);
  // All blocks are gone.
  ~MemoryRegion();
  MemoryRegion(const MemoryRegion&) = delete;
  MemoryRegion& operator=(const MemoryRegion&) = delete;

  // Aligned to 64 bytes, not cleared; null if there is no room. From any thread, as Free.
  void* Allocate(size_t bytes);
  // Whether Allocate gave it.
  bool Contains(const void* block) const { return block >= begin_ && block < begin_ + bytes_; }
  void Free(void* block);

  // The most that lay between the first block's start and the last one's end so far.
  size_t most() const;

 private:
  using Offset = size_t;
  void AddFree(Offset offset, size_t size);
  void RemoveFree(std::map<Offset, size_t>::iterator block);

  char* begin_;
  size_t bytes_;
  mutable std::mutex mutex_;
  size_t end_ = 0, most_ = 0;  // Of the last block; the most it was.
  size_t open_ = 0;            // So much from the start may be written to.
  std::unordered_map<Offset, size_t> used_;
  std::map<Offset, size_t> free_;  // Below end_; no two are neighbours.
  std::set<std::pair<size_t, Offset>> free_by_size_;
};

}  // namespace tec

#endif  // TEC_BASE_MEMORY_REGION_H_
