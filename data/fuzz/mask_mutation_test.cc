// Ten thousand damaged masks and more through their fuzz target, the same every time. Run it under --config=asan and
// --config=ubsan too.

#include <gtest/gtest.h>
#include <png.h>

#include <string>
#include <vector>

#include "data/testing/make_index_png.h"
#include "data/testing/mutate.h"
#include "data/testing/peak_memory.h"
#include "tec/base/file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace tec {
namespace {

TEST(MaskMutationTest, TenThousandDamagedMasks) {
  std::vector<std::string> seeds;
  for (const int colour_type : {PNG_COLOR_TYPE_PALETTE, PNG_COLOR_TYPE_GRAY}) {
    for (const int bits : {1, 2, 4, 8}) {
      for (const int interlace : {PNG_INTERLACE_NONE, PNG_INTERLACE_ADAM7}) {
        seeds.push_back(testing::MakeIndexPng(colour_type, bits, 1 << bits, interlace));
      }
    }
  }
  seeds.push_back(testing::WithPalette(seeds.front(), 2));
  const auto short_one = ReadFile("data/testing/formats/palette_ends_early.png");
  ASSERT_TRUE(short_one.ok()) << short_one.status();
  seeds.push_back(*short_one);
  LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(short_one->data()), short_one->size());
  int runs = 0;
  for (const std::string& seed : seeds) {
    for (int number = 0; number < 700; ++number, ++runs) {
      const std::string damaged = testing::Mutate(seed, number);
      LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(damaged.data()), damaged.size());
    }
  }
  EXPECT_GE(runs, 10000);
  // The decoder's limit, and what the program has besides.
  testing::ExpectPeakMemoryAtMost(512 + 64);
}

}  // namespace
}  // namespace tec
