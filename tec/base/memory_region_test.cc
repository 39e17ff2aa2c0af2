#include "tec/base/memory_region.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "tec/base/random.h"

namespace tec {
namespace {

constexpr size_t kMiB = size_t{1} << 20;

TEST(MemoryRegionTest, JoinsFreedNeighboursFromBothSides) {
  MemoryRegion region(64 * kMiB);
  void* blocks[5];
  for (void*& block : blocks) block = region.Allocate(3 * kMiB);
  const size_t most = region.most();
  for (const int i : {1, 3, 2}) region.Free(blocks[i]);  // The last one lies between two that are free.
  EXPECT_EQ(region.Allocate(9 * kMiB), blocks[1]);
  EXPECT_EQ(region.most(), most);
  region.Free(blocks[1]);
  region.Free(blocks[4]);  // The last one: what is before it is free, too.
  EXPECT_EQ(region.Allocate(30 * kMiB), blocks[1]);
  region.Free(blocks[1]);
  region.Free(blocks[0]);
  EXPECT_EQ(region.Allocate(40 * kMiB), blocks[0]);
  region.Free(blocks[0]);
}

TEST(MemoryRegionTest, TakesTheSmallestThatFits) {
  MemoryRegion region(64 * kMiB);
  void *large = region.Allocate(5 * kMiB), *first = region.Allocate(kMiB), *small = region.Allocate(2 * kMiB),
       *second = region.Allocate(kMiB);
  region.Free(large);
  region.Free(small);
  EXPECT_EQ(region.Allocate(2 * kMiB), small);
  void* rest = region.Allocate(2 * kMiB);
  EXPECT_EQ(rest, large);
  void* more = region.Allocate(2 * kMiB);  // What is left of the large one.
  EXPECT_GT(more, rest);
  EXPECT_LT(more, first);
  for (void* block : {first, small, second, rest, more}) region.Free(block);
}

TEST(MemoryRegionTest, GivesNothingBeyondItsSize) {
  MemoryRegion region(4 * kMiB);
  EXPECT_EQ(region.Allocate(4 * kMiB), nullptr) << "there is a line between blocks";
  EXPECT_EQ(region.Allocate(SIZE_MAX), nullptr);
  void* block = region.Allocate(3 * kMiB);
  ASSERT_NE(block, nullptr);
  EXPECT_EQ(region.Allocate(kMiB), nullptr);
  EXPECT_TRUE(region.Contains(block));
  EXPECT_FALSE(region.Contains(&region));
  region.Free(block);

  MemoryRegion none(SIZE_MAX / 2);
  EXPECT_EQ(none.Allocate(1), nullptr);
  EXPECT_FALSE(none.Contains(nullptr));
}

// The size of this process in memory, in bytes.
size_t Resident() {
  std::FILE* file = std::fopen("/proc/self/statm", "r");
  size_t total = 0, resident = 0;
  EXPECT_EQ(std::fscanf(file, "%zu %zu", &total, &resident), 2);
  std::fclose(file);
  return resident * static_cast<size_t>(sysconf(_SC_PAGESIZE));
}

TEST(MemoryRegionTest, TakesMemoryWhereItIsWrittenTo) {
  MemoryRegion region(size_t{1} << 40);
  const size_t before = Resident();
  void* block = region.Allocate(256 * kMiB);
  EXPECT_LT(Resident(), before + 64 * kMiB);
  std::memset(block, 1, 128 * kMiB);
  EXPECT_GT(Resident(), before + 100 * kMiB);
  region.Free(block);
}

TEST(MemoryRegionTest, BlocksOfManyThreadsDoNotMeet) {
  MemoryRegion region(256 * kMiB);
  std::vector<std::thread> threads;
  for (uint8_t t = 0; t < 4; ++t) {
    threads.emplace_back([&region, t] {
      RandomStream random(RandomKey{1, RandomPurpose::kMask, 0, t});
      std::vector<std::pair<uint8_t*, size_t>> blocks;
      for (int i = 0; i < 2000; ++i) {
        if (blocks.size() < 20 && random.UniformInt(2) == 0) {
          const size_t size = 1 + random.UniformInt(100000);
          auto* block = static_cast<uint8_t*>(region.Allocate(size));
          ASSERT_NE(block, nullptr);
          ASSERT_EQ(reinterpret_cast<uintptr_t>(block) % 64, 0u);
          std::memset(block, t, size);
          blocks.emplace_back(block, size);
        } else if (!blocks.empty()) {
          std::swap(blocks[random.UniformInt(blocks.size())], blocks.back());
          const auto [block, size] = blocks.back();
          blocks.pop_back();
          for (size_t k = 0; k < size; ++k) ASSERT_EQ(block[k], t);
          region.Free(block);
        }
      }
      for (const auto& block : blocks) region.Free(block.first);
    });
  }
  for (std::thread& thread : threads) thread.join();
  void* whole = region.Allocate(255 * kMiB);
  EXPECT_NE(whole, nullptr) << "something was not given back";
  region.Free(whole);
}

// The flags (VmFlags of /proc/self/smaps) of the mapping that holds `block`.
std::string FlagsOf(const void* block) {
  std::ifstream maps("/proc/self/smaps");
  const auto address = reinterpret_cast<uintptr_t>(block);
  bool inside = false;
  for (std::string line; std::getline(maps, line);) {
    uintptr_t begin = 0, end = 0;
    if (std::sscanf(line.c_str(), "%lx-%lx ", &begin, &end) == 2) inside = begin <= address && address < end;
    if (inside && line.rfind("VmFlags:", 0) == 0) return line;
  }
  return "";
}

// Asked for where the system has them at all ("hg": huge pages are welcome).
TEST(MemoryRegionTest, AsksForLargePages) {
  MemoryRegion region(64 * kMiB);
  void* probe = mmap(nullptr, 4 * kMiB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(probe, MAP_FAILED);
  const bool has = madvise(probe, 4 * kMiB, MADV_HUGEPAGE) == 0;
  munmap(probe, 4 * kMiB);
  void *first = region.Allocate(kMiB), *later = region.Allocate(20 * kMiB);  // What is opened first, and what is later.
  for (void* block : {first, later}) {
    ASSERT_NE(block, nullptr);
    EXPECT_EQ(FlagsOf(block).find(" hg") != std::string::npos, has) << FlagsOf(block);
    region.Free(block);
  }
}

TEST(MemoryRegionDeathTest, SaysWhatIsNotItsOwn) {
  MemoryRegion region(4 * kMiB);
  char other = 0;
  EXPECT_DEATH(region.Free(&other), "not a block of this region");
}

}  // namespace
}  // namespace tec
