#include "tec/base/cores.h"

#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace tec {
namespace {

constexpr int kMostCores = 8192;
constexpr int kPreferNode = 1;  // MPOL_PREFERRED of linux/mempolicy.h.

// The first line; "" if there is no such file.
std::string ReadLine(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// The cores of this process's affinity.
std::vector<int> Affinity() {
  std::vector<int> cores;
  cpu_set_t* const set = CPU_ALLOC(kMostCores);
  const size_t size = CPU_ALLOC_SIZE(kMostCores);
  CPU_ZERO_S(size, set);
  if (sched_getaffinity(0, size, set) == 0) {
    for (int core = 0; core < kMostCores; ++core) {
      if (CPU_ISSET_S(core, size, set)) cores.push_back(core);
    }
  }
  CPU_FREE(set);
  return cores;
}

// Cores' worth of time, of a version 2 or 1 control group; infinite without a quota.
double QuotaOf(const std::string& maximum, const std::string& quota_file, const std::string& period_file) {
  double quota = 0, period = 0;
  const std::vector<std::string> words = absl::StrSplit(ReadLine(maximum), ' ');
  if (words.size() == 2 && absl::SimpleAtod(words[0], &quota) && absl::SimpleAtod(words[1], &period) && quota > 0 &&
      period > 0) {
    return quota / period;
  }
  if (absl::SimpleAtod(ReadLine(quota_file), &quota) && absl::SimpleAtod(ReadLine(period_file), &period) && quota > 0 &&
      period > 0) {
    return quota / period;
  }
  return INFINITY;
}

// Of the process's group and those above it, each of which may have one.
double Quota(const std::string& root) {
  std::ifstream groups(absl::StrCat(root, "/proc/self/cgroup"));
  double least = INFINITY;
  std::string line;
  while (std::getline(groups, line)) {
    // "0::/path", or "4:cpu,cpuacct:/path".
    const std::vector<std::string> parts = absl::StrSplit(line, absl::MaxSplits(':', 2));
    if (parts.size() != 3) continue;
    const std::vector<std::string> controllers = absl::StrSplit(parts[1], ',');
    const bool second = parts[1].empty();
    if (!second && std::find(controllers.begin(), controllers.end(), "cpu") == controllers.end()) continue;
    const std::string mount = absl::StrCat(root, "/sys/fs/cgroup", second ? "" : "/cpu");
    for (std::string path = parts[2];; path.resize(path.rfind('/'))) {
      const std::string folder = absl::StrCat(mount, path == "/" ? "" : path);
      least = std::min(least, QuotaOf(absl::StrCat(folder, "/cpu.max"), absl::StrCat(folder, "/cpu.cfs_quota_us"),
                                      absl::StrCat(folder, "/cpu.cfs_period_us")));
      if (path.empty() || path.rfind('/') == std::string::npos) break;
    }
  }
  return least;
}

}  // namespace

int UsableCores(const std::string& root) {
  const double cores = std::max<double>(1, static_cast<double>(Affinity().size()));
  return static_cast<int>(std::min(cores, std::max(1.0, std::ceil(Quota(root)))));
}

int CoresOfRank(int ranks, const std::string& root) {
  const int usable = UsableCores(root);
  int of_task = 0;
  const char* const slurm = std::getenv("SLURM_CPUS_PER_TASK");
  if (ranks > 1 && slurm != nullptr && absl::SimpleAtoi(slurm, &of_task) && of_task > 0) {
    return std::min(of_task, usable);
  }
  return std::max(1, usable / std::max(1, ranks));
}

int NodeOfPciDevice(const std::string& address, const std::string& root) {
  int node = -1;
  if (!absl::SimpleAtoi(
          ReadLine(absl::StrCat(root, "/sys/bus/pci/devices/", absl::AsciiStrToLower(address), "/numa_node")), &node)) {
    return -1;
  }
  // A machine of one node has nothing to choose.
  return ParseCoreList(ReadLine(absl::StrCat(root, "/sys/devices/system/node/online"))).size() < 2 ? -1 : node;
}

std::vector<int> CoresOfNode(int node, const std::string& root) {
  return ParseCoreList(ReadLine(absl::StrCat(root, "/sys/devices/system/node/node", node, "/cpulist")));
}

std::vector<int> ParseCoreList(const std::string& list) {
  std::vector<int> cores;
  if (list.empty()) return cores;
  for (const absl::string_view part : absl::StrSplit(list, ',')) {
    const std::vector<absl::string_view> ends = absl::StrSplit(part, '-');
    int first = 0, last = 0;
    if (ends.size() > 2 || !absl::SimpleAtoi(ends.front(), &first) || !absl::SimpleAtoi(ends.back(), &last) ||
        first < 0 || last < first || last >= kMostCores) {
      return {};
    }
    for (int core = first; core <= last; ++core) cores.push_back(core);
  }
  return cores;
}

absl::Status RunOnNode(int node, const std::vector<int>& cores) {
  const std::vector<int> own = Affinity();
  cpu_set_t* const set = CPU_ALLOC(kMostCores);
  const size_t size = CPU_ALLOC_SIZE(kMostCores);
  CPU_ZERO_S(size, set);
  for (const int core : cores) {
    if (std::binary_search(own.begin(), own.end(), core)) CPU_SET_S(core, size, set);
  }
  const bool any = CPU_COUNT_S(size, set) > 0;
  const bool done = any && sched_setaffinity(0, size, set) == 0;
  CPU_FREE(set);
  if (!done) return absl::FailedPreconditionError(absl::StrCat("none of the cores of node ", node, " may be used"));
  if (node >= 0 && node < 64) {
    const unsigned long mask = 1UL << node;  // NOLINT(google-runtime-int): the system call's.
    // Where it is refused, as in some containers, memory comes from the node that touches it first: nearly the same.
    (void)syscall(SYS_set_mempolicy, kPreferNode, &mask, 65UL);
  }
  return absl::OkStatus();
}

}  // namespace tec
