// Flags of the programs that train a head on a frozen encoder (head_run.h), and how such a program ends.

#ifndef TEC_EVAL_PROGRAM_HEAD_FLAGS_H_
#define TEC_EVAL_PROGRAM_HEAD_FLAGS_H_

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "eval/program/head_run.h"
#include "tec/config/flag_parser.h"

namespace tec {

// --log_dir --resume --eval --print_freq. --report --report_seconds are apart, as what is no training
// has them too.
FlagGroup HeadOutputFlags();
std::vector<FlagSpec> ReportFlags();

// These flags' values, checked; output_dir is ./output_dir unless given. InvalidArgument names the flag.
absl::Status ReadHeadFlags(HeadRunOptions* options);

// InvalidArgument unless a flag's whole number is at least `least`, or all of several numbers are finite and not
// negative.
absl::Status CheckAtLeast(const char* flag, int64_t value, int64_t least);
absl::Status CheckNotNegative(const std::vector<std::pair<const char*, double>>& flags);

// Runs `run` while the page of output_dir is made (background_report.h), unless that is empty or --noreport is given;
// Cancelled if it was stopped. `draws`: its page has the encoder's pictures, drawn at the end; the program calls
// DrawRunPicturesIfAsked.
absl::Status RunWithPage(const std::string& output_dir, bool draws,
                         const std::function<absl::StatusOr<LoopResult>()>& run);

}  // namespace tec

#endif  // TEC_EVAL_PROGRAM_HEAD_FLAGS_H_
