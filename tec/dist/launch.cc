#include "tec/dist/launch.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstddef>
#include <cstdio>
#include <iterator>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/time/time.h"
#include "tec/base/exit_code.h"
#include "tec/base/file.h"
#include "tec/base/logging.h"
#include "tec/base/status.h"
#include "tec/base/steady_seconds.h"

extern char** environ;

namespace tec {
namespace {

constexpr int kPollMilliseconds = 100;

// What is passed on (tec/run/stop_signal.h), and how often each came and was not passed on yet.
constexpr int kPassedOn[] = {SIGINT, SIGTERM, SIGHUP, SIGUSR1};
std::atomic<int> pending[std::size(kPassedOn)];
static_assert(std::atomic<int>::is_always_lock_free, "used in a signal handler");

// Of those, the ones that ask for an end.
bool AsksForEnd(int signal) { return signal != SIGUSR1; }

void Count(int signal) {
  for (size_t i = 0; i < std::size(kPassedOn); ++i) {
    if (kPassedOn[i] == signal) ++pending[i];
  }
}

class CountSignals {
 public:
  CountSignals() {
    struct sigaction action;
    memset(&action, 0, sizeof(action));
    action.sa_handler = Count;
    action.sa_flags = SA_RESTART;
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < std::size(kPassedOn); ++i) {
      pending[i] = 0;
      sigaction(kPassedOn[i], &action, &former_[i]);
      // Of nohup: ours and the ranks' are to outlive the terminal.
      if (kPassedOn[i] == SIGHUP && former_[i].sa_handler == SIG_IGN) sigaction(SIGHUP, &former_[i], nullptr);
    }
  }
  ~CountSignals() {
    for (size_t i = 0; i < std::size(kPassedOn); ++i) sigaction(kPassedOn[i], &former_[i], nullptr);
  }

 private:
  struct sigaction former_[std::size(kPassedOn)];
};

}  // namespace

absl::StatusOr<int> FreePort() {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return ErrnoToStatus(errno, "cannot open", "a socket");
  const absl::Cleanup close_socket = [fd] { close(fd); };
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  if (bind(fd, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
      getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    return ErrnoToStatus(errno, "cannot find a free port on", "127.0.0.1");
  }
  return ntohs(address.sin_port);
}

namespace {

absl::StatusOr<int> OpenLog(const std::string& path) {
  // O_NONBLOCK: a FIFO that nobody reads is an error, and not waited for. Files do not know it.
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NONBLOCK, 0644);
  if (fd < 0) return ErrnoToStatus(errno, "cannot write", path);
  return fd;
}

std::vector<char*> Pointers(std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  for (std::string& string : strings) pointers.push_back(string.data());
  pointers.push_back(nullptr);
  return pointers;
}

std::vector<std::string> RankEnvironment(int rank, int ranks, int port) {
  std::vector<std::string> environment;
  for (char** variable = environ; *variable != nullptr; ++variable) environment.push_back(*variable);
  // The first of two equal names counts in a search, so the launcher's own go in front.
  if (ranks > 1) {
    const std::vector<std::string> own = {absl::StrCat("RANK=", rank),       absl::StrCat("WORLD_SIZE=", ranks),
                                          absl::StrCat("LOCAL_RANK=", rank), absl::StrCat("LOCAL_WORLD_SIZE=", ranks),
                                          "MASTER_ADDR=127.0.0.1",           absl::StrCat("MASTER_PORT=", port)};
    environment.insert(environment.begin(), own.begin(), own.end());
  }
  return environment;
}

// A rank whose output goes to `output`. An exec that fails is told through a pipe, for its reason.
absl::StatusOr<pid_t> Start(std::vector<std::string> command, std::vector<std::string> environment, int output) {
  int exec_error[2];
  if (pipe2(exec_error, O_CLOEXEC) != 0) return ErrnoToStatus(errno, "cannot make", "a pipe");
  const std::vector<char*> arguments = Pointers(command), variables = Pointers(environment);
  const pid_t parent = getpid(), child = fork();
  if (child == 0) {
    // Its own process group: a Ctrl-C at the terminal reaches it once, from us.
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    // exec() keeps what is ignored, as nohup wants of SIGHUP, but a shell in the background ignores SIGINT, too.
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    if (getppid() == parent && dup2(output, STDOUT_FILENO) >= 0 && dup2(output, STDERR_FILENO) >= 0) {
      execve(arguments[0], arguments.data(), variables.data());
    }
    const int error = errno;
    (void)!write(exec_error[1], &error, sizeof(error));
    _exit(127);
  }
  const int fork_error = errno;
  close(exec_error[1]);
  const absl::Cleanup close_pipe = [&] { close(exec_error[0]); };
  if (child < 0) return ErrnoToStatus(fork_error, "cannot start", command[0]);
  setpgid(child, child);  // Whoever comes first.
  int error = 0;
  if (read(exec_error[0], &error, sizeof(error)) == sizeof(error)) {
    waitpid(child, nullptr, 0);
    return ErrnoToStatus(error, "cannot start", command[0]);
  }
  return child;
}

// All of `bytes`, whatever the pipe or disk takes at a time.
bool WriteAll(int fd, const char* bytes, size_t size) {
  while (size > 0) {
    const ssize_t written = write(fd, bytes, size);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    bytes += written;
    size -= written;
  }
  return true;
}

class Ranks {
 public:
  explicit Ranks(absl::Duration grace) : grace_(grace) {}
  // No rank outlives the call, also after an error of our own.
  ~Ranks() {
    for (pid_t pid : running_) {
      if (pid > 0) {
        kill(-pid, SIGKILL);
        waitpid(pid, nullptr, 0);
      }
    }
  }

  void Add(pid_t pid) { running_.push_back(pid); }

  bool AnyRunning() const {
    for (const pid_t pid : running_) {
      if (pid > 0) return true;
    }
    return false;
  }

  // Also to what the ranks have started.
  void Signal(int signal) const {
    for (const pid_t pid : running_) {
      if (pid > 0) kill(-pid, signal);
    }
  }

  // Takes note of ranks that have ended, and ends the others some time after one has failed.
  void Collect() {
    for (pid_t& pid : running_) {
      int status = 0;
      if (pid <= 0 || waitpid(pid, &status, WNOHANG) != pid) continue;
      pid = 0;
      const int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
      if (code == kExitStopped) {
        stopped_ = true;
      } else if (code != kExitDone && failure_ == kExitDone) {
        failure_ = code;
        kill_time_ = SteadySeconds() + absl::ToDoubleSeconds(grace_);
        Signal(SIGTERM);
      }
    }
    if (failure_ != kExitDone && SteadySeconds() > kill_time_) Signal(SIGKILL);
  }

  int exit_code() const { return failure_ != kExitDone ? failure_ : (stopped_ ? kExitStopped : kExitDone); }

 private:
  const absl::Duration grace_;
  std::vector<pid_t> running_;  // 0: has ended.
  int failure_ = kExitDone;
  bool stopped_ = false;
  double kill_time_ = 0;  // Of SteadySeconds.
};

}  // namespace

