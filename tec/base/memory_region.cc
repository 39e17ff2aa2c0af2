#include "tec/base/memory_region.h"

#include <sys/mman.h>

#include <algorithm>
#include <iterator>

#include "tec/base/logging.h"

namespace tec {
namespace {

constexpr size_t kAlignment = 64;
// Opened in such steps: a system that counts what may be written to has to be asked for no more than what is used.
constexpr size_t kStep = size_t{16} << 20;

size_t RoundedUp(size_t bytes, size_t unit) { return (bytes + unit - 1) / unit * unit; }

}  // namespace

MemoryRegion::MemoryRegion(size_t bytes)
    : begin_(static_cast<char*>(
          mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, /*fd=*/-1, /*offset=*/0))),
      bytes_(bytes) {
  if (begin_ == MAP_FAILED) {
    begin_ = nullptr;
    bytes_ = 0;
    return;
  }
  // In pages of 2 MiB where the system gives them to who asks: a step goes through gigabytes, and looking up pages of
  // 4 KiB costs several per cent of its time. Where it does not, nothing changes.
  madvise(begin_, bytes_, MADV_HUGEPAGE);
}

MemoryRegion::~MemoryRegion() {
  TEC_CHECK(used_.empty()) << used_.size() << " blocks outlive their region";
  if (begin_ != nullptr) munmap(begin_, bytes_);
}

void* MemoryRegion::Allocate(size_t bytes) {
  if (bytes > bytes_) return nullptr;
  // A line more: blocks of whole pages would all begin in the same lines of the processor's cache.
  const size_t size = RoundedUp(bytes, kAlignment) + kAlignment;
  const std::lock_guard<std::mutex> lock(mutex_);
  Offset offset;
  // The smallest that is large enough; of equal ones the first.
  if (const auto found = free_by_size_.lower_bound({size, 0}); found != free_by_size_.end()) {
    const auto [whole, start] = *found;
    offset = start;
    RemoveFree(free_.find(start));
    if (whole > size) AddFree(start + size, whole - size);
  } else {
    if (size > bytes_ - end_) return nullptr;
    if (end_ + size > open_) {
      const size_t open = std::min(bytes_, RoundedUp(end_ + size, kStep));
      if (mprotect(begin_ + open_, open - open_, PROT_READ | PROT_WRITE) != 0) return nullptr;
      open_ = open;
    }
    offset = end_;
    end_ += size;
    most_ = std::max(most_, end_);
  }
  used_[offset] = size;
  return begin_ + offset;
}

void MemoryRegion::Free(void* block) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto found = used_.find(static_cast<size_t>(static_cast<char*>(block) - begin_));
  TEC_CHECK(found != used_.end()) << "not a block of this region";
  Offset offset = found->first;
  size_t size = found->second;
  used_.erase(found);
  auto next = free_.lower_bound(offset);
  if (next != free_.end() && next->first == offset + size) {
    size += next->second;
    RemoveFree(next);
  }
  // Looked up anew: what followed may be gone.
  next = free_.lower_bound(offset);
  if (next != free_.begin()) {
    const auto before = std::prev(next);
    if (before->first + before->second == offset) {
      offset = before->first;
      size += before->second;
      RemoveFree(before);
    }
  }
  if (offset + size == end_) {
    end_ = offset;
  } else {
    AddFree(offset, size);
  }
}

size_t MemoryRegion::most() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return most_;
}

void MemoryRegion::AddFree(Offset offset, size_t size) {
  free_[offset] = size;
  free_by_size_.emplace(size, offset);
}

void MemoryRegion::RemoveFree(std::map<Offset, size_t>::iterator block) {
  free_by_size_.erase({block->second, block->first});
  free_.erase(block);
}

}  // namespace tec
