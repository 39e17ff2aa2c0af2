#include "tec/base/cores.h"

#include <sched.h>

#include <cstdlib>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tec/base/file.h"

namespace tec {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

// A machine of files.
class CoresTest : public ::testing::Test {
 protected:
  CoresTest()
      : root_(
            absl::StrCat(::testing::TempDir(), "/", ::testing::UnitTest::GetInstance()->current_test_info()->name())) {
    sched_getaffinity(0, sizeof(before_), &before_);
  }
  ~CoresTest() override { sched_setaffinity(0, sizeof(before_), &before_); }

  void Write(const std::string& path, const std::string& text) {
    const std::string whole = root_ + path;
    ASSERT_TRUE(MakeDirectories(whole.substr(0, whole.rfind('/'))).ok());
    ASSERT_TRUE(WriteFile(whole, text).ok());
  }
  int own() const { return CPU_COUNT(&before_); }

  const std::string root_;
  cpu_set_t before_;
};

TEST_F(CoresTest, WithoutAQuotaThoseOfTheAffinity) {
  EXPECT_EQ(UsableCores(root_), own());
  Write("/proc/self/cgroup", "0::/a/b\n");
  Write("/sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
  EXPECT_EQ(UsableCores(root_), own());
  cpu_set_t one;
  CPU_ZERO(&one);
  for (int core = 0; core < CPU_SETSIZE && CPU_COUNT(&one) == 0; ++core) {
    if (CPU_ISSET(core, &before_)) CPU_SET(core, &one);
  }
  ASSERT_EQ(sched_setaffinity(0, sizeof(one), &one), 0);
  EXPECT_EQ(UsableCores(root_), 1);
}

TEST_F(CoresTest, AQuotaOfAGroupAboveCounts) {
  Write("/proc/self/cgroup", "0::/a/b\n");
  Write("/sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
  Write("/sys/fs/cgroup/a/cpu.max", "50000 100000\n");
  EXPECT_EQ(UsableCores(root_), 1);
  Write("/sys/fs/cgroup/a/cpu.max", "110000 100000\n");
  EXPECT_EQ(UsableCores(root_), own() < 2 ? 1 : 2);
}

TEST_F(CoresTest, AContainersQuota) {
  Write("/proc/self/cgroup", "0::/\n");
  Write("/sys/fs/cgroup/cpu.max", "100000 100000\n");
  EXPECT_EQ(UsableCores(root_), 1);
}

TEST_F(CoresTest, TheFirstVersionsQuota) {
  Write("/proc/self/cgroup", "5:memory:/m\n4:cpu,cpuacct:/job\n");
  Write("/sys/fs/cgroup/cpu/job/cpu.cfs_quota_us", "-1\n");
  Write("/sys/fs/cgroup/cpu/job/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(UsableCores(root_), own());
  Write("/sys/fs/cgroup/cpu/job/cpu.cfs_quota_us", "70000\n");
  EXPECT_EQ(UsableCores(root_), 1);
}

TEST_F(CoresTest, ARanksShare) {
  EXPECT_EQ(CoresOfRank(1, root_), own());
  EXPECT_EQ(CoresOfRank(1000, root_), 1);
  EXPECT_EQ(CoresOfRank(2, root_), std::max(1, own() / 2));
  setenv("SLURM_CPUS_PER_TASK", "1", 1);
  EXPECT_EQ(CoresOfRank(2, root_), 1);
  setenv("SLURM_CPUS_PER_TASK", "100000", 1);
  EXPECT_EQ(CoresOfRank(2, root_), own());
  unsetenv("SLURM_CPUS_PER_TASK");
}

TEST_F(CoresTest, NodeOfADevice) {
  Write("/sys/bus/pci/devices/0000:65:00.0/numa_node", "1\n");
  Write("/sys/devices/system/node/online", "0-1\n");
  Write("/sys/devices/system/node/node1/cpulist", "2-3,6\n");
  EXPECT_EQ(NodeOfPciDevice("0000:65:00.0", root_), 1);
  EXPECT_THAT(CoresOfNode(1, root_), ElementsAre(2, 3, 6));
  EXPECT_EQ(NodeOfPciDevice("0000:99:00.0", root_), -1);
  EXPECT_THAT(CoresOfNode(7, root_), IsEmpty());
  Write("/sys/bus/pci/devices/0000:65:00.0/numa_node", "-1\n");
  EXPECT_EQ(NodeOfPciDevice("0000:65:00.0", root_), -1);
  Write("/sys/bus/pci/devices/0000:65:00.0/numa_node", "0\n");
  Write("/sys/devices/system/node/online", "0\n");
  EXPECT_EQ(NodeOfPciDevice("0000:65:00.0", root_), -1);
}

TEST_F(CoresTest, CoreLists) {
  EXPECT_THAT(ParseCoreList("0-2,5"), ElementsAre(0, 1, 2, 5));
  for (const char* bad : {"", "a", "3-1", "1-2-3", "-1", "0-999999", "1,"}) {
    EXPECT_THAT(ParseCoreList(bad), IsEmpty()) << bad;
  }
}

TEST_F(CoresTest, ThreadsThatAreStartedLaterAreBoundToo) {
  int core = 0;
  while (!CPU_ISSET(core, &before_)) ++core;
  EXPECT_EQ(RunOnNode(0, {9999 % CPU_SETSIZE}).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(UsableCores(root_), own());
  ASSERT_TRUE(RunOnNode(0, {core}).ok());
  int seen = -1;
  std::thread([&] {
    cpu_set_t set;
    sched_getaffinity(0, sizeof(set), &set);
    if (CPU_COUNT(&set) == 1 && CPU_ISSET(core, &set)) seen = core;
  }).join();
  EXPECT_EQ(seen, core);
}

}  // namespace
}  // namespace tec
