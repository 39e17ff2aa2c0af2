#include "tec/dist/agent_meeting.h"

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tec/base/status.h"
#include "tec/dist/first_line.h"
#include "tec/dist/socket.h"
#include "torch/csrc/distributed/c10d/PrefixStore.hpp"
#include "torch/csrc/distributed/c10d/TCPStore.hpp"

namespace tec {
namespace {

std::vector<uint8_t> Bytes(const std::string& text) { return std::vector<uint8_t>(text.begin(), text.end()); }
std::string Text(const std::vector<uint8_t>& bytes) { return std::string(bytes.begin(), bytes.end()); }

// Of the port at which the ranks meet, on rank 0's machine.
constexpr char kPortKey[] = "lifeline_port";

absl::StatusOr<c10::intrusive_ptr<c10d::Store>> AgentStore(const LaunchEnvironment& environment,
                                                           std::chrono::milliseconds timeout) {
  try {
    c10d::TCPStoreOptions options;
    options.port = static_cast<uint16_t>(environment.master_port);
    options.timeout = timeout;
    options.waitWorkers = false;
    auto store = c10::make_intrusive<c10d::TCPStore>(environment.master_address, options);
    return c10::make_intrusive<c10d::PrefixStore>(absl::StrCat("tec/attempt_", environment.restart_count), store);
  } catch (const std::exception& error) {
    return absl::UnavailableError(absl::StrCat("torchrun's agent does not answer at ", environment.master_address, ":",
                                               environment.master_port, ": ", FirstLine(error)));
  }
}

// The address of rank 0's machine for the others. The agent that serves the store may be on another one.
absl::StatusOr<std::string> AddressFor(const LaunchEnvironment& environment) {
  TEC_ASSIGN_OR_RETURN(const auto addresses, ResolveHost(environment.master_address, environment.master_port));
  for (const NetAddress& address : addresses) {
    if (IsOwnAddress(address)) return environment.master_address;
    TEC_ASSIGN_OR_RETURN(const Socket socket, ConnectTo(address, 5));
    TEC_ASSIGN_OR_RETURN(const NetAddress own, LocalAddress(socket.fd()));
    return own.host();
  }
  return absl::NotFoundError(environment.master_address);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Lifeline>> MeetAtAgent(const LaunchEnvironment& environment, LifelineOptions options,
                                                      const absl::Status& own) {
  TEC_ASSIGN_OR_RETURN(
      const auto store,
      AgentStore(environment, std::chrono::milliseconds(static_cast<int64_t>(options.timeout_seconds * 1000))));
  if (environment.rank == 0) {
    TEC_ASSIGN_OR_RETURN(const std::string address, AddressFor(environment));
    options.address = address;
    options.publish_port = [&](int port) -> absl::Status {
      try {
        store->set(kPortKey, Bytes(absl::StrCat(port, " ", address)));
        return absl::OkStatus();
      } catch (const std::exception& error) {
        return absl::UnavailableError(absl::StrCat("torchrun's agent: ", FirstLine(error)));
      }
    };
    return Lifeline::Meet(options, own);
  }
  try {
    const std::string text = Text(store->get(kPortKey));
    options.port = std::atoi(text.c_str());
    options.address = text.substr(text.find(' ') + 1);
  } catch (const std::exception& error) {
    return absl::DeadlineExceededError(absl::StrCat("rank ", environment.rank, ": rank 0 of ", environment.world_size,
                                                    " did not come: ", FirstLine(error)));
  }
  return Lifeline::Meet(options, own);
}

}  // namespace tec
