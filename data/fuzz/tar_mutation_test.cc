// Ten thousand damaged archives and more, and thousands of damaged indices of packed files, through their fuzz
// target, the same every time. Run it under --config=asan and --config=ubsan too.

#include <gtest/gtest.h>

#include <string>

#include "data/dataset/catalogue.h"
#include "data/testing/make_tar.h"
#include "data/testing/mutate.h"
#include "data/testing/peak_memory.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace tec {
namespace {

TEST(TarMutationTest, DamagedArchivesAndIndices) {
  using testing::TarMaker;
  TarMaker tar;
  tar.Add('5', "folder/", "").AddFile("folder/a.jpg", "plain").Add('L', "l", std::string(150, 'n'));
  tar.AddFile("n", "gnu")
      .Add('x', "x", TarMaker::Pax("path", "p.png") + TarMaker::Pax("size", "3"))
      .AddFile("p", "pax");
  Catalogue catalogue;
  catalogue.classes = {"a", "b"};
  catalogue.containers = {"c"};
  catalogue.AddRecord("one.jpg", 0, 0, 8, 3);
  catalogue.AddRecord("two.jpg", 1, 0, 11, 4);
  const std::string index = SerializeCatalogue(catalogue, {{"d", 0, 7}});
  const auto run = [](const std::string& bytes) {
    LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
  };
  for (const std::string& seed : {tar.Finish(), tar.unfinished(), index}) run(seed);
  int archives = 0;
  for (int number = 0; number < 6000; ++number) {
    for (const std::string& seed : {tar.Finish(), tar.unfinished()}) {
      run(testing::Mutate(seed, number));
      ++archives;
    }
    run(testing::Mutate(index, number));
  }
  EXPECT_GE(archives, 10000);
  // Headers that claim gigabytes take no memory.
  testing::ExpectPeakMemoryAtMost(128);
}

}  // namespace
}  // namespace tec
