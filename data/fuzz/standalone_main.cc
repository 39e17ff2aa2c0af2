// Runs a fuzz target without libFuzzer: over files, and with --mutations=N over N mutations of each.
//
//   ./bazelw run //data/fuzz:decode_fuzz -- --mutations=1000 FILE...

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "data/testing/mutate.h"
#include "tec/base/file.h"
#include "tec/base/path.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

int main(int argc, char** argv) {
  int64_t mutations = 0, runs = 0;
  const auto run = [&](const std::string& bytes) {
    LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
    ++runs;
  };
  for (int i = 1; i < argc; ++i) {
    if (std::strncmp(argv[i], "--mutations=", 12) == 0) {
      mutations = std::atoll(argv[i] + 12);
      continue;
    }
    const auto bytes = tec::ReadFile(tec::UserPath(argv[i]));
    if (!bytes.ok()) {
      std::fprintf(stderr, "%s\n", bytes.status().ToString().c_str());
      return 1;
    }
    run(*bytes);
    for (int64_t number = 0; number < mutations; ++number) run(tec::testing::Mutate(*bytes, number));
  }
  std::printf("%lld inputs\n", static_cast<long long>(runs));
  return 0;
}
