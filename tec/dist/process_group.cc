#include "tec/dist/process_group.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <optional>
#include <utility>

#include "ATen/ops/empty.h"
#include "ATen/ops/tensor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "tec/base/file.h"
#include "tec/base/logging.h"
#include "tec/base/status.h"
#include "torch/csrc/distributed/c10d/PrefixStore.hpp"
#include "torch/csrc/distributed/c10d/ProcessGroupGloo.hpp"
#include "torch/csrc/distributed/c10d/TCPStore.hpp"
#ifdef TEC_CUDA
#include "torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp"
#endif

namespace tec {
namespace {

bool IsLoopback(const std::string& address) { return address == "localhost" || absl::StartsWith(address, "127."); }

// A socket that listens on the loopback device alone.
absl::StatusOr<int> ListenOnLoopback(int port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return ErrnoToStatus(errno, "cannot make a socket for", absl::StrCat("port ", port));
  const int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  struct sockaddr_in address;
  memset(&address, 0, sizeof(address));
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (bind(fd, reinterpret_cast<struct sockaddr*>(&address), sizeof(address)) != 0 || listen(fd, SOMAXCONN) != 0) {
    const int error = errno;
    close(fd);
    return ErrnoToStatus(error, "cannot listen at", absl::StrCat("127.0.0.1:", port));
  }
  return fd;
}

// The first line: c10d's messages go on with a C++ backtrace.
std::string FirstLine(const std::exception& error) {
  const std::string text = error.what();
  return text.substr(0, text.find('\n'));
}

std::vector<uint8_t> Bytes(const std::string& text) { return std::vector<uint8_t>(text.begin(), text.end()); }
std::string Text(const std::vector<uint8_t>& bytes) { return std::string(bytes.begin(), bytes.end()); }

}  // namespace

struct ProcessGroup::Implementation {
  c10::intrusive_ptr<c10d::Store> store;
  c10::intrusive_ptr<c10d::Backend> backend;
  c10::Device device = c10::Device(c10::kCPU);
  int64_t timeout_seconds = 0;
  int rank = 0;
  int64_t sequence = 0;

