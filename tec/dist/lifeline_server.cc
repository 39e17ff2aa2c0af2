#include "tec/dist/lifeline_server.h"

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "tec/base/logging.h"
#include "tec/base/printable.h"
#include "tec/base/steady_seconds.h"

namespace tec {
namespace {

constexpr int kPollMilliseconds = 200;
constexpr double kTellSeconds = 1;
constexpr double kQuietSeconds = 5;  // Five signs of life that did not come.
// After a failure: for those who have not come yet, and would wait for what does not come; for the others to hang up.
constexpr double kLateSeconds = 20, kHangUpSeconds = 5;
// A gap in this thread's own time is none in the others' signs: the process was stopped, or the machine.
constexpr double kOwnGapSeconds = 3;
constexpr double kStrangerSeconds = 30;  // To say which rank it is.
constexpr size_t kLimitBeforeHello = size_t{1} << 20;

Frame MakeFrame(LifelineFrame type, const PayloadWriter& writer) {
  return {static_cast<uint8_t>(type), writer.payload()};
}

Frame FailedFrame(const absl::Status& failure) {
  return MakeFrame(LifelineFrame::kFailed,
                   PayloadWriter().Number(static_cast<int64_t>(failure.code())).Text(std::string(failure.message())));
}

}  // namespace

LifelineServer::LifelineServer(Socket listener, const Options& options)
    : options_(options),
      listener_(std::move(listener)),
      wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      by_rank_(options.world_size),
      hosts_(options.world_size),
      came_(options.world_size),
      left_(options.world_size),
      started_(SteadySeconds()) {
  const auto address = LocalAddress(listener_.fd());
  port_ = address.ok() ? address->port() : 0;
  thread_ = std::thread([this] { Serve(); });
}

LifelineServer::~LifelineServer() {
  stopping_ = true;
  const uint64_t one = 1;
  (void)!write(wake_.fd(), &one, sizeof(one));
  thread_.join();
}

std::string LifelineServer::Name(const Member& member) const {
  return absl::StrCat("rank ", member.rank, " (", member.host, ")");
}

std::string LifelineServer::Missing() const {
  std::vector<int> ranks;
  for (int rank = 0; rank < options_.world_size; ++rank) {
    if (!came_[rank]) ranks.push_back(rank);
  }
  if (ranks.empty()) return "";
  constexpr size_t kNamed = 8;
  const size_t more = ranks.size() > kNamed ? ranks.size() - kNamed : 0;
  const bool one = ranks.size() == 1;
  ranks.resize(ranks.size() - more);
  return absl::StrCat(one ? "rank " : "ranks ", absl::StrJoin(ranks, ", "),
                      more > 0 ? absl::StrCat(" and ", more, " more") : "", " of ", options_.world_size);
}

bool LifelineServer::Finished(double now) const {
  // Seen at the top of the round: the last words of a rank 0 that stops in the middle of one are still to be read.
  if (stopped_ == 0) return false;
  const bool all_came = std::find(came_.begin(), came_.end(), false) == came_.end();
  if (!failure_.ok()) {
    if (members_.empty() && all_came) return true;
    return now - std::max(failed_, stopped_) >
           (all_came ? kHangUpSeconds : std::min(kLateSeconds, options_.timeout_seconds));
  }
  return members_.empty() || now - stopped_ > options_.timeout_seconds;
}

void LifelineServer::Serve() {
  double told = 0, last = SteadySeconds();
  while (true) {
    std::vector<pollfd> waits = {{wake_.fd(), POLLIN, 0}, {listener_.fd(), POLLIN, 0}};
    for (const auto& member : members_) {
      const short events = static_cast<short>(POLLIN | (member->connection.has_output() ? POLLOUT : 0));
      waits.push_back({member->connection.fd(), events, 0});
    }
    poll(waits.data(), waits.size(), kPollMilliseconds);
    uint64_t ignored;
    (void)!read(wake_.fd(), &ignored, sizeof(ignored));
    if (stopping_ && stopped_ == 0) stopped_ = SteadySeconds();
    if (listener_.is_open()) Accept();
    for (size_t i = 0; i < members_.size(); ++i) Read(members_[i].get());
    const double now = SteadySeconds();
    if (now - last > kOwnGapSeconds) {
      for (const auto& member : members_) member->heard = now;
    }
    last = now;
    CheckSilence(now);
    if (now - told >= kTellSeconds) {
      told = now;
      TellOthers(now);
    }
    for (const auto& member : members_) member->connection.Flush();
    members_.erase(std::remove_if(members_.begin(), members_.end(),
                                  [](const auto& member) { return !member->connection.is_open(); }),
                   members_.end());
    if (Finished(now)) return;
  }
}

void LifelineServer::Accept() {
  while (true) {
    Socket socket(accept4(listener_.fd(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!socket.is_open()) return;
    members_.push_back(std::make_unique<Member>(std::move(socket)));
    Member& member = *members_.back();
    member.heard = SteadySeconds();
    member.connection.set_limit(kLimitBeforeHello);
    member.connection.SendRaw(kLifelineGreeting);
  }
}

void LifelineServer::Read(Member* member) {
  const bool open = member->connection.Receive();
  if (!member->greeted) {
    const auto greeting = member->connection.TakeRaw(sizeof(kLifelineGreeting) - 1);
    member->greeted = greeting.has_value();
    if (greeting && *greeting != kLifelineGreeting) return member->connection.Close();
  }
  while (member->greeted && member->connection.is_open()) {
    const auto frame = member->connection.Take();
    if (!frame) break;
    member->heard = SteadySeconds();
    Handle(member, *frame);
  }
  if (!open && member->connection.is_open()) Lost(member);
}

void LifelineServer::Handle(Member* member, const Frame& frame) {
  const auto type = static_cast<LifelineFrame>(frame.type);
  if (type == LifelineFrame::kHello) return Hello(member, frame);
  if (member->rank < 0) return member->connection.Close();
  PayloadReader reader(frame.payload);
  if (type == LifelineFrame::kState) {
    member->sequence = reader.Number();
    member->waiting = reader.Number() != 0;
    member->what = reader.Text();
    member->work = reader.Text();
  } else if (type == LifelineFrame::kGather) {
    Gather(member, frame);
  } else if (type == LifelineFrame::kFail) {
    const auto code = static_cast<absl::StatusCode>(reader.Number());
    Fail(absl::Status(code, absl::StrCat(Name(*member), ": ", reader.Text())));
  } else if (type == LifelineFrame::kLeave) {
    left_[member->rank] = true;
    by_rank_[member->rank] = nullptr;
    member->connection.Close();
    for (const auto& [number, call] : calls_) {
      if (!call.there[member->rank]) {
        return Fail(absl::UnavailableError(
            absl::StrCat(Name(*member), " has ended, though others wait for it (", call.what, ")")));
      }
    }
  }
}

void LifelineServer::Hello(Member* member, const Frame& frame) {
  PayloadReader reader(frame.payload);
  const std::string run = reader.Text();
  const int64_t world_size = reader.Number(), rank = reader.Number();
  member->host = Printable(reader.Text());
  member->address = reader.Text();
  const auto code = static_cast<absl::StatusCode>(reader.Number());
  const std::string text = reader.Text();
  const auto refuse = [&](const std::string& why) {
    member->connection.Send(FailedFrame(absl::FailedPreconditionError(why)));
    member->connection.Flush();
    member->connection.Close();
  };
  if (!reader.ok()) return member->connection.Close();
  if (run != options_.run) {
    return refuse(absl::StrCat("at ", options_.where, " the ranks of another run meet ('", options_.run, "', not '",
                               run, "'); choose another MASTER_PORT or --dist_url"));
  }
  if (world_size != options_.world_size || rank < 0 || rank >= world_size) {
    return refuse(absl::StrCat("this is rank ", rank, " of ", world_size, ", but at ", options_.where, " ",
                               options_.world_size,
                               " ranks meet; give all the same number, or another run another MASTER_PORT"));
  }
  if (came_[rank]) {
    return refuse(absl::StrCat("rank ", rank, " of ", world_size, " has already come to ", options_.where, ", from ",
                               hosts_[rank], "; give each process its own rank, or another run another MASTER_PORT"));
  }
  member->rank = static_cast<int>(rank);
  member->connection.set_limit(size_t{1} << 30);
  by_rank_[rank] = member;
  hosts_[rank] = member->host;
  came_[rank] = true;
  const auto own = LocalAddress(member->connection.fd());
  if (own.ok() && !own->is_loopback()) outer_address_ = own->host();
  if (!failure_.ok()) return member->connection.Send(FailedFrame(failure_));
  if (code != absl::StatusCode::kOk) return Fail(absl::Status(code, absl::StrCat(Name(*member), ": ", text)));
  if (std::find(came_.begin(), came_.end(), false) == came_.end()) WelcomeAll();
}

void LifelineServer::WelcomeAll() {
  met_ = true;
  // Nobody else is waited for.
  listener_.Close();
  PayloadWriter writer;
  for (const Member* member : by_rank_) {
    // Who came over the loopback device is on this machine, whose address the others need.
    writer.Text(member->host).Text(member->address.empty() ? outer_address_ : member->address);
  }
  Broadcast(MakeFrame(LifelineFrame::kWelcome, writer));
}

void LifelineServer::Gather(Member* member, const Frame& frame) {
  PayloadReader reader(frame.payload);
  const int64_t number = reader.Number();
  const std::string what = reader.Text();
  Call& call = calls_[number];
  if (call.count == 0) {
    call.what = what;
    call.texts.resize(options_.world_size);
    call.there.resize(options_.world_size);
  }
  if (call.what != what) {
    return Fail(absl::InternalError(absl::StrCat("the ranks are out of step: ", Name(*member), " is at '", what,
                                                 "', others at '", call.what, "'")));
  }
  call.texts[member->rank] = reader.Text();
  call.there[member->rank] = true;
  for (int rank = 0; rank < options_.world_size; ++rank) {
    if (left_[rank] && !call.there[rank]) {
      return Fail(absl::UnavailableError(
          absl::StrCat("rank ", rank, " (", hosts_[rank], ") has ended, though others wait for it (", what, ")")));
    }
  }
  if (++call.count < options_.world_size) return;
  PayloadWriter writer;
  writer.Number(number);
  for (const std::string& text : call.texts) writer.Text(text);
  Broadcast(MakeFrame(LifelineFrame::kGathered, writer));
  calls_.erase(number);
}

void LifelineServer::Lost(Member* member) {
  member->connection.Close();
  if (member->rank < 0) return;
  by_rank_[member->rank] = nullptr;
  Fail(absl::UnavailableError(absl::StrCat(
      Name(*member), " ended without a word: killed, out of memory or crashed; its own output may say more")));
}

void LifelineServer::CheckSilence(double now) {
  for (const auto& member : members_) {
    const bool unknown = member->rank < 0 && (met_ || now - member->heard > kStrangerSeconds);
    if (unknown) member->connection.Close();
  }
  if (!failure_.ok()) return;
  if (!met_ && now - started_ > options_.timeout_seconds) {
    return Fail(absl::DeadlineExceededError(absl::StrFormat("%s did not come to %s within %g s (--dist_timeout)",
                                                            Missing(), options_.where, options_.timeout_seconds)));
  }
  for (const Member* member : by_rank_) {
    if (member == nullptr || now - member->heard <= options_.timeout_seconds) continue;
    return Fail(absl::UnavailableError(absl::StrFormat(
        "no sign of life from %s for %g s (--dist_timeout): the process is stopped, its machine hangs, or "
        "the network is cut",
        Name(*member), options_.timeout_seconds)));
  }
}

// Each learns of the others what makes it wait.
void LifelineServer::TellOthers(double now) {
  const std::string missing = Missing();
  const Member *last = nullptr, *busy[2] = {nullptr, nullptr};
  for (const Member* member : by_rank_) {
    if (member == nullptr) continue;
    if (last == nullptr || member->sequence < last->sequence) last = member;
    if (!member->waiting && !member->work.empty() && busy[1] == nullptr)
      (busy[0] == nullptr ? busy[0] : busy[1]) = member;
  }
  for (Member* member : by_rank_) {
    if (member == nullptr) continue;
    PayloadWriter writer;
    writer.Text(missing);
    const Member* other = busy[0] == member ? busy[1] : busy[0];
    writer.Text(other == nullptr ? "" : absl::StrCat(Name(*other), ": ", other->work));
    writer.Text(last->sequence >= member->sequence
                    ? ""
                    : absl::StrCat(Name(*last), last->what.empty() ? "" : absl::StrCat(" (last at '", last->what, "')"),
                                   now - last->heard > kQuietSeconds ? ", silent now," : ""));
    member->connection.Send(MakeFrame(LifelineFrame::kOthers, writer));
  }
}

void LifelineServer::Broadcast(const Frame& frame) {
  for (Member* member : by_rank_) {
    if (member != nullptr) member->connection.Send(frame);
  }
}

void LifelineServer::Fail(const absl::Status& failure) {
  if (!failure_.ok()) return;
  failure_ = failure;
  failed_ = SteadySeconds();
  Broadcast(FailedFrame(failure));
}

}  // namespace tec