absl::StatusOr<int> RunRanks(const LaunchRequest& request) {
  TEC_CHECK(!request.command.empty() && request.ranks >= 1);
  TEC_ASSIGN_OR_RETURN(const int log, OpenLog(request.log_file));
  const absl::Cleanup close_log = [log] { close(log); };
  int port = 0;
  if (request.ranks > 1) {
    TEC_ASSIGN_OR_RETURN(port, FreePort());
  }
  int output[2];
  if (pipe2(output, O_CLOEXEC) != 0) return ErrnoToStatus(errno, "cannot make", "a pipe");
  const absl::Cleanup close_output = [&] { close(output[0]); };
  absl::Cleanup close_input = [&] { close(output[1]); };

  const CountSignals signals;
  Ranks ranks(request.grace);
  for (int rank = 0; rank < request.ranks; ++rank) {
    int rank_output = output[1];
    if (rank > 0) {
      TEC_ASSIGN_OR_RETURN(rank_output, OpenLog(absl::StrCat(request.log_file, ".rank", rank)));
    }
    absl::StatusOr<pid_t> pid = Start(request.command, RankEnvironment(rank, request.ranks, port), rank_output);
    if (rank > 0) close(rank_output);
    if (!pid.ok()) return pid.status();
    ranks.Add(*pid);
  }
  std::move(close_input).Invoke();  // Now the pipe ends when rank 0 does.

  // A round with nobody left takes what is still in the pipe, and does not wait for its end: a process that a rank left
  // behind may hold it open.
  for (bool open = true, running = true; running || open;) {
    running = ranks.AnyRunning();
    pollfd readable = {open ? output[0] : -1, POLLIN, 0};
    const int ready = poll(&readable, 1, running ? kPollMilliseconds : 0);
    if (ready > 0) {
      char buffer[4096];
      const ssize_t size = read(output[0], buffer, sizeof(buffer));
      if (size > 0) {
        std::fwrite(buffer, 1, size, stdout);
        std::fflush(stdout);
        if (!WriteAll(log, buffer, size)) return ErrnoToStatus(errno, "cannot write", request.log_file);
      } else if (size == 0 || errno != EINTR) {
        open = false;
      }
    } else if (!running) {
      open = false;
    }
    for (size_t i = 0; i < std::size(kPassedOn); ++i) {
      while (pending[i] > 0) {
        --pending[i];
        if (request.stop_requested != nullptr && AsksForEnd(kPassedOn[i])) *request.stop_requested = true;
        ranks.Signal(kPassedOn[i]);
      }
    }
    ranks.Collect();
  }
  return ranks.exit_code();
}

std::string ShellCommand(const std::vector<std::string>& command) {
  constexpr char kPlain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./=:,+%@";
  return absl::StrJoin(command, " ", [&](std::string* out, const std::string& word) {
    if (!word.empty() && word.find_first_not_of(kPlain) == std::string::npos) {
      absl::StrAppend(out, word);
    } else {
      absl::StrAppend(out, "'", absl::StrReplaceAll(word, {{"'", "'\\''"}}), "'");
    }
  });
}

}  // namespace tec
