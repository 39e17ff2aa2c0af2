// tec SUBCOMMAND ...: every program in one binary, for those who install it instead of building it.
//
// Each program brings its main() and its static initialisers under names of its own; only those of the one that is
// asked for run (tools/build_defs/multicall.bzl).

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <string>

#include "tec/base/exit_code.h"
#include "tec/base/version.h"

using Initialiser = void (*)(int, char**, char**);

// The linker makes these two names from the section's. A program without initialisers has no section.
#define TEC_PROGRAM(id, subcommand, text)                                                           \
  extern "C" int tec_main_##id(int argc, char** argv);                                              \
  extern "C" __attribute__((weak, visibility("hidden"))) const Initialiser __start_tec_init_##id[]; \
  extern "C" __attribute__((weak, visibility("hidden"))) const Initialiser __stop_tec_init_##id[];
#include "tec/command/programs.inc"
#undef TEC_PROGRAM

namespace {

struct Program {
  const char* subcommand;
  const char* text;
  int (*main)(int, char**);
  const Initialiser* begin;
  const Initialiser* end;
};

const Program kPrograms[] = {
#define TEC_PROGRAM(id, subcommand, text) \
  {subcommand, text, tec_main_##id, __start_tec_init_##id, __stop_tec_init_##id},
#include "tec/command/programs.inc"
#undef TEC_PROGRAM
};

void PrintHelp(std::FILE* file) {
  std::fprintf(file,
               "TEC %s: pretraining of image encoders, their evaluation, and tools for their weights.\n\n"
               "usage: tec SUBCOMMAND ...\n\n",
               tec::kVersion);
  for (const Program& program : kPrograms) std::fprintf(file, "  %-16s %s\n", program.subcommand, program.text);
  std::fprintf(file,
               "\n`tec SUBCOMMAND --help` lists its flags; `tec pretrain` without any shows what the method does.\n");
}

}  // namespace

int main(int argc, char** argv) {
  std::string wanted = argc < 2 ? "" : argv[1];
  if (wanted.empty() || wanted == "--help" || wanted == "-h" || wanted == "help") {
    PrintHelp(argc < 2 ? stderr : stdout);
    return argc < 2 ? tec::kExitBadInput : tec::kExitDone;
  }
  std::replace(wanted.begin(), wanted.end(), '_', '-');
  for (const Program& program : kPrograms) {
    if (wanted != program.subcommand) continue;
    for (const Initialiser* initialiser = program.begin; initialiser != program.end; ++initialiser) {
      (*initialiser)(argc - 1, argv + 1, environ);
    }
    return program.main(argc - 1, argv + 1);
  }
  std::fprintf(stderr, "tec: there is no subcommand \"%s\"; `tec --help` lists them\n", argv[1]);
  return tec::kExitBadInput;
}
