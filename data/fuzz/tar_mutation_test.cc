// Thousands of damaged archives and packed files through their fuzz target, the same every time.

#include <gtest/gtest.h>

#include <string>

#include "data/dataset/catalogue.h"
#include "data/testing/make_tar.h"
#include "data/testing/mutate.h"

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
  for (const std::string& seed : {tar.Finish(), tar.unfinished(), index}) {
    LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(seed.data()), seed.size());
    for (int number = 0; number < 4000; ++number) {
      const std::string damaged = testing::Mutate(seed, number);
      LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(damaged.data()), damaged.size());
    }
  }
}

}  // namespace
}  // namespace tec
