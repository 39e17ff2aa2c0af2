#include "tec/dist/process_group.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <exception>
#include <iterator>
#include <map>
#include <thread>
#include <utility>

#include "ATen/ops/empty.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tec/base/logging.h"
#include "tec/base/status.h"
#include "tec/base/steady_seconds.h"
#include "tec/dist/agent_meeting.h"
#include "tec/dist/first_line.h"
#include "torch/csrc/distributed/c10d/ProcessGroupGloo.hpp"
#include "torch/csrc/distributed/c10d/TCPStore.hpp"
#ifdef TEC_CUDA
#include "c10/cuda/CUDAFunctions.h"
#include "torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp"
#endif

namespace tec {
namespace {

// c10d's own limit is none: Lifeline::Wait has one, and can tell who is late.
constexpr std::chrono::milliseconds kNoLimit = std::chrono::hours(24 * 30);
// Of making connections, which cannot be interrupted.
constexpr double kConnectSeconds = 60;
// For an operation that was given up to end by itself.
constexpr double kDrainSeconds = 2;

}  // namespace

struct ProcessGroup::Implementation {
  std::unique_ptr<Lifeline> line;  // Outlives the rest: rank 0 stays till the others have left.
  c10::intrusive_ptr<c10d::Store> store;
  c10::intrusive_ptr<c10d::Backend> backend;
  c10::Device device = c10::Device(c10::kCPU);
  // A sum that is on its way; or why it could not be begun.
  struct Sum {
    c10::intrusive_ptr<c10d::Work> work;
    std::string problem;
  };
  std::map<int64_t, Sum> sums;
  int64_t newest_sum = 0;
  std::vector<c10::intrusive_ptr<c10d::Work>> given_up;
  bool agreed_on_end = false;

  ~Implementation();

  // Starts an operation of the back end, which may throw, and waits for it.
  template <typename Start>
  absl::Status Run(const std::string& what, Start start) {
    TEC_RETURN_IF_ERROR(line->failure());
    std::vector<c10::intrusive_ptr<c10d::Work>> works;
    try {
      works.push_back(start());
    } catch (const std::exception& error) {
      return Broken(what, FirstLine(error));
    }
    return Finish(what, std::move(works));
  }

  // One wait for all of them.
  absl::Status Finish(const std::string& what, std::vector<c10::intrusive_ptr<c10d::Work>> works) {
    absl::Status status;
    try {
      size_t next = 0;
      status = line->Wait(what, [&](double seconds) {
        while (next < works.size() && IsDone(*works[next], seconds)) ++next;
        return next == works.size();
      });
    } catch (const std::exception& error) {
      status = Broken(what, FirstLine(error));
    }
    if (!status.ok()) std::move(works.begin(), works.end(), std::back_inserter(given_up));
    return status;
  }

  // A broken connection is what a rank's end looks like from here.
  absl::Status Broken(const std::string& what, const std::string& error) {
    const absl::Status cause = line->Cause(
        absl::UnavailableError(absl::StrCat("rank ", line->rank(), ": '", what, "' among the ranks failed: ", error)));
    line->Fail(cause);
    return cause;
  }

  bool IsDone(c10d::Work& work, double seconds) const {
    if (device.is_cuda()) {
      // wait() would return before anything has happened.
      const double start = SteadySeconds();
      while (!work.isCompleted()) {
        if (SteadySeconds() - start > seconds) return false;
        std::this_thread::sleep_for(std::chrono::microseconds(100));
      }
      if (work.exception()) std::rethrow_exception(work.exception());
      work.wait();  // The stream's order.
      return true;
    }
    try {
      work.wait(std::chrono::milliseconds(static_cast<int64_t>(seconds * 1000)));
      return true;
    } catch (const std::exception&) {
      if (work.isCompleted()) throw;
      return false;
    }
  }

