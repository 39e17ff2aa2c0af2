// The thread of rank 0 that serves the others on a machine so busy that it gets to run now and then only.

#include <dlfcn.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <string>
#include <thread>

#include "absl/strings/match.h"
#include "gtest/gtest.h"
#include "tec/dist/launch.h"
#include "tec/dist/lifeline.h"

namespace {
std::atomic<bool> slow{false};
thread_local bool of_the_test = false;
}  // namespace

// Stands before the C library's in this program: while `slow`, a thread that is not the test's own is held up after
// what it sends, as it is where a scheduler lets the receiver run first.
extern "C" ssize_t send(int fd, const void* bytes, size_t size, int flags) {
  using Function = ssize_t (*)(int, const void*, size_t, int);
  static const auto real = reinterpret_cast<Function>(dlsym(RTLD_NEXT, "send"));
  const ssize_t sent = real(fd, bytes, size, flags);
  constexpr int kHeldUpMicroseconds = 100000;
  if (slow && !of_the_test) usleep(kHeldUpMicroseconds);
  return sent;
}

namespace tec {
namespace {

// Rank 0 says why it ends and hangs up before its own server has come to reading it.
TEST(LifelineSlowTest, LastWordsOfRankZeroReachWhoComesLater) {
  of_the_test = true;
  slow = true;
  LifelineOptions options;
  options.world_size = 2;
  options.address = "127.0.0.1";
  options.port = *FreePort();
  options.one_machine = true;
  options.timeout_seconds = 20;
  std::string later;
  std::thread other([&] {
    of_the_test = true;
    constexpr int kLaterMicroseconds = 1500000;
    usleep(kLaterMicroseconds);
    LifelineOptions own = options;
    own.rank = 1;
    own.timeout_seconds = 5;
    later = std::string(Lifeline::Meet(own).status().message());
  });
  options.rank = 0;
  EXPECT_EQ(Lifeline::Meet(options, absl::InvalidArgumentError("no such folder")).status().message(), "no such folder");
  other.join();
  slow = false;
  EXPECT_TRUE(absl::StrContains(later, "rank 0") && absl::StrContains(later, "no such folder")) << later;
}

}  // namespace
}  // namespace tec
