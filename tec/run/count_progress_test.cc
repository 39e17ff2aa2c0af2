#include "tec/run/count_progress.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <cstdio>
#include <string>

#include "gtest/gtest.h"

namespace {
time_t later = 0;  // Seconds that the clocks of this program are ahead.
}  // namespace

// Stands before the C library's in this program.
extern "C" int clock_gettime(clockid_t clock, timespec* time) noexcept {
  using Function = int (*)(clockid_t, timespec*);
  static const auto real = reinterpret_cast<Function>(dlsym(RTLD_NEXT, "clock_gettime"));
  const int result = real(clock, time);
  time->tv_sec += later;
  return result;
}

namespace tec {
namespace {

TEST(CountProgressTest, SaysRateAndTimeLeft) {
  EXPECT_EQ(FormatCount("features of train", 1000, 51000, 2),
            "features of train: 1000/51000 images, 500.0 images/s, 0:01:40 left");
  EXPECT_EQ(FormatCount("x", 0, 10, 2), "x: 0/10 images");
}

// What a program writes that counts to 300 of 400 with 20 seconds between two hundreds, to the file whose other end is
// `other`.
std::string Written(int file, int other) {
  std::FILE* out = fdopen(file, "w");
  {
    CountProgress progress("pictures", out);
    for (int done = 100; done <= 300; done += 100) {
      later += 20;
      progress.Update(done, 400);
      progress.Update(done, 400);  // At the same time: not said again.
    }
  }
  std::fflush(out);
  fcntl(other, F_SETFL, O_NONBLOCK);
  std::string written;
  char piece[256];
  for (ssize_t count; (count = read(other, piece, sizeof(piece))) > 0;) written.append(piece, count);
  std::fclose(out);
  close(other);
  return written;
}

TEST(CountProgressTest, InAPipeEveryCountIsALine) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  EXPECT_EQ(Written(ends[1], ends[0]),
            "pictures: 100/400 images, 5.0 images/s, 0:01:00 left\n"
            "pictures: 200/400 images, 5.0 images/s, 0:00:40 left\n"
            "pictures: 300/400 images, 5.0 images/s, 0:00:20 left\n");
}

TEST(CountProgressTest, OnATerminalALineIsDrawnOverAndTakenAwayInTheEnd) {
  const int terminal = posix_openpt(O_RDWR | O_NOCTTY);
  ASSERT_GE(terminal, 0) << "the system gives no terminal";
  ASSERT_EQ(grantpt(terminal), 0);
  ASSERT_EQ(unlockpt(terminal), 0);
  EXPECT_EQ(Written(open(ptsname(terminal), O_WRONLY | O_NOCTTY), terminal),
            "\r\033[Kpictures: 100/400 images, 5.0 images/s, 0:01:00 left"
            "\r\033[Kpictures: 200/400 images, 5.0 images/s, 0:00:40 left"
            "\r\033[Kpictures: 300/400 images, 5.0 images/s, 0:00:20 left\r\033[K");
}

}  // namespace
}  // namespace tec
