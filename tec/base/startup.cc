// What happens in every program before anything else of it: a processor that it is not compiled for is told of,
// --version is answered, and from then on an exception that nothing catches, in the initialisers of a library or in a
// thread, ends it with a line instead of an abort. tec_cc_binary links it; tec/base/BUILD compiles it for any x86-64.
//
// Before the initialisers of the libraries that it is linked with, too: those of LibTorch are compiled with AVX2.

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <exception>
#include <new>

#include "tec/base/version.h"

namespace {

enum { kDone = 0, kBadUse = 1, kFailed = 2 };  // As in exit_code.h, which needs Abseil.

void Write(int file, const char* text) {
  const ssize_t written = write(file, text, strlen(text));
  static_cast<void>(written);  // Nobody is left to tell.
}

// program_invocation_short_name is set by the C library's initialiser, which has not run yet.
const char* NameOf(int argc, char** argv) {
  if (argc < 1) return "tec";
  const char* slash = strrchr(argv[0], '/');
  return slash == nullptr ? argv[0] : slash + 1;
}

[[noreturn]] void EndByException() {
  if (std::current_exception() == nullptr) abort();  // A mistake of ours, whose place a core file shows.
  Write(STDERR_FILENO, program_invocation_short_name);
  try {
    throw;
  } catch (const std::bad_alloc&) {
    Write(STDERR_FILENO, ": not enough memory");
  } catch (const std::exception& exception) {
    Write(STDERR_FILENO, ": unexpected error of a library: ");
    Write(STDERR_FILENO, exception.what());
  } catch (...) {
    Write(STDERR_FILENO, ": unexpected error of a library");
  }
  Write(STDERR_FILENO, "\n");
  _exit(kFailed);
}

void StartUp(int argc, char** argv, char**) {
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") || !__builtin_cpu_supports("bmi2")) {
    Write(STDERR_FILENO, NameOf(argc, argv));
    Write(STDERR_FILENO, ": this processor lacks AVX2, FMA or BMI2 (x86-64-v3), for which the programs are compiled\n");
    _exit(kBadUse);
  }
  if (argc == 2 && strcmp(argv[1], "--version") == 0) {
    Write(STDOUT_FILENO, NameOf(argc, argv));
    Write(STDOUT_FILENO, " (TEC) ");
    Write(STDOUT_FILENO, tec::kVersion);
    Write(STDOUT_FILENO, "\n");
    _exit(kDone);
  }
  std::set_terminate(EndByException);
}

// The dynamic loader calls what stands here first of all.
__attribute__((section(".preinit_array"), used)) void (*const kStartUp)(int, char**, char**) = StartUp;

}  // namespace
