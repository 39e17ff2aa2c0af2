// To be preloaded into a program (LD_PRELOAD): the system gives it TEC_MOST_THREADS threads and then none, as under
// "ulimit -u", which does not bind the superuser.

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include <atomic>

extern "C" int pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*start)(void*),
                              void* argument) {
  using Function = int (*)(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*);
  static const auto real = reinterpret_cast<Function>(dlsym(RTLD_NEXT, "pthread_create"));
  static std::atomic<int> left{getenv("TEC_MOST_THREADS") == nullptr ? 1000000 : atoi(getenv("TEC_MOST_THREADS"))};
  return --left < 0 ? EAGAIN : real(thread, attributes, start, argument);
}
