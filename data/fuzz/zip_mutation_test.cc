// Ten thousand damaged zips and more through their fuzz target, the same every time. Run it under --config=asan and
// --config=ubsan too.

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "data/testing/make_zip.h"
#include "data/testing/mutate.h"
#include "data/testing/peak_memory.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace tec {
namespace {

TEST(ZipMutationTest, TenThousandDamagedZips) {
  using testing::ZipMaker;
  ZipMaker::Options deflated, wide, link;
  deflated.deflate = true;
  link.unix_mode = 0120777;
  wide.zip64 = true;
  ZipMaker folders, samples, parts;
  for (int i = 0; i < 3; ++i) {
    folders.Add(absl::StrCat(i % 2, "/", i, ".jpg"), std::string(100, 'x'), i == 1 ? deflated : wide);
    samples.Add(absl::StrCat(i, ".jpg"), "pixels").Add(absl::StrCat(i, ".cls"), absl::StrCat(i), deflated);
    parts.Add(absl::StrCat(i == 0 ? "train/a/" : "val/a/", i, ".png"), "pixels", deflated);
  }
  folders.Add("1/a.jpg", "../0/0.jpg", link).Add("1/b.jpg", "a.jpg", link).Add("1/loop.jpg", "loop.jpg", link);
  const std::vector<std::string> seeds = {folders.Finish(/*zip64=*/true), samples.Finish(false, "comment", "front"),
                                          parts.Finish()};
  int runs = 0;
  for (const std::string& seed : seeds) {
    LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(seed.data()), seed.size());
    // The directory, where most is decided, lies at the end; damage goes to the beginning.
    const size_t directory = seed.find("PK\1\2");
    for (int number = 0; number < 3500; ++number, ++runs) {
      const std::string damaged = number % 2 == 0
                                      ? testing::Mutate(seed, number)
                                      : seed.substr(0, directory) + testing::Mutate(seed.substr(directory), number);
      LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(damaged.data()), damaged.size());
    }
  }
  EXPECT_GE(runs, 10000);
  // The largest entry that is read, and what the program has besides.
  testing::ExpectPeakMemoryAtMost(256 + 128);
}

}  // namespace
}  // namespace tec