  // Runs one operation, which may throw, and says which one it was if it does.
  template <typename Operation>
  absl::Status Run(const char* name, Operation operation) {
    ++sequence;
    try {
      operation();
      return absl::OkStatus();
    } catch (const std::exception& error) {
      const std::string problem = FirstLine(error);
      const bool late = absl::StrContains(problem, "imeout") || absl::StrContains(problem, "imed out");
      return absl::Status(late ? absl::StatusCode::kDeadlineExceeded : absl::StatusCode::kUnavailable,
                          absl::StrFormat("rank %d: %s, operation %d among the ranks, failed (limit %d s): %s", rank,
                                          name, sequence, timeout_seconds, problem));
    }
  }
};

ProcessGroup::ProcessGroup(int rank, int world_size, std::unique_ptr<Implementation> implementation)
    : rank_(rank), world_size_(world_size), implementation_(std::move(implementation)) {}

ProcessGroup::~ProcessGroup() = default;

absl::StatusOr<std::unique_ptr<ProcessGroup>> ProcessGroup::Create(const LaunchEnvironment& environment,
                                                                   const ProcessGroupOptions& options) {
  if (environment.world_size == 1) return std::unique_ptr<ProcessGroup>(new ProcessGroup(0, 1, nullptr));
#ifndef TEC_CUDA
  if (options.cuda) return absl::FailedPreconditionError("this program was built without CUDA (--config=cuda)");
#endif
  auto implementation = std::make_unique<Implementation>();
  implementation->rank = environment.rank;
  implementation->timeout_seconds = options.timeout_seconds;
  const std::chrono::milliseconds timeout(options.timeout_seconds * 1000);
  const bool loopback = IsLoopback(environment.master_address);

  c10d::TCPStoreOptions store_options;
  store_options.port = static_cast<uint16_t>(environment.master_port);
  store_options.isServer = environment.rank == 0 && !environment.agent_serves_store;
  store_options.numWorkers = environment.world_size;
  store_options.timeout = timeout;
  // c10d's libuv server takes over a listening socket of ours only by half; the plain one does it properly.
  store_options.useLibUV = !(loopback && store_options.isServer);
  if (loopback && store_options.isServer) {
    TEC_ASSIGN_OR_RETURN(const int fd, ListenOnLoopback(environment.master_port));
    store_options.masterListenFd = fd;
  }
  absl::Status status = implementation->Run("rendezvous", [&] {
    auto store = c10::make_intrusive<c10d::TCPStore>(environment.master_address, store_options);
    implementation->store =
        c10::make_intrusive<c10d::PrefixStore>(absl::StrCat("tec/attempt_", environment.restart_count), store);
    auto backend_store = c10::make_intrusive<c10d::PrefixStore>("backend", implementation->store);
#ifdef TEC_CUDA
    if (options.cuda) {
      implementation->device = c10::Device(c10::kCUDA, static_cast<c10::DeviceIndex>(environment.local_rank));
      auto nccl = c10d::ProcessGroupNCCL::Options::create();
      nccl->timeout = timeout;
      implementation->backend =
          c10::make_intrusive<c10d::ProcessGroupNCCL>(backend_store, environment.rank, environment.world_size, nccl);
      return;
    }
#endif
    auto gloo = c10d::ProcessGroupGloo::Options::create(timeout);
    gloo->devices.push_back(loopback ? c10d::ProcessGroupGloo::createDeviceForHostname("127.0.0.1")
                                     : c10d::ProcessGroupGloo::createDefaultDevice());
    implementation->backend =
        c10::make_intrusive<c10d::ProcessGroupGloo>(backend_store, environment.rank, environment.world_size, gloo);
  });
  TEC_RETURN_IF_ERROR(Annotate(
      status, absl::StrCat("ranks could not meet at ", environment.master_address, ":", environment.master_port)));
  implementation->sequence = 0;
  return std::unique_ptr<ProcessGroup>(
      new ProcessGroup(environment.rank, environment.world_size, std::move(implementation)));
}

absl::Status ProcessGroup::AllReduceSum(at::Tensor tensor) {
  if (implementation_ == nullptr) return absl::OkStatus();
  return implementation_->Run("sum", [&] {
    std::vector<at::Tensor> tensors = {tensor};
    implementation_->backend->allreduce(tensors, c10d::AllreduceOptions())->wait();
  });
}

absl::Status ProcessGroup::AverageGradients(const std::vector<at::Tensor>& parameters) {
  if (implementation_ == nullptr) return absl::OkStatus();
  size_t next = 0;
  while (next < parameters.size()) {
    std::vector<at::Tensor> bucket;
    int64_t elements = 0, bytes = 0;
    for (; next < parameters.size(); ++next) {
      const at::Tensor& gradient = parameters[next].grad();
      if (!gradient.defined()) continue;
      if (!bucket.empty() &&
          (gradient.scalar_type() != bucket[0].scalar_type() || bytes + gradient.nbytes() > kBucketBytes)) {
        break;
      }
      bucket.push_back(gradient);
      elements += gradient.numel();
      bytes += gradient.nbytes();
    }
    if (bucket.empty()) break;
    at::Tensor flat = at::empty({elements}, bucket[0].options());
    int64_t offset = 0;
    for (const at::Tensor& gradient : bucket) {
      flat.narrow(0, offset, gradient.numel()).view_as(gradient).copy_(gradient);
      offset += gradient.numel();
    }
    TEC_RETURN_IF_ERROR(Annotate(AllReduceSum(flat), "averaging gradients"));
    flat.div_(world_size_);
    offset = 0;
    for (at::Tensor& gradient : bucket) {
      gradient.copy_(flat.narrow(0, offset, gradient.numel()).view_as(gradient));
      offset += gradient.numel();
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<double>> ProcessGroup::Mean(const std::vector<double>& values) {
  if (implementation_ == nullptr) return values;
  at::Tensor sum = at::tensor(values, at::kDouble).to(implementation_->device);
  TEC_RETURN_IF_ERROR(AllReduceSum(sum));
  sum = sum.cpu();
  std::vector<double> means(sum.data_ptr<double>(), sum.data_ptr<double>() + sum.numel());
  for (double& mean : means) mean /= world_size_;
  return means;
}

absl::StatusOr<std::vector<int64_t>> ProcessGroup::Union(const std::vector<int64_t>& numbers, int64_t limit) {
  at::Tensor count = at::zeros({limit}, at::kInt);
  for (const int64_t number : numbers) {
    TEC_CHECK(number >= 0 && number < limit) << number << " of " << limit;
    count.mutable_data_ptr<int32_t>()[number] = 1;
  }
  if (implementation_ != nullptr) {
    count = count.to(implementation_->device);
    TEC_RETURN_IF_ERROR(AllReduceSum(count));
    count = count.cpu();
  }
  std::vector<int64_t> all;
  for (int64_t i = 0; i < limit; ++i) {
    if (count.const_data_ptr<int32_t>()[i] > 0) all.push_back(i);
  }
  return all;
}

absl::StatusOr<bool> ProcessGroup::Any(bool flag) {
  if (implementation_ == nullptr) return flag;
  TEC_ASSIGN_OR_RETURN(const std::vector<double> mean, Mean({flag ? 1.0 : 0.0}));
  return mean[0] > 0;
}

absl::StatusOr<std::string> ProcessGroup::BroadcastText(const std::string& text) {
  if (implementation_ == nullptr) return text;
  std::string result = text;
  const std::string key = absl::StrCat("text/", implementation_->sequence);
  TEC_RETURN_IF_ERROR(implementation_->Run("broadcast of a text", [&] {
    if (rank_ == 0) {
      implementation_->store->set(key, Bytes(text));
    } else {
      result = Text(implementation_->store->get(key));
    }
  }));
  return result;
}

absl::Status ProcessGroup::Agree(const absl::Status& status) {
  if (implementation_ == nullptr) return status;
  const std::string key = absl::StrCat("agree/", implementation_->sequence, "/");
  if (!status.ok()) {
    // Before the sum, so that it is there when the others look for it.
    const absl::Status told = implementation_->Run("report of an error", [&] {
      implementation_->store->set(absl::StrCat(key, rank_),
                                  Bytes(absl::StrCat(static_cast<int>(status.code()), " ", status.message())));
    });
    if (!told.ok()) return status;
    --implementation_->sequence;
  }
  const absl::StatusOr<bool> any = Any(!status.ok());
  if (!status.ok()) {
    // Not before the others have read it: this rank may be the one that serves the store, and is about to end.
    if (any.ok()) (void)Any(false);
    return status;
  }
  TEC_RETURN_IF_ERROR(any.status());
  if (!*any) return absl::OkStatus();
  std::string problem = "unknown";
  int code = static_cast<int>(absl::StatusCode::kAborted);
  int other = -1;
  TEC_RETURN_IF_ERROR(implementation_->Run("reading of another rank's error", [&] {
    for (int rank = 0; rank < world_size_ && other < 0; ++rank) {
      const std::string rank_key = absl::StrCat(key, rank);
      if (rank == rank_ || !implementation_->store->check({rank_key})) continue;
      const std::string text = Text(implementation_->store->get(rank_key));
      other = rank;
      code = std::atoi(text.c_str());
      problem = text.substr(text.find(' ') + 1);
    }
  }));
  --implementation_->sequence;
  (void)Any(false);
  return absl::Status(static_cast<absl::StatusCode>(code), absl::StrCat("rank ", other, ": ", problem));
}

}  // namespace tec
