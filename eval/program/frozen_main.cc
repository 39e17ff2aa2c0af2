// How a program of frozen_program.h begins and ends.

#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "eval/program/frozen_program.h"
#include "tec/base/exit_code.h"
#include "tec/base/logging.h"
#include "tec/base/program.h"
#include "tec/base/status.h"
#include "tec/config/distributed_flags.h"
#include "tec/dist/environment.h"
#include "tec/dist/flags.h"
#include "tec/run/torch_runtime.h"

namespace tec {
namespace {

absl::Status CheckSingleProcess(const std::string& name) {
  const absl::StatusOr<LaunchEnvironment> environment = DetectLaunchEnvironment(LaunchOptions());
  if (!environment.ok()) return environment.status();
  if (environment->world_size == 1) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("the environment asks for ", environment->world_size,
                                                 " processes, but ", name,
                                                 " runs in one; unset RANK and WORLD_SIZE (or their like of the "
                                                 "launcher)"));
}

// `work`: what is to be done with the flags, in this process or several.
int Main(int argc, char** argv, const std::string& name, const std::string& usage, const std::vector<FlagGroup>& groups,
         const std::function<absl::Status(const ParsedFlags& parsed)>& work,
         const std::function<void(const absl::Status& error)>& tell) {
  InitLogging(argv[0]);
  const absl::StatusOr<ParsedFlags> parsed = ParseFlags(argc, argv, groups);
  if (parsed.ok() && parsed->help) {
    std::printf("%s%s", usage.c_str(), DescribeFlags(groups).c_str());
    return std::fflush(stdout) == 0 ? kExitDone : kExitBadInput;
  }
  if (!parsed.ok()) tell(parsed.status());
  const absl::Status status = parsed.ok() ? work(*parsed) : parsed.status();
  // A run that was stopped has said so, and where it goes on.
  return absl::IsCancelled(status) ? kExitStopped : ReportStatus(name, status);
}

}  // namespace

int FrozenMain(int argc, char** argv, const std::string& name, const std::string& usage,
               const std::vector<FlagGroup>& groups,
               const std::function<absl::Status(const ParsedFlags& parsed)>& body) {
  const auto alone = [&](const ParsedFlags& parsed) -> absl::Status {
    TEC_RETURN_IF_ERROR(CheckSingleProcess(name));
    return CatchTorch([&] { return body(parsed); });
  };
  return Main(argc, argv, name, usage, groups, alone, [](const absl::Status&) {});
}

int FrozenRanksMain(int argc, char** argv, const std::string& name, const std::string& usage,
                    std::vector<FlagGroup> groups,
                    const std::function<absl::StatusOr<FrozenWork>(const ParsedFlags& parsed)>& prepare) {
  groups.push_back(DistributedFlagGroup());
  const auto tell = [](const absl::Status& error) { TellRanks(DistributedFlags(), error); };
  const auto over_ranks = [&](const ParsedFlags& parsed) -> absl::Status {
    const absl::StatusOr<FrozenWork> work = prepare(parsed);
    if (!work.ok()) tell(work.status());
    TEC_RETURN_IF_ERROR(work.status());
    return CatchTorch(*work);
  };
  return Main(argc, argv, name, usage, groups, over_ranks, tell);
}

}  // namespace tec
