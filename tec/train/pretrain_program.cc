#include "tec/train/pretrain_program.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "tec/base/logging.h"
#include "tec/train/small_run.h"

namespace tec {
namespace testing {

Program::Program(const std::vector<std::string>& arguments, const std::map<std::string, std::string>& environment,
                 const std::function<void()>& in_child) {
  static int count = 0;
  output_ = absl::StrCat(EmptyFolder(absl::StrCat("program", count++)), "/output");
  // Here, so that it is there at once for Output.
  const int fd = open(output_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  pid_ = fork();
  TEC_CHECK_GE(pid_, 0);
  if (pid_ != 0) {
    close(fd);
    return;
  }
  dup2(fd, STDOUT_FILENO);
  dup2(fd, STDERR_FILENO);
  for (const auto& [name, value] : environment) setenv(name.c_str(), value.c_str(), 1);
  std::vector<char*> argv = {const_cast<char*>("pretrain")};
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  in_child();
  execv("tec/pretrain", argv.data());
  _exit(127);
}

Program::~Program() {
  if (pid_ > 0) {
    kill(pid_, SIGKILL);
    Wait();
  }
}

Program::Program(Program&& other) noexcept
    : output_(std::move(other.output_)), pid_(std::exchange(other.pid_, -1)), info_(other.info_) {}

int Program::Wait() {
  int status = 0;
  TEC_CHECK_EQ(waitpid(pid_, &status, 0), pid_);
  pid_ = -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

bool Program::Running() const {
  return kill(pid_, 0) == 0 && waitid(P_PID, pid_, &info_, WEXITED | WNOHANG | WNOWAIT) == 0 && info_.si_pid == 0;
}

std::string Program::Output() const { return FileBytes(output_); }

int64_t CountLines(const std::string& path) {
  return Exists(path) ? static_cast<int64_t>(Lines(FileBytes(path)).size()) : 0;
}

bool WaitForUpdates(const Program& program, const std::string& out, int64_t updates) {
  while (CountLines(out + "/metrics.jsonl") < updates) {
    if (!program.Running()) return false;
    absl::SleepFor(absl::Milliseconds(5));
  }
  return true;
}

double Number(const std::string& line, const std::string& key) {
  const size_t at = line.find(absl::StrCat("\"", key, "\": "));
  EXPECT_NE(at, std::string::npos) << key << " in " << line;
  return at == std::string::npos ? 0 : std::atof(line.c_str() + at + key.size() + 4);
}

std::map<std::string, std::string> RankEnvironment(int rank, int port, int ranks) {
  return {{"RANK", absl::StrCat(rank)},        {"LOCAL_RANK", absl::StrCat(rank)},
          {"WORLD_SIZE", absl::StrCat(ranks)}, {"LOCAL_WORLD_SIZE", absl::StrCat(ranks)},
          {"MASTER_ADDR", "127.0.0.1"},        {"MASTER_PORT", absl::StrCat(port)}};
}

void ProgramTest::SetUpTestSuite() {
  pictures_ = new std::string(EmptyFolder("pictures"));
  MakePictures(*pictures_);
  const std::string base = EmptyFolder("base");
  WriteText(base + "/mae.textproto", MaeText(*pictures_, base));
  Program program({"--config", base + "/mae.textproto", "--epochs=1"});
  ASSERT_EQ(program.Wait(), 0) << program.Output();
  base_model_ = new std::string(base + "/checkpoint-0.pth");
  config_ = new std::string(base + "/tec.textproto");
  WriteText(*config_, TecText(*pictures_, *base_model_, base + "/unused"));
}

std::vector<std::string> ProgramTest::Arguments(const std::string& out, const std::vector<std::string>& more) {
  std::vector<std::string> arguments = {"--config=" + *config_, "--output_dir=" + out, "--log_dir=" + out};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

std::string* ProgramTest::pictures_ = nullptr;
std::string* ProgramTest::base_model_ = nullptr;
std::string* ProgramTest::config_ = nullptr;

}  // namespace testing
}  // namespace tec
