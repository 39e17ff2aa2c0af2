// Starts a program as one or several ranks on this machine and waits for them, as torchrun --standalone does.

#ifndef TEC_DIST_LAUNCH_H_
#define TEC_DIST_LAUNCH_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace tec {

struct LaunchRequest {
  std::vector<std::string> command;  // A path to the program, then its arguments.
  // From 1. With more than one, each gets torchrun's variables: RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE,
  // MASTER_ADDR 127.0.0.1, MASTER_PORT a free port.
  int ranks = 1;
  // What rank 0 writes, to standard output or error, goes to our standard output and is appended here; what rank N
  // writes is appended to "<log_file>.rank<N>".
  std::string log_file;
  // Once a rank has failed, the others get SIGTERM, and after this time SIGKILL: they would wait for it in vain.
  absl::Duration grace = absl::Seconds(30);
  bool* stop_requested = nullptr;  // Becomes true if SIGINT, SIGTERM or SIGHUP came, however the ranks ended.
};

// The exit code: 0 if that of every rank is 0; else that of the first rank that failed, with 128 + N for a rank that
// was killed by signal N; else 3 (kExitStopped) if ranks stopped on request. SIGINT, SIGTERM, SIGHUP (unless it
// is ignored, as under nohup) and SIGUSR1 are passed on to the ranks, each time they come; ranks get SIGTERM, too, if
// this process dies. One call at a time. Errors: the program
// cannot be started (NotFound, PermissionDenied), the log cannot be written.
absl::StatusOr<int> RunRanks(const LaunchRequest& request);

// A TCP port of 127.0.0.1 that nobody listens on now.
absl::StatusOr<int> FreePort();

// The command as a shell understands it.
std::string ShellCommand(const std::vector<std::string>& command);

}  // namespace tec

#endif  // TEC_DIST_LAUNCH_H_
