// //tec:pretrain as a process, for the tests of what its users meet.

#ifndef TEC_TRAIN_PRETRAIN_PROGRAM_H_
#define TEC_TRAIN_PRETRAIN_PROGRAM_H_

#include <signal.h>
#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace tec {
namespace testing {

// //tec:pretrain, started with these arguments and, beside this process's, these environment variables.
class Program {
 public:
  Program(
      const std::vector<std::string>& arguments, const std::map<std::string, std::string>& environment = {},
      const std::function<void()>& in_child = [] {});
  // Kills it.
  ~Program();
  Program(Program&& other) noexcept;

  // The exit code, or minus the signal.
  int Wait();
  bool Running() const;
  void Signal(int signal) { kill(pid_, signal); }
  // What it has printed so far.
  std::string Output() const;

 private:
  std::string output_;
  pid_t pid_ = -1;
  mutable siginfo_t info_ = {};
};

int64_t CountLines(const std::string& path);
// Waits until the run has logged `updates` updates; false if it ended before.
bool WaitForUpdates(const Program& program, const std::string& out, int64_t updates);
// Of a JSON object's line.
double Number(const std::string& line, const std::string& key);
// torchrun's variables.
std::map<std::string, std::string> RankEnvironment(int rank, int port, int ranks = 2);

// Pictures, a base model and an experiment against it (small_run.h).
class ProgramTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite();
  static std::vector<std::string> Arguments(const std::string& out, const std::vector<std::string>& more = {});

  static std::string* pictures_;
  static std::string* base_model_;
  static std::string* config_;
};

}  // namespace testing
}  // namespace tec

#endif  // TEC_TRAIN_PRETRAIN_PROGRAM_H_
