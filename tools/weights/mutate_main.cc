// Damages weight files in many ways and reads each: for runs under a sanitizer with other counts than the tests'.
//
//   ./bazelw run --config=asan //tools/weights:mutate -- 100000 1 tec/testing/goldens/checkpoints/*.pth
//
// Files: weights, an index of shards, a config.json. COUNT mutations of all files together, as a function of SEED. A
// crash or a sanitizer's report ends it; the last line counts what was refused and what was read.

#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "tec/base/file.h"
#include "tec/base/path.h"
#include "tec/checkpoint/mutation.h"

int main(int argc, char** argv) {
  uint64_t count = 0, seed = 0;
  if (argc < 4 || !absl::SimpleAtoi(argv[1], &count) || !absl::SimpleAtoi(argv[2], &seed)) {
    std::fprintf(stderr, "usage: mutate COUNT SEED FILE...\n");
    return 1;
  }
  std::vector<std::string> files;
  for (int i = 3; i < argc; ++i) {
    absl::StatusOr<std::string> bytes = tec::ReadFile(tec::UserPath(argv[i]));
    if (!bytes.ok()) {
      std::fprintf(stderr, "mutate: %s\n", std::string(bytes.status().message()).c_str());
      return 1;
    }
    if (bytes->empty()) {
      std::fprintf(stderr, "mutate: %s is left out: nothing in an empty file can be changed\n", argv[i]);
      continue;
    }
    files.push_back(*std::move(bytes));
  }
  if (files.empty()) {
    std::fprintf(stderr, "mutate: no file to damage\n");
    return 1;
  }
  uint64_t read = 0;
  for (uint64_t i = 0; i < count; ++i) {
    const uint64_t file = i % files.size();
    // Half of them in the pickle alone, which a checksum guards otherwise.
    std::string bytes = i / files.size() % 2 == 1 ? tec::MutatedPickle(files[file], seed, file, i) : "";
    if (bytes.empty()) bytes = tec::MutatedFile(files[file], seed, file, i);
    read += tec::ReadAnything(std::move(bytes));
    if ((i + 1) % 10000 == 0) std::fprintf(stderr, "%llu\n", static_cast<unsigned long long>(i + 1));
  }
  std::printf("%llu mutations: %llu refused, %llu read\n", static_cast<unsigned long long>(count),
              static_cast<unsigned long long>(count - read), static_cast<unsigned long long>(read));
  return 0;
}
