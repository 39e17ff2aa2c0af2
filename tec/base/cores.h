// What a process may use of its machine's cores, and which of them are near a device. Linux.

#ifndef TEC_BASE_CORES_H_
#define TEC_BASE_CORES_H_

#include <string>
#include <vector>

#include "absl/status/status.h"

namespace tec {

// Cores that this process may run on: those of its affinity, as taskset and Slurm set it, or fewer if its control group
// has a quota of processor time, as containers have. At least 1. `root`: of /proc and /sys, for tests.
int UsableCores(const std::string& root = "");
// Of each of `ranks` processes on this machine: its share of them. Slurm's --cpus-per-task says it, where it is given.
int CoresOfRank(int ranks, const std::string& root = "");

// The memory node that a PCI device is at, such as 0000:65:00.0; -1 if the kernel does not tell, or there is one only.
int NodeOfPciDevice(const std::string& address, const std::string& root = "");
// The cores of a node; empty if it is not there.
std::vector<int> CoresOfNode(int node, const std::string& root = "");
// "0-3,8,10-11", as the kernel writes it; empty for anything else.
std::vector<int> ParseCoreList(const std::string& list);

// From here on this thread, and those that it starts, run on those of the cores that they may run on now, and take
// memory from the node first. FailedPrecondition if they may run on none of them.
absl::Status RunOnNode(int node, const std::vector<int>& cores);

}  // namespace tec

#endif  // TEC_BASE_CORES_H_
