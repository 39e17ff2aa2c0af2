// Ten thousand damaged files and more through the fuzz target of the decoders, the same every time. Run it under
// --config=asan and --config=ubsan too.

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "data/testing/mutate.h"
#include "data/testing/peak_memory.h"
#include "tec/base/file.h"
#include "tec/base/logging.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace tec {
namespace {

std::vector<std::string> Corpus() {
  std::vector<std::string> corpus;
  for (const std::string folder : {"tec/testing/goldens/images/", "data/testing/formats/"}) {
    const auto text = ReadFile(folder + "index.json");
    TEC_CHECK_OK(text);
    const auto index = nlohmann::json::parse(*text);
    for (const auto& file : index["files"]) {
      auto bytes = ReadFile(folder + file["file"].get<std::string>());
      TEC_CHECK_OK(bytes);
      corpus.push_back(*std::move(bytes));
    }
  }
  return corpus;
}

TEST(MutationTest, TenThousandDamagedImages) {
  const std::vector<std::string> corpus = Corpus();
  ASSERT_GT(corpus.size(), 100u);
  int64_t runs = 0;
  for (size_t i = 0; i < corpus.size(); ++i) {
    for (int round = 0; round < 85; ++round, ++runs) {
      const std::string damaged = testing::Mutate(corpus[i], i * 1000 + round);
      LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(damaged.data()), damaged.size());
    }
  }
  EXPECT_GE(runs, 10000);
  // The decoders' limit, and what the program has besides.
  testing::ExpectPeakMemoryAtMost(512 + 64);
}

}  // namespace
}  // namespace tec
