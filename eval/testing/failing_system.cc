// To be preloaded into a program (LD_PRELOAD): the system fails where a test says so, by the environment.
//
//   TEC_FAIL_PATH    a part of the path of the files that are meant
//   TEC_FAIL_ERRNO   the error of those; 0: the file is cut to its half instead, once; -9: the program is killed
//   TEC_FAIL_WAIT    a file that is waited for before that, for half a minute
//   TEC_FAIL_CALL    "open" or "read" (and pread)
//   TEC_FAIL_AFTER   calls that succeed before
//   TEC_FAIL_COUNT   calls that fail then; all that follow if it is negative
//   TEC_CLOCK_BACK   readings of the wall clock after which it is a day behind

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#include <atomic>

namespace {

long Number(const char* name, long otherwise) {
  const char* text = getenv(name);
  return text == nullptr ? otherwise : atol(text);
}

// Whether this call fails, with errno set, as the environment says.
bool Fails(const char* call, const char* path) {
  static const char* const part = getenv("TEC_FAIL_PATH");
  static const char* const failing = getenv("TEC_FAIL_CALL");
  if (part == nullptr || failing == nullptr || strcmp(call, failing) != 0 || strstr(path, part) == nullptr)
    return false;
  static std::atomic<long> seen{0};
  static const long after = Number("TEC_FAIL_AFTER", 0), count = Number("TEC_FAIL_COUNT", -1);
  static const int error = static_cast<int>(Number("TEC_FAIL_ERRNO", EIO));
  const long number = seen++;
  if (number < after || (count >= 0 && number >= after + count)) return false;
  if (error < 0) {
    const char* const file = getenv("TEC_FAIL_WAIT");
    for (int tries = 0; file != nullptr && tries < 300 && access(file, F_OK) != 0; ++tries) usleep(100000);
    raise(-error);
  }
  if (error == 0) {
    struct stat info;
    if (number == after && stat(path, &info) == 0 && truncate(path, info.st_size / 2) != 0) abort();
    return false;
  }
  errno = error;
  return true;
}

bool FailsToRead(int fd) {
  if (getenv("TEC_FAIL_PATH") == nullptr) return false;
  char link[64], path[4096];
  snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
  const ssize_t size = readlink(link, path, sizeof(path) - 1);
  if (size < 0) return false;
  path[size] = '\0';
  return Fails("read", path);
}

int OpenOrFail(const char* name, const char* path, int flags, mode_t mode) {
  if (Fails("open", path)) return -1;
  using Function = int (*)(const char*, int, ...);
  return reinterpret_cast<Function>(dlsym(RTLD_NEXT, name))(path, flags, mode);
}

mode_t ModeOf(int flags, va_list arguments) { return (flags & O_CREAT) != 0 ? va_arg(arguments, mode_t) : 0; }

time_t SecondsBack() {
  static std::atomic<long> readings{0};
  static const long after = Number("TEC_CLOCK_BACK", -1);
  return after >= 0 && readings++ >= after ? 86400 : 0;
}

}  // namespace

extern "C" {

int open(const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = ModeOf(flags, arguments);
  va_end(arguments);
  return OpenOrFail("open", path, flags, mode);
}

int open64(const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = ModeOf(flags, arguments);
  va_end(arguments);
  return OpenOrFail("open64", path, flags, mode);
}

ssize_t read(int fd, void* out, size_t count) {
  using Function = ssize_t (*)(int, void*, size_t);
  static const auto real = reinterpret_cast<Function>(dlsym(RTLD_NEXT, "read"));
  return FailsToRead(fd) ? -1 : real(fd, out, count);
}

ssize_t __read_chk(int fd, void* out, size_t count, size_t /*size*/) { return read(fd, out, count); }

ssize_t pread(int fd, void* out, size_t count, off_t offset) {
  using Function = ssize_t (*)(int, void*, size_t, off_t);
  static const auto real = reinterpret_cast<Function>(dlsym(RTLD_NEXT, "pread"));
  return FailsToRead(fd) ? -1 : real(fd, out, count, offset);
}

ssize_t pread64(int fd, void* out, size_t count, off64_t offset) { return pread(fd, out, count, offset); }
ssize_t __pread_chk(int fd, void* out, size_t count, off_t offset, size_t /*size*/) {
  return pread(fd, out, count, offset);
}
ssize_t __pread64_chk(int fd, void* out, size_t count, off64_t offset, size_t /*size*/) {
  return pread(fd, out, count, offset);
}

int clock_gettime(clockid_t clock, timespec* now) {
  using Function = int (*)(clockid_t, timespec*);
  static const auto real = reinterpret_cast<Function>(dlsym(RTLD_NEXT, "clock_gettime"));
  const int result = real(clock, now);
  if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec -= SecondsBack();
  return result;
}

int gettimeofday(timeval* now, void* /*zone*/) {
  timespec precise;
  if (clock_gettime(CLOCK_REALTIME, &precise) != 0) return -1;
  now->tv_sec = precise.tv_sec;
  now->tv_usec = precise.tv_nsec / 1000;
  return 0;
}

time_t time(time_t* out) {
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (out != nullptr) *out = now.tv_sec;
  return now.tv_sec;
}

}  // extern "C"