  absl::Status Connect(const LaunchEnvironment& environment, const ProcessGroupOptions& options);
  absl::StatusOr<c10::intrusive_ptr<c10d::Store>> MakeStore(const LaunchEnvironment& environment);
};

ProcessGroup::Implementation::~Implementation() {
  if (!backend) return;
  for (auto& [number, sum] : sums) {
    if (sum.work) given_up.push_back(std::move(sum.work));
  }
  const bool failed = line == nullptr || !line->failure().ok();
  try {
    if (!failed) {
      backend->shutdown();
      return;
    }
    backend->abort();
  } catch (const std::exception& error) {
    TEC_LOG(WARNING) << "ending the operations among the ranks: " << FirstLine(error);
  }
  // Gloo's destructor waits for operations that will never end, and has no way of ending them: where a peer is stopped,
  // not dead, the process ends with them in the air.
  const double start = SteadySeconds();
  const auto pending = [this] {
    return std::any_of(given_up.begin(), given_up.end(), [](const auto& work) { return !work->isCompleted(); });
  };
  while (pending() && SteadySeconds() - start < kDrainSeconds) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  if (!pending()) return;
  backend.release();
  for (auto& work : given_up) work.release();
}

// On rank 0's machine, at a free port of the address where the ranks have met.
absl::StatusOr<c10::intrusive_ptr<c10d::Store>> ProcessGroup::Implementation::MakeStore(
    const LaunchEnvironment& environment) {
  c10d::TCPStoreOptions options;
  options.isServer = line->rank() == 0;
  options.waitWorkers = false;
  options.timeout = std::chrono::milliseconds(static_cast<int64_t>(kConnectSeconds * 1000));
  // c10d's libuv server takes over a listening socket of ours only by half; the plain one does it properly.
  options.useLibUV = false;
  std::string host = line->peers()[0].address.empty() ? "127.0.0.1" : line->peers()[0].address;
  absl::Status listens;
  if (options.isServer) {
    const absl::StatusOr<std::vector<NetAddress>> own = ResolveHost(host, 0);
    listens = own.status();
    if (own.ok()) {
      absl::StatusOr<Socket> socket = ListenAt(own->front());
      listens = socket.status();
      if (socket.ok()) {
        const auto address = LocalAddress(socket->fd());
        options.port = static_cast<uint16_t>(address.ok() ? address->port() : 0);
        options.masterListenFd = socket->Release();
      }
    }
  }
  TEC_RETURN_IF_ERROR(line->failure());
  if (!listens.ok()) line->Fail(listens);
  TEC_ASSIGN_OR_RETURN(const auto ports, line->Gather(absl::StrCat(options.port), "the store's port"));
  options.port = static_cast<uint16_t>(std::atoi(ports[0].c_str()));
  try {
    return c10::make_intrusive<c10d::TCPStore>(host, options);
  } catch (const std::exception& error) {
    return absl::UnavailableError(
        absl::StrCat("rank ", line->rank(), ": the store at ", host, ":", options.port, ": ", FirstLine(error)));
  }
}

absl::Status ProcessGroup::Implementation::Connect(const LaunchEnvironment& environment,
                                                   const ProcessGroupOptions& options) {
  const int rank = line->rank(), world_size = line->world_size();
  std::shared_ptr<::gloo::transport::Device> interface;
  absl::Status made;
  try {
    if (!options.cuda) {
      const char* const name = std::getenv("GLOO_SOCKET_IFNAME");
      const std::string own = line->peers()[rank].address;
      // Where the others see this rank: its host's name may stand for the loopback device.
      interface = name != nullptr && *name != 0
                      ? c10d::ProcessGroupGloo::createDeviceForInterface(
                            std::string(name).substr(0, std::string(name).find(',')))
                      : c10d::ProcessGroupGloo::createDeviceForHostname(own.empty() ? "127.0.0.1" : own);
    }
  } catch (const std::exception& error) {
    made = absl::NotFoundError(absl::StrCat("no network device for Gloo (GLOO_SOCKET_IFNAME): ", FirstLine(error)));
  }
  const auto agree = [this](const absl::Status& status) -> absl::Status {
    if (!status.ok()) line->Fail(status);
    TEC_RETURN_IF_ERROR(line->Gather("", "connecting").status());
    return absl::OkStatus();
  };
  TEC_RETURN_IF_ERROR(agree(made));
  TEC_ASSIGN_OR_RETURN(store, MakeStore(environment));
  const auto seconds = [](double s) { return std::chrono::milliseconds(static_cast<int64_t>(s * 1000)); };
  try {
#ifdef TEC_CUDA
    if (options.cuda) {
      device = c10::Device(c10::kCUDA, c10::cuda::current_device());
      // Errors are found and told here: c10d's watchdog would end the process with a signal and no word.
      setenv("TORCH_NCCL_ASYNC_ERROR_HANDLING", "0", /*overwrite=*/0);
      setenv("TORCH_NCCL_ENABLE_MONITORING", "0", /*overwrite=*/0);
      auto nccl = c10d::ProcessGroupNCCL::Options::create();
      nccl->timeout = kNoLimit;
      backend = c10::make_intrusive<c10d::ProcessGroupNCCL>(store, rank, world_size, nccl);
      return agree(absl::OkStatus());
    }
#endif
    auto gloo =
        c10d::ProcessGroupGloo::Options::create(seconds(std::min(environment.timeout_seconds, kConnectSeconds)));
    gloo->devices.push_back(interface);
    backend = c10::make_intrusive<c10d::ProcessGroupGloo>(store, rank, world_size, gloo);
    backend->setTimeout(kNoLimit);
  } catch (const std::exception& error) {
    made = line->Cause(absl::UnavailableError(absl::StrCat(
        "rank ", rank, " cannot connect to the others, whose addresses are told above: ", FirstLine(error))));
  }
  return agree(made);
}

ProcessGroup::ProcessGroup(int rank, int world_size, std::unique_ptr<Implementation> implementation)
    : rank_(rank), world_size_(world_size), implementation_(std::move(implementation)) {}

ProcessGroup::~ProcessGroup() = default;

absl::StatusOr<std::unique_ptr<ProcessGroup>> ProcessGroup::Create(const LaunchEnvironment& environment,
                                                                   const ProcessGroupOptions& options,
                                                                   const absl::Status& own) {
  if (environment.world_size == 1) {
    TEC_RETURN_IF_ERROR(own);
    return std::unique_ptr<ProcessGroup>(new ProcessGroup(0, 1, nullptr));
  }
  absl::Status problem = own;
#ifndef TEC_CUDA
  if (options.cuda && problem.ok()) {
    problem = absl::FailedPreconditionError("this program was built without CUDA (--config=cuda)");
  }
#endif
  const LifelineOptions line = LifelineOf(environment);
  auto implementation = std::make_unique<Implementation>();
  if (environment.agent_serves_store) {
    TEC_ASSIGN_OR_RETURN(implementation->line, MeetAtAgent(environment, line, problem));
  } else {
    TEC_ASSIGN_OR_RETURN(implementation->line, Lifeline::Meet(line, problem));
  }
  TEC_RETURN_IF_ERROR(implementation->Connect(environment, options));
  return std::unique_ptr<ProcessGroup>(
      new ProcessGroup(environment.rank, environment.world_size, std::move(implementation)));
}

std::string ProcessGroup::NameOf(int rank) const {
  if (implementation_ == nullptr) return absl::StrCat("rank ", rank);
  return absl::StrCat("rank ", rank, " (", implementation_->line->peers()[rank].host, ")");
}

ProcessGroup::Work::Work(const ProcessGroup& group, const std::string& what)
    : Lifeline::Work(group.implementation_ == nullptr ? nullptr : group.implementation_->line.get(), what) {}

void ProcessGroup::Fail(const absl::Status& why) {
  if (implementation_ != nullptr && !implementation_->agreed_on_end) implementation_->line->Fail(why);
}

absl::Status ProcessGroup::AllReduceSum(at::Tensor tensor, const std::string& what) {
  return FinishSums({StartSum(std::move(tensor))}, what);
}

int64_t ProcessGroup::StartSum(at::Tensor tensor) {
  if (implementation_ == nullptr) return 0;
  Implementation::Sum sum;
  if (implementation_->line->failure().ok()) {
    try {
      std::vector<at::Tensor> tensors = {std::move(tensor)};
      sum.work = implementation_->backend->allreduce(tensors, c10d::AllreduceOptions());
    } catch (const std::exception& error) {
      sum.problem = FirstLine(error);
    }
  }
  implementation_->sums[++implementation_->newest_sum] = std::move(sum);
  return implementation_->newest_sum;
}

absl::Status ProcessGroup::FinishSums(const std::vector<int64_t>& sums, const std::string& what) {
  if (implementation_ == nullptr) return absl::OkStatus();
  TEC_RETURN_IF_ERROR(implementation_->line->failure());
  std::vector<c10::intrusive_ptr<c10d::Work>> works;
  std::string problem;
  for (const int64_t number : sums) {
    const auto found = implementation_->sums.find(number);
    TEC_CHECK(found != implementation_->sums.end()) << "a sum that was not started, or is finished";
    if (found->second.work) works.push_back(std::move(found->second.work));
    if (problem.empty()) problem = found->second.problem;
    implementation_->sums.erase(found);
  }
  if (problem.empty()) return implementation_->Finish(what, std::move(works));
  std::move(works.begin(), works.end(), std::back_inserter(implementation_->given_up));
  return implementation_->Broken(what, problem);
}

absl::Status ProcessGroup::Broadcast(const std::vector<at::Tensor>& tensors, const std::string& what) {
  if (implementation_ == nullptr) return absl::OkStatus();
  const auto bytes_of = [](const at::Tensor& tensor) { return tensor.view({-1}).view(at::kByte); };
  size_t next = 0;
  while (next < tensors.size()) {
    const size_t first = next;
    int64_t bytes = 0;
    do {
      bytes += tensors[next++].nbytes();
    } while (next < tensors.size() && bytes + static_cast<int64_t>(tensors[next].nbytes()) <= kBucketBytes);
    at::Tensor flat = at::empty({bytes}, tensors[first].options().dtype(at::kByte));
    int64_t at = 0;
    for (size_t i = first; i < next; ++i) {
      const at::Tensor own = bytes_of(tensors[i]);
      flat.narrow(0, at, own.numel()).copy_(own);
      at += own.numel();
    }
    TEC_RETURN_IF_ERROR(implementation_->Run(what, [&] {
      std::vector<at::Tensor> one = {flat};
      return implementation_->backend->broadcast(one, c10d::BroadcastOptions());
    }));
    if (rank_ == 0) continue;
    at = 0;
    for (size_t i = first; i < next; ++i) {
      at::Tensor own = bytes_of(tensors[i]);
      own.copy_(flat.narrow(0, at, own.numel()));
      at += own.numel();
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> ProcessGroup::Gather(const std::string& text, const std::string& what) {
  if (implementation_ == nullptr) return std::vector<std::string>{text};
  return implementation_->line->Gather(text, what);
}

absl::Status ProcessGroup::Agree(const absl::Status& status, const std::string& what) {
  if (implementation_ == nullptr) return status;
  const std::string text =
      status.ok()
          ? ""
          : PayloadWriter().Number(static_cast<int64_t>(status.code())).Text(std::string(status.message())).payload();
  const absl::StatusOr<std::vector<std::string>> texts = Gather(text, what);
  if (!status.ok()) {
    implementation_->agreed_on_end = implementation_->agreed_on_end || texts.ok();
    return status;
  }
  TEC_RETURN_IF_ERROR(texts.status());
  std::vector<std::string> problems;
  absl::StatusCode code = absl::StatusCode::kOk;
  for (int rank = 0; rank < world_size_; ++rank) {
    if ((*texts)[rank].empty()) continue;
    PayloadReader reader((*texts)[rank]);
    const auto of_rank = static_cast<absl::StatusCode>(reader.Number());
    if (code == absl::StatusCode::kOk) code = of_rank;
    problems.push_back(absl::StrCat("rank ", rank, ": ", reader.Text()));
  }
  if (problems.empty()) return absl::OkStatus();
  implementation_->agreed_on_end = true;
  constexpr size_t kNamed = 4;
  const size_t more = problems.size() > kNamed ? problems.size() - kNamed : 0;
  problems.resize(problems.size() - more);
  return absl::Status(
      code, absl::StrCat(absl::StrJoin(problems, "; "), more > 0 ? absl::StrCat("; and ", more, " more ranks") : ""));
}

}  // namespace tec
