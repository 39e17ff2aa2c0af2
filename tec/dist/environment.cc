#include "tec/dist/environment.h"

#include <cstdlib>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "tec/base/status.h"

namespace tec {
namespace {

constexpr int kMaxRanks = 1 << 20;
constexpr int kMaxPort = 65535;
constexpr size_t kMaxHosts = 1 << 20;

// Reads variables and collects what is wrong with them, so that all of it is said at once.
class Reader {
 public:
  Reader(std::string launcher, const GetEnv& get_env) : launcher_(std::move(launcher)), get_env_(get_env) {}

  std::string Text(const std::string& name) {
    const auto value = get_env_(name);
    if (!value || value->empty()) {
      missing_.push_back(value ? name + " (empty)" : name);
      return "";
    }
    return *value;
  }

  int Integer(const std::string& name, int low, int high) {
    const std::string text = Text(name);
    if (text.empty()) return low;
    int value;
    if (!absl::SimpleAtoi(text, &value) || value < low || value > high) {
      wrong_.push_back(absl::StrFormat("%s is '%s', not a number from %d to %d", name, text, low, high));
      return low;
    }
    return value;
  }

  int IntegerOr(const std::string& name, int low, int high, int otherwise) {
    return get_env_(name) ? Integer(name, low, high) : otherwise;
  }

  void Problem(std::string text) { wrong_.push_back(std::move(text)); }

  bool ok() const { return missing_.empty() && wrong_.empty(); }

  absl::Status status() const {
    std::vector<std::string> problems = wrong_;
    if (!missing_.empty()) problems.push_back("not set: " + absl::StrJoin(missing_, ", "));
    if (problems.empty()) return absl::OkStatus();
    return absl::InvalidArgumentError(
        absl::StrCat("launch environment (", launcher_, "): ", absl::StrJoin(problems, "; ")));
  }

