// Ten thousand damaged shards and more through their fuzz target, the same every time. Run it under --config=asan and
// --config=ubsan too.

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "data/testing/make_tar.h"
#include "data/testing/mutate.h"
#include "data/testing/peak_memory.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace tec {
namespace {

TEST(ShardMutationTest, TenThousandDamagedShards) {
  using testing::TarMaker;
  TarMaker numbers, texts, bare;
  for (int i = 0; i < 3; ++i) {
    const std::string key = absl::StrCat("a/", i, ".b");
    numbers.AddFile(key + ".jpg", "pixels").AddFile(key + ".cls", absl::StrCat(i, "\n"));
    texts.AddFile(key + ".json", absl::StrCat("{\"caption\": [\"x\", {}], \"label\": ", i, "}"))
        .AddFile(key + ".png", "p");
    bare.AddFile(key + ".jpg", "pixels").AddFile(absl::StrCat(i, ".txt"), "said of it");
  }
  texts.AddFile("deep.json", std::string(2000, '['));
  std::vector<std::string> seeds;
  for (const TarMaker& tar : {numbers, texts, bare}) seeds.push_back(tar.Finish());
  int runs = 0;
  for (const std::string& seed : seeds) {
    LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(seed.data()), seed.size());
    for (int number = 0; number < 3500; ++number, ++runs) {
      std::string damaged = testing::Mutate(seed, number);
      // The checksum would stop nearly every change of a header; the contents have none.
      if (number % 2 == 0) TarMaker::MendChecksums(&damaged);
      LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(damaged.data()), damaged.size());
    }
  }
  EXPECT_GE(runs, 10000);
  // Ten million class names at most, and what the program has besides.
  testing::ExpectPeakMemoryAtMost(512);
}

}  // namespace
}  // namespace tec
