// Running this workspace's programs in tests.

#ifndef TEC_EVAL_TESTING_PROGRAM_H_
#define TEC_EVAL_TESTING_PROGRAM_H_

#include <string>

namespace tec::testing {

// What RunProgram() calls the programs; a test has those in its `data`.
inline constexpr char kPretrain[] = "tec/pretrain", kFinetune[] = "eval/finetune/finetune", kKnn[] = "eval/knn/knn",
                      kLinear[] = "eval/linear/linear", kLogistic[] = "eval/logistic/logistic",
                      kPredict[] = "eval/predict/predict", kEmbed[] = "eval/embed/embed", kDense[] = "eval/dense/dense",
                      kReport[] = "eval/report/report", kConvert[] = "tools/convert/convert",
                      kVerify[] = "tools/verify_dataset/verify_dataset", kShard[] = "tools/shard/shard",
                      kPreview[] = "tools/augment_preview/augment_preview";

struct ProgramResult {
  int exit_code = -1;
  std::string output;  // Standard output and standard error together.
};
// Runs a program of this workspace ("eval/knn/knn") with `arguments`, which the shell sees as they are. One that draws
// a page at its end (--report) goes without, unless they speak of a report: that takes as long as all else of a tiny
// run.
ProgramResult RunProgram(const std::string& program, const std::string& arguments);

// The same, with a SIGTERM as soon as the program handles that signal, which is before its work begins, and the shell
// command `when` succeeds.
ProgramResult StopProgram(const std::string& program, const std::string& arguments, const std::string& when = "true");

// The same of a line of bash, without single quotes.
ProgramResult RunShell(const std::string& script);

// A fresh empty folder for this test.
std::string FreshFolder(const std::string& name);

}  // namespace tec::testing

#endif  // TEC_EVAL_TESTING_PROGRAM_H_