 private:
  std::string launcher_;
  const GetEnv& get_env_;
  std::vector<std::string> missing_, wrong_;
};

absl::Status CheckRanks(const LaunchEnvironment& environment, Reader& reader) {
  if (reader.ok() && environment.rank >= environment.world_size) {
    reader.Problem(
        absl::StrFormat("rank %d is not below the number of ranks %d", environment.rank, environment.world_size));
  }
  if (reader.ok() && environment.local_world_size > environment.world_size) {
    reader.Problem(absl::StrFormat("%d ranks on this machine, but only %d in all", environment.local_world_size,
                                   environment.world_size));
  }
  if (reader.ok() && environment.local_rank >= environment.local_world_size) {
    reader.Problem(absl::StrFormat("local rank %d is not below the number of ranks on this machine %d",
                                   environment.local_rank, environment.local_world_size));
  }
  return reader.status();
}

// Where rank 0 listens: --dist_url if it names a host, MASTER_ADDR and MASTER_PORT otherwise.
absl::Status ReadMaster(const LaunchOptions& options, Reader& reader, LaunchEnvironment* environment) {
  if (options.dist_url.empty() || options.dist_url == "env://") {
    environment->master_address = reader.Text("MASTER_ADDR");
    environment->master_port = reader.Integer("MASTER_PORT", 1, kMaxPort);
    return absl::OkStatus();
  }
  absl::string_view rest = options.dist_url;
  int port = 0;
  const size_t colon = rest.rfind(':');
  if (!absl::ConsumePrefix(&rest, "tcp://") || rest.rfind(':') == absl::string_view::npos || rest.rfind(':') == 0 ||
      !absl::SimpleAtoi(absl::string_view(options.dist_url).substr(colon + 1), &port) || port < 1 || port > kMaxPort) {
    return absl::InvalidArgumentError(
        absl::StrCat("--dist_url is '", options.dist_url, "'; it must be env:// or tcp://HOST:PORT"));
  }
  environment->master_address = std::string(rest.substr(0, rest.rfind(':')));
  environment->master_port = port;
  return absl::OkStatus();
}

absl::StatusOr<LaunchEnvironment> FromOpenMpi(const LaunchOptions& options, const GetEnv& get_env) {
  Reader reader("Open MPI, --dist_on_itp", get_env);
  LaunchEnvironment environment;
  environment.launcher = Launcher::kOpenMpi;
  environment.rank = reader.Integer("OMPI_COMM_WORLD_RANK", 0, kMaxRanks);
  environment.world_size = reader.Integer("OMPI_COMM_WORLD_SIZE", 1, kMaxRanks);
  environment.local_rank = reader.Integer("OMPI_COMM_WORLD_LOCAL_RANK", 0, kMaxRanks);
  environment.local_world_size = reader.IntegerOr("OMPI_COMM_WORLD_LOCAL_SIZE", 1, kMaxRanks, environment.world_size);
  environment.run = get_env("PMIX_NAMESPACE").value_or("");
  TEC_RETURN_IF_ERROR(ReadMaster(options, reader, &environment));
  TEC_RETURN_IF_ERROR(CheckRanks(environment, reader));
  return environment;
}

absl::StatusOr<LaunchEnvironment> FromTorchrun(const LaunchOptions& options, const GetEnv& get_env) {
  Reader reader("torchrun", get_env);
  LaunchEnvironment environment;
  environment.launcher = Launcher::kTorchrun;
  environment.rank = reader.Integer("RANK", 0, kMaxRanks);
  environment.world_size = reader.Integer("WORLD_SIZE", 1, kMaxRanks);
  environment.local_rank = reader.Integer("LOCAL_RANK", 0, kMaxRanks);
  environment.local_world_size = reader.IntegerOr("LOCAL_WORLD_SIZE", 1, kMaxRanks, environment.world_size);
  environment.agent_serves_store = get_env("TORCHELASTIC_USE_AGENT_STORE").value_or("") == "True";
  environment.run = get_env("TORCHELASTIC_RUN_ID").value_or("");
  environment.restart_count = reader.IntegerOr("TORCHELASTIC_RESTART_COUNT", 0, 0x7FFFFFFF, 0);
  TEC_RETURN_IF_ERROR(ReadMaster(options, reader, &environment));
  TEC_RETURN_IF_ERROR(CheckRanks(environment, reader));
  return environment;
}

absl::StatusOr<LaunchEnvironment> FromSlurm(const LaunchOptions& options, const GetEnv& get_env) {
  Reader reader("SLURM", get_env);
  LaunchEnvironment environment;
  environment.launcher = Launcher::kSlurm;
  environment.rank = reader.Integer("SLURM_PROCID", 0, kMaxRanks);
  environment.world_size = reader.Integer("SLURM_NTASKS", 1, kMaxRanks);
  if (reader.ok() && environment.world_size == 1 && environment.rank == 0) return LaunchEnvironment();
  environment.local_rank = reader.Integer("SLURM_LOCALID", 0, kMaxRanks);
  const int nodes = reader.Integer("SLURM_JOB_NUM_NODES", 1, kMaxRanks);
  const std::string node_list = reader.Text("SLURM_JOB_NODELIST");
  const int job = reader.Integer("SLURM_JOB_ID", 0, 0x7FFFFFFF);
  environment.run = absl::StrCat(job, ".", get_env("SLURM_STEP_ID").value_or(""));
  if (reader.ok() && environment.world_size % nodes != 0) {
    reader.Problem(absl::StrFormat("SLURM_NTASKS is %d, which %d nodes (SLURM_JOB_NUM_NODES) cannot share evenly",
                                   environment.world_size, nodes));
  }
  if (reader.ok()) {
    environment.local_world_size = environment.world_size / nodes;
    const auto hosts = ExpandSlurmNodeList(node_list);
    if (!hosts.ok()) {
      reader.Problem(absl::StrCat("SLURM_JOB_NODELIST: ", hosts.status().message()));
    } else if (static_cast<int>(hosts->size()) != nodes) {
      reader.Problem(absl::StrFormat("SLURM_JOB_NODELIST '%s' names %d hosts, SLURM_JOB_NUM_NODES is %d", node_list,
                                     hosts->size(), nodes));
    } else if (options.dist_url.empty() || options.dist_url == "env://") {
      environment.master_address = hosts->front();
      // Jobs on one machine get ports of their own, above the registered ones that services use most.
      constexpr int kFirstPort = 20000, kPorts = 40000;
      environment.master_port = reader.IntegerOr("MASTER_PORT", 1, kMaxPort, kFirstPort + job % kPorts);
    } else {
      TEC_RETURN_IF_ERROR(ReadMaster(options, reader, &environment));
    }
  }
  TEC_RETURN_IF_ERROR(CheckRanks(environment, reader));
  return environment;
}

// "01-03,07" of "gpu[01-03,07]": appends head + number (with its leading zeros) + tail.
absl::Status ExpandRanges(absl::string_view ranges, absl::string_view head, absl::string_view list,
                          std::vector<std::string>* hosts) {
  for (const absl::string_view range : absl::StrSplit(ranges, ',')) {
    const std::pair<absl::string_view, absl::string_view> ends = absl::StrSplit(range, absl::MaxSplits('-', 1));
    const absl::string_view last_text = absl::StrContains(range, '-') ? ends.second : ends.first;
    int first, last;
    if (!absl::SimpleAtoi(ends.first, &first) || !absl::SimpleAtoi(last_text, &last) || first < 0 || last < first ||
        static_cast<size_t>(last) - first >= kMaxHosts) {
      return absl::InvalidArgumentError(absl::StrCat("'", range, "' in '", list, "' is no range of numbers"));
    }
    const int width = static_cast<int>(ends.first.size());
    for (int number = first; number <= last; ++number) {
      hosts->push_back(absl::StrFormat("%s%0*d", head, width, number));
      if (hosts->size() > kMaxHosts) return absl::InvalidArgumentError("too many hosts");
    }
  }
  return absl::OkStatus();
}

// mpirun starts as many runs as it starts processes, all in one folder, if nobody takes notice of it.
absl::Status CheckNoMpi(const GetEnv& get_env, const char* size_name, const char* remedy) {
  int size = 0;
  if (!absl::SimpleAtoi(get_env(size_name).value_or(""), &size) || size <= 1) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrFormat(
      "launch environment: %s is %d, so this is one of several processes, but nothing says that they are ranks of one "
      "run: %s",
      size_name, size, remedy));
}

absl::StatusOr<LaunchEnvironment> Detect(const LaunchOptions& options, const GetEnv& get_env) {
  if (options.dist_on_itp) return FromOpenMpi(options, get_env);
  if (get_env("RANK") || get_env("WORLD_SIZE")) return FromTorchrun(options, get_env);
  TEC_RETURN_IF_ERROR(
      CheckNoMpi(get_env, "OMPI_COMM_WORLD_SIZE", "give --dist_on_itp, and MASTER_ADDR and MASTER_PORT"));
  if (get_env("SLURM_PROCID")) return FromSlurm(options, get_env);
  TEC_RETURN_IF_ERROR(
      CheckNoMpi(get_env, "PMI_SIZE",
                 "set RANK (PMI_RANK), WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT, or use Open "
                 "MPI's mpirun, srun or torchrun"));
  return LaunchEnvironment();
}

}  // namespace

