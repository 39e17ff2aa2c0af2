#include "tec/dist/environment.h"

#include <map>
#include <string>

#include "absl/strings/str_format.h"
#include "gtest/gtest.h"

namespace tec {
namespace {

using Variables = std::map<std::string, std::string>;

std::string Describe(const absl::StatusOr<LaunchEnvironment>& result) {
  if (!result.ok()) return std::string(result.status().message());
  static const char* const kNames[] = {"none", "torchrun", "openmpi", "slurm"};
  const LaunchEnvironment& e = *result;
  return absl::StrFormat("%s rank %d/%d local %d/%d at %s:%d", kNames[static_cast<int>(e.launcher)], e.rank,
                         e.world_size, e.local_rank, e.local_world_size, e.master_address, e.master_port);
}

const Variables kTorchrun = {{"RANK", "3"},
                             {"WORLD_SIZE", "4"},
                             {"LOCAL_RANK", "1"},
                             {"LOCAL_WORLD_SIZE", "2"},
                             {"MASTER_ADDR", "10.0.0.1"},
                             {"MASTER_PORT", "29500"}};
const Variables kOpenMpi = {{"OMPI_COMM_WORLD_RANK", "1"},
                            {"OMPI_COMM_WORLD_SIZE", "2"},
                            {"OMPI_COMM_WORLD_LOCAL_RANK", "1"},
                            {"MASTER_ADDR", "head"},
                            {"MASTER_PORT", "6000"}};
const Variables kSlurm = {{"SLURM_PROCID", "5"},
                          {"SLURM_NTASKS", "8"},
                          {"SLURM_LOCALID", "1"},
                          {"SLURM_JOB_NUM_NODES", "2"},
                          {"SLURM_JOB_NODELIST", "gpu[07-08]"},
                          {"SLURM_JOB_ID", "123456"}};

Variables With(Variables variables, const std::string& name, const std::string& value) {
  variables[name] = value;
  return variables;
}
Variables Without(Variables variables, const std::string& name) {
  variables.erase(name);
  return variables;
}
Variables Join(Variables a, const Variables& b) {
  a.insert(b.begin(), b.end());
  return a;
}

struct Case {
  std::string what;
  Variables variables;
  LaunchOptions options;
  std::string expected;
};

TEST(DetectLaunchEnvironmentTest, Table) {
  const LaunchOptions plain, itp{true, "env://"};
  const std::string slurm_ok = "slurm rank 5/8 local 1/4 at gpu07:23456";
  const std::vector<Case> cases = {
      {"empty", {}, plain, "none rank 0/1 local 0/1 at :0"},
      {"torchrun", kTorchrun, plain, "torchrun rank 3/4 local 1/2 at 10.0.0.1:29500"},
      {"torchrun without LOCAL_WORLD_SIZE", Without(kTorchrun, "LOCAL_WORLD_SIZE"), plain,
       "torchrun rank 3/4 local 1/4 at 10.0.0.1:29500"},
      {"no RANK", Without(kTorchrun, "RANK"), plain, "launch environment (torchrun): not set: RANK"},
      {"no WORLD_SIZE", Without(Without(kTorchrun, "WORLD_SIZE"), "LOCAL_WORLD_SIZE"), plain,
       "launch environment (torchrun): not set: WORLD_SIZE"},
      {"no LOCAL_RANK", Without(kTorchrun, "LOCAL_RANK"), plain, "launch environment (torchrun): not set: LOCAL_RANK"},
      {"no MASTER_ADDR", Without(kTorchrun, "MASTER_ADDR"), plain,
       "launch environment (torchrun): not set: MASTER_ADDR"},
      {"no MASTER_PORT", Without(kTorchrun, "MASTER_PORT"), plain,
       "launch environment (torchrun): not set: MASTER_PORT"},
      {"only RANK",
       {{"RANK", "0"}},
       plain,
       "launch environment (torchrun): not set: WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT"},
      {"RANK = WORLD_SIZE", With(kTorchrun, "RANK", "4"), plain,
       "launch environment (torchrun): rank 4 is not below the number of ranks 4"},
      {"negative", With(kTorchrun, "RANK", "-1"), plain,
       "launch environment (torchrun): RANK is '-1', not a number from 0 to 1048576"},
      {"empty value", With(kTorchrun, "RANK", ""), plain, "launch environment (torchrun): not set: RANK (empty)"},
      {"text", With(kTorchrun, "WORLD_SIZE", "four"), plain,
       "launch environment (torchrun): WORLD_SIZE is 'four', not a number from 1 to 1048576"},
      {"2^31", With(kTorchrun, "RANK", "2147483648"), plain,
       "launch environment (torchrun): RANK is '2147483648', not a number from 0 to 1048576"},
      {"LOCAL_RANK too large", With(kTorchrun, "LOCAL_RANK", "2"), plain,
       "launch environment (torchrun): local rank 2 is not below the number of ranks on this machine 2"},
      {"port 0", With(kTorchrun, "MASTER_PORT", "0"), plain,
       "launch environment (torchrun): MASTER_PORT is '0', not a number from 1 to 65535"},
      {"port 65536", With(kTorchrun, "MASTER_PORT", "65536"), plain,
       "launch environment (torchrun): MASTER_PORT is '65536', not a number from 1 to 65535"},
      {"tcp url",
       Without(kTorchrun, "MASTER_ADDR"),
       {false, "tcp://host:77"},
       "torchrun rank 3/4 local 1/2 at host:77"},
      {"bad url",
       kTorchrun,
       {false, "file:///tmp/x"},
       "--dist_url is 'file:///tmp/x'; it must be env:// or tcp://HOST:PORT"},
      {"url without port",
       kTorchrun,
       {false, "tcp://host"},
       "--dist_url is 'tcp://host'; it must be env:// or tcp://HOST:PORT"},
      {"slurm, two nodes", kSlurm, plain, slurm_ok},
      {"slurm, one node", With(With(kSlurm, "SLURM_JOB_NUM_NODES", "1"), "SLURM_JOB_NODELIST", "node3"), plain,
       "slurm rank 5/8 local 1/8 at node3:23456"},
      {"slurm, one task", {{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "1"}}, plain, "none rank 0/1 local 0/1 at :0"},
      {"slurm, uneven", With(kSlurm, "SLURM_NTASKS", "7"), plain,
       "launch environment (SLURM): SLURM_NTASKS is 7, which 2 nodes (SLURM_JOB_NUM_NODES) cannot share evenly"},
      {"slurm, list and count differ", With(kSlurm, "SLURM_JOB_NODELIST", "gpu[1-3]"), plain,
       "launch environment (SLURM): SLURM_JOB_NODELIST 'gpu[1-3]' names 3 hosts, SLURM_JOB_NUM_NODES is 2"},
      {"slurm, partial",
       {{"SLURM_PROCID", "1"}, {"SLURM_NTASKS", "2"}},
       plain,
       "launch environment (SLURM): not set: SLURM_LOCALID, SLURM_JOB_NUM_NODES, SLURM_JOB_NODELIST, SLURM_JOB_ID"},
      {"torchrun inside slurm", Join(kTorchrun, kSlurm), plain, "torchrun rank 3/4 local 1/2 at 10.0.0.1:29500"},
      {"open mpi", kOpenMpi, itp, "openmpi rank 1/2 local 1/2 at head:6000"},
      {"open mpi, not asked for", kOpenMpi, plain,
       "launch environment: OMPI_COMM_WORLD_SIZE is 2, so this is one of several processes, but nothing says that they "
       "are ranks of one run: give --dist_on_itp, and MASTER_ADDR and MASTER_PORT"},
      {"open mpi, one process", With(kOpenMpi, "OMPI_COMM_WORLD_SIZE", "1"), plain, "none rank 0/1 local 0/1 at :0"},
      {"open mpi inside slurm, not asked for", Join(kOpenMpi, kSlurm), plain,
       "launch environment: OMPI_COMM_WORLD_SIZE is 2, so this is one of several processes, but nothing says that they "
       "are ranks of one run: give --dist_on_itp, and MASTER_ADDR and MASTER_PORT"},
      {"pmi",
       {{"PMI_SIZE", "4"}, {"PMI_RANK", "1"}},
       plain,
       "launch environment: PMI_SIZE is 4, so this is one of several processes, but nothing says that they are ranks "
       "of "
       "one run: set RANK (PMI_RANK), WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT, or use Open MPI's mpirun, "
       "srun "
       "or torchrun"},
      {"pmi of srun", With(kSlurm, "PMI_SIZE", "8"), plain, slurm_ok},
      {"open mpi, nothing set",
       {},
       itp,
       "launch environment (Open MPI, --dist_on_itp): not set: OMPI_COMM_WORLD_RANK, OMPI_COMM_WORLD_SIZE, "
       "OMPI_COMM_WORLD_LOCAL_RANK, MASTER_ADDR, MASTER_PORT"},
  };
  for (const Case& c : cases) {
    const auto result = DetectLaunchEnvironment(c.options, [&c](const std::string& name) -> std::optional<std::string> {
      const auto found = c.variables.find(name);
      if (found == c.variables.end()) return std::nullopt;
      return found->second;
    });
    EXPECT_EQ(Describe(result), c.expected) << c.what;
    EXPECT_TRUE(result.ok() || absl::IsInvalidArgument(result.status())) << c.what;
  }
}

TEST(ExpandSlurmNodeListTest, Forms) {
  using Hosts = std::vector<std::string>;
  EXPECT_EQ(*ExpandSlurmNodeList("node1"), Hosts({"node1"}));
  EXPECT_EQ(*ExpandSlurmNodeList("a,b-2"), Hosts({"a", "b-2"}));
  EXPECT_EQ(*ExpandSlurmNodeList("a[1-2,4]"), Hosts({"a1", "a2", "a4"}));
  EXPECT_EQ(*ExpandSlurmNodeList("gpu[08-10],login"), Hosts({"gpu08", "gpu09", "gpu10", "login"}));
  for (const char* bad : {"", "a[", "a[1", "a[1-", "a[2-1]", "a[x]", "a[1]b", "a,,b", "a]", "a[1-999999999]"}) {
    EXPECT_EQ(ExpandSlurmNodeList(bad).status().code(), absl::StatusCode::kInvalidArgument) << bad;
  }
}

}  // namespace
}  // namespace tec
