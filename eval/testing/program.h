// Running this workspace's programs in tests.

#ifndef TEC_EVAL_TESTING_PROGRAM_H_
#define TEC_EVAL_TESTING_PROGRAM_H_

#include <string>

namespace tec::testing {

struct ProgramResult {
  int exit_code = -1;
  std::string output;  // Standard output and standard error together.
};
// Runs a program of this workspace ("eval/knn/knn") with `arguments`, which the shell sees as they are.
ProgramResult RunProgram(const std::string& program, const std::string& arguments);

// The same, with a SIGTERM as soon as the program handles that signal, which is before its work begins, and the shell
// command `when` succeeds.
ProgramResult StopProgram(const std::string& program, const std::string& arguments, const std::string& when = "true");

// A fresh empty folder for this test.
std::string FreshFolder(const std::string& name);

}  // namespace tec::testing

#endif  // TEC_EVAL_TESTING_PROGRAM_H_