std::optional<std::string> ProcessEnvironment(const std::string& name) {
  const char* value = std::getenv(name.c_str());
  if (value == nullptr) return std::nullopt;
  return value;
}

absl::StatusOr<LaunchEnvironment> DetectLaunchEnvironment(const LaunchOptions& options, const GetEnv& get_env) {
  TEC_ASSIGN_OR_RETURN(LaunchEnvironment environment, Detect(options, get_env));
  environment.timeout_seconds = options.timeout_seconds;
  environment.check_every = options.check_every;
  return environment;
}

absl::StatusOr<std::vector<std::string>> ExpandSlurmNodeList(absl::string_view list) {
  std::vector<std::string> hosts;
  size_t start = 0;
  while (start <= list.size()) {
    // Up to the next comma outside brackets.
    const size_t stop = list.find_first_of(",[", start);
    if (stop != absl::string_view::npos && list[stop] == '[') {
      const size_t close = list.find(']', stop);
      if (close == absl::string_view::npos || (close + 1 < list.size() && list[close + 1] != ',')) {
        return absl::InvalidArgumentError(absl::StrCat("'", list, "' is not of the form host[1-2,4],other"));
      }
      TEC_RETURN_IF_ERROR(
          ExpandRanges(list.substr(stop + 1, close - stop - 1), list.substr(start, stop - start), list, &hosts));
      start = close + 2;
      if (close + 1 == list.size()) break;
    } else {
      const absl::string_view host = list.substr(start, stop == absl::string_view::npos ? stop : stop - start);
      if (host.empty() || absl::StrContains(host, ']')) {
        return absl::InvalidArgumentError(absl::StrCat("'", list, "' is not of the form host[1-2,4],other"));
      }
      hosts.emplace_back(host);
      if (stop == absl::string_view::npos) break;
      start = stop + 1;
    }
  }
  return hosts;
}

}  // namespace tec
