// Somewhat longer than a file should be: the meeting, the thread and the waits share the state that mutex_ guards, and
// are understood together.

#include "tec/dist/lifeline.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "tec/base/logging.h"
#include "tec/base/status.h"
#include "tec/base/steady_seconds.h"

namespace tec {
namespace {

constexpr int kPollMilliseconds = 200;
constexpr double kStateSeconds = 1;    // Between two signs of life.
constexpr double kSliceSeconds = 0.2;  // Of waiting, between two looks at the others.
constexpr double kOwnGapSeconds = 3;   // As the server's: a process that was stopped has not waited meanwhile.
constexpr double kRetrySeconds = 0.3;  // Between two attempts to reach rank 0.
constexpr double kAttemptSeconds = 5;  // Of one.
constexpr double kSayEverySeconds = 10;
// A name server that does not answer may be about to; a name that it does not know is an error at once.
constexpr double kNameSeconds = 20;
constexpr double kCauseSeconds = 3, kSlackSeconds = 5;
constexpr double kFlushSeconds = 2;  // For last words.
constexpr double kLastWordsSeconds = 30;

Frame MakeFrame(LifelineFrame type, const PayloadWriter& writer) {
  return {static_cast<uint8_t>(type), writer.payload()};
}

void Sleep(double seconds) { std::this_thread::sleep_for(std::chrono::duration<double>(seconds)); }

std::string Where(const LifelineOptions& options) { return absl::StrCat(options.address, ":", options.port); }

// Writes a line about waiting, not too often.
class Announcer {
 public:
  explicit Announcer(double after) : next_(SteadySeconds() + after) {}
  void Say(const std::string& line) {
    if (SteadySeconds() < next_) return;
    next_ = SteadySeconds() + kSayEverySeconds;
    TEC_LOG(INFO) << line;
  }

 private:
  double next_;
};

bool IsDigits(const std::string& host) {
  return host.find(':') != std::string::npos || host.find_first_not_of("0123456789.") == std::string::npos;
}

// Where rank 0 listens: at the address that the ranks were given, if that is one of this machine's that the others
// reach. A name may stand for the loopback device here, as Debian's installer has it (127.0.1.1), and for another
// address elsewhere; and behind a translated address (NAT) none of ours is the one given.
absl::StatusOr<NetAddress> ListenAddress(const LifelineOptions& options) {
  TEC_ASSIGN_OR_RETURN(const std::vector<NetAddress> addresses, ResolveHost(options.address, options.port));
  const int port = options.publish_port ? 0 : options.port;
  for (NetAddress address : addresses) {
    if (!IsOwnAddress(address)) continue;
    address.set_port(port);
    const bool loopback_is_meant = options.one_machine || options.address == "localhost" || IsDigits(options.address);
    if (!address.is_loopback() || loopback_is_meant) return address;
  }
  return options.one_machine ? LoopbackAddress(port) : AnyAddress(port);
}

}  // namespace

LifelineOptions LifelineOf(const LaunchEnvironment& environment) {
  LifelineOptions options;
  options.rank = environment.rank;
  options.world_size = environment.world_size;
  options.address = environment.master_address;
  options.port = environment.master_port;
  options.one_machine = environment.local_world_size == environment.world_size;
  options.run = absl::StrCat(environment.run, "/", environment.restart_count);
  options.timeout_seconds = environment.timeout_seconds;
  return options;
}

absl::StatusOr<std::unique_ptr<Lifeline>> Lifeline::Meet(const LifelineOptions& options, const absl::Status& own) {
  TEC_CHECK(options.rank >= 0 && options.rank < options.world_size) << options.rank << " of " << options.world_size;
  LifelineOptions limited = options;
  // Who is only here to say why it ends does not wait for ever for listeners.
  if (!own.ok()) limited.timeout_seconds = std::min(options.timeout_seconds, kLastWordsSeconds);
  std::unique_ptr<Lifeline> line(new Lifeline(limited));
  const auto reach = [&]() -> absl::Status {
    if (options.rank == 0) TEC_RETURN_IF_ERROR(line->StartServer());
    return line->Connect();
  };
  const absl::Status reached = reach();
  if (!reached.ok()) return own.ok() ? reached : own;
  TEC_RETURN_IF_ERROR(line->WaitForAll(own));
  return line;
}

absl::Status Lifeline::StartServer() {
  TEC_ASSIGN_OR_RETURN(const NetAddress address, ListenAddress(options_));
  TEC_ASSIGN_OR_RETURN(Socket listener, ListenAt(address));
  LifelineServer::Options server;
  server.world_size = options_.world_size;
  server.run = options_.run;
  server.timeout_seconds = options_.timeout_seconds;
  server.where = Where(options_);
  server_ = std::make_unique<LifelineServer>(std::move(listener), server);
  return options_.publish_port ? options_.publish_port(server_->port()) : absl::OkStatus();
}

// Rank 0 of the right kind answers with a greeting. Till then everything may be a matter of time.
absl::Status Lifeline::Connect() {
  const double start = SteadySeconds();
  Announcer announcer(options_.say_after_seconds);
  std::string problem;
  while (true) {
    const double waited = SteadySeconds() - start;
    if (waited > options_.timeout_seconds) {
      return absl::DeadlineExceededError(
          absl::StrFormat("rank %d: rank 0 of %d does not answer at %s within %g s (--dist_timeout): %s", options_.rank,
                          options_.world_size, Where(options_), options_.timeout_seconds, problem));
    }
    if (!problem.empty()) {
      announcer.Say(
          absl::StrCat("waiting for rank 0 of ", options_.world_size, " at ", Where(options_), " (", problem, ")"));
      Sleep(kRetrySeconds);
    }
    std::vector<NetAddress> addresses;
    if (server_ != nullptr) {
      TEC_ASSIGN_OR_RETURN(NetAddress own, ListenAddress(options_));
      own.set_port(server_->port());
      addresses = {own};
    } else {
      absl::StatusOr<std::vector<NetAddress>> found = ResolveHost(options_.address, options_.port);
      if (!found.ok()) {
        const bool said = !problem.empty();
        problem = std::string(found.status().message());
        if (!absl::IsUnavailable(found.status()) || waited > std::min(kNameSeconds, options_.timeout_seconds)) {
          return absl::NotFoundError(
              absl::StrCat("rank ", options_.rank, ": ", problem, "; it was given as MASTER_ADDR or --dist_url"));
        }
        if (!said) TEC_LOG(WARNING) << problem << "; trying again";
        continue;
      }
      addresses = *std::move(found);
    }
    for (const NetAddress& address : addresses) {
      const double left = std::max(0.1, options_.timeout_seconds - (SteadySeconds() - start));
      absl::StatusOr<Socket> socket = ConnectTo(address, std::min(kAttemptSeconds, left));
      if (!socket.ok()) {
        problem = std::string(socket.status().message());
        continue;
      }
      FrameConnection connection(*std::move(socket));
      problem = "connected, but nothing answers: rank 0 is stopped, or another program has the port";
      bool open = true;
      while (open && SteadySeconds() - start <= options_.timeout_seconds) {
        pollfd readable = {connection.fd(), POLLIN, 0};
        poll(&readable, 1, kPollMilliseconds);
        open = connection.Receive();
        const auto greeting = connection.TakeRaw(sizeof(kLifelineGreeting) - 1);
        if (greeting && *greeting == kLifelineGreeting) {
          connection_.emplace(std::move(connection));
          return absl::OkStatus();
        }
        if (greeting) {
          return absl::FailedPreconditionError(
              absl::StrCat("rank ", options_.rank, ": what answers at ", Where(options_),
                           " is another program, not rank 0; choose another MASTER_PORT "
                           "or --dist_url"));
        }
        announcer.Say(
            absl::StrCat("waiting for rank 0 of ", options_.world_size, " at ", Where(options_), " (", problem, ")"));
      }
      if (!open) problem = "connected, and the connection was closed";
    }
  }
}

absl::Status Lifeline::WaitForAll(const absl::Status& own) {
  connection_->SendRaw(kLifelineGreeting);
  const auto address = LocalAddress(connection_->fd());
  PayloadWriter hello;
  hello.Text(options_.run).Number(options_.world_size).Number(options_.rank).Text(HostName());
  hello.Text(address.ok() && !address->is_loopback() ? address->host() : "");
  hello.Number(static_cast<int64_t>(own.code())).Text(std::string(own.message()));
  connection_->Send(MakeFrame(LifelineFrame::kHello, hello));
  wake_ = Socket(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!own.ok()) {
    // What the others wait for has been said once this is sent.
    for (const double start = SteadySeconds(); connection_->has_output() && SteadySeconds() - start < kFlushSeconds;) {
      connection_->Flush();
      if (connection_->has_output()) Sleep(0.01);
    }
    const std::unique_lock<std::mutex> lock(mutex_);
    failure_ = own;
    return own;
  }
  thread_ = std::thread([this] { Listen(); });
  std::unique_lock<std::mutex> lock(mutex_);
  Announcer announcer(options_.say_after_seconds);
  while (!met_ && failure_.ok()) {
    changed_.wait_for(lock, std::chrono::duration<double>(kSliceSeconds));
    if (!met_ && failure_.ok() && !others_behind_.empty()) {
      announcer.Say(absl::StrCat("waiting for ", others_behind_, " at ", Where(options_)));
    }
  }
  others_behind_.clear();
  return failure_;
}

Lifeline::~Lifeline() {
  {
    const std::unique_lock<std::mutex> lock(mutex_);
    leaving_ = true;
    if (connection_ && thread_.joinable() && failure_.ok()) {
      connection_->Send({static_cast<uint8_t>(LifelineFrame::kLeave), ""});
    }
    Wake();
  }
  if (thread_.joinable()) thread_.join();
  if (connection_) connection_->Close();
  server_.reset();
}

void Lifeline::Wake() {
  const uint64_t one = 1;
  if (wake_.is_open()) (void)!write(wake_.fd(), &one, sizeof(one));
}

void Lifeline::SetFailure(const absl::Status& failure) {
  if (failure_.ok()) failure_ = failure;
  changed_.notify_all();
}

void Lifeline::SendState() {
  PayloadWriter writer;
  writer.Number(sequence_).Number(waiting_).Text(what_).Text(work_);
  connection_->Send(MakeFrame(LifelineFrame::kState, writer));
  Wake();
}

void Lifeline::Listen() {
  double told = 0, heard = SteadySeconds(), last = heard, leaving_since = 0;
  while (true) {
    bool output;
    {
      const std::unique_lock<std::mutex> lock(mutex_);
      output = connection_->has_output();
    }
    pollfd waits[] = {{wake_.fd(), POLLIN, 0},
                      {connection_->fd(), static_cast<short>(POLLIN | (output ? POLLOUT : 0)), 0}};
    poll(waits, 2, kPollMilliseconds);
    uint64_t ignored;
    (void)!read(wake_.fd(), &ignored, sizeof(ignored));

    const std::unique_lock<std::mutex> lock(mutex_);
    const bool open = connection_->Receive();
    const double now = SteadySeconds();
    if (now - last > kOwnGapSeconds) heard = now;
    last = now;
    while (const std::optional<Frame> frame = connection_->Take()) {
      heard = now;
      Handle(*frame);
    }
    const std::string server = peers_.empty() ? "rank 0" : absl::StrCat("rank 0 (", peers_[0].host, ")");
    if (!open) {
      SetFailure(absl::UnavailableError(absl::StrCat(
          server, " ended without a word: killed, out of memory or crashed; its own output may say more")));
      return;
    }
    if (now - heard > options_.timeout_seconds) {
      SetFailure(absl::UnavailableError(absl::StrFormat(
          "no sign of life from %s for %g s (--dist_timeout): the process is stopped, its machine hangs, "
          "or the network is cut",
          server, options_.timeout_seconds)));
    }
    if (now - told >= kStateSeconds && !leaving_) {
      told = now;
      SendState();
    }
    connection_->Flush();
    if (!leaving_) continue;
    if (leaving_since == 0) leaving_since = now;
    if (!connection_->has_output() || now - leaving_since > kFlushSeconds) return;
  }
}

void Lifeline::Handle(const Frame& frame) {
  PayloadReader reader(frame.payload);
  switch (static_cast<LifelineFrame>(frame.type)) {
    case LifelineFrame::kWelcome:
      for (int rank = 0; rank < options_.world_size; ++rank) {
        Peer peer;
        peer.host = reader.Text();
        peer.address = reader.Text();
        peers_.push_back(peer);
      }
      met_ = true;
      break;
    case LifelineFrame::kOthers: {
      const std::string missing = reader.Text();
      others_work_ = reader.Text();
      others_behind_ = reader.Text();
      if (!met_) others_behind_ = missing;
      break;
    }
    case LifelineFrame::kGathered: {
      const int64_t number = reader.Number();
      std::vector<std::string>& texts = gathered_[number];
      for (int rank = 0; rank < options_.world_size; ++rank) texts.push_back(reader.Text());
      break;
    }
    case LifelineFrame::kFailed: {
      const auto code = static_cast<absl::StatusCode>(reader.Number());
      SetFailure(absl::Status(code, reader.Text()));
      break;
    }
    default:
      SetFailure(absl::InternalError("rank 0 says what this version does not understand"));
  }
  changed_.notify_all();
}

absl::StatusOr<std::vector<std::string>> Lifeline::Gather(const std::string& text, const std::string& what) {
  int64_t number;
  {
    const std::unique_lock<std::mutex> lock(mutex_);
    if (!failure_.ok()) return failure_;
    number = gathers_++;
    connection_->Send(MakeFrame(LifelineFrame::kGather, PayloadWriter().Number(number).Text(what).Text(text)));
    Wake();
  }
  std::vector<std::string> texts;
  TEC_RETURN_IF_ERROR(Wait(what, [&](double seconds) {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait_for(lock, std::chrono::duration<double>(seconds),
                      [&] { return gathered_.count(number) > 0 || !failure_.ok(); });
    const auto found = gathered_.find(number);
    if (found == gathered_.end()) return false;
    texts = std::move(found->second);
    gathered_.erase(found);
    return true;
  }));
  return texts;
}

absl::Status Lifeline::Wait(const std::string& what, const std::function<bool(double seconds)>& done) {
  {
    const std::unique_lock<std::mutex> lock(mutex_);
    ++sequence_;
    what_ = what;
    waiting_ = true;
  }
  Announcer announcer(6 * kSayEverySeconds);
  // A rank that has fallen silent since this wait began is to be called that.
  const double slack = std::min(kSlackSeconds, options_.timeout_seconds / 4);
  double waited = 0, before = SteadySeconds();
  while (!done(kSliceSeconds)) {
    const double now = SteadySeconds();
    std::unique_lock<std::mutex> lock(mutex_);
    if (!failure_.ok()) return failure_;
    // A process that was stopped has not waited meanwhile.
    waited = others_work_.empty() ? waited + std::min(now - before, kOwnGapSeconds) : 0;
    before = now;
    const std::string others = !others_work_.empty() ? others_work_ : others_behind_;
    if (waited <= options_.timeout_seconds + slack) {
      lock.unlock();
      if (!others.empty()) announcer.Say(absl::StrCat("waiting for ", others));
      continue;
    }
    const absl::Status late = absl::DeadlineExceededError(
        absl::StrFormat("%s did not come to '%s' within %g s (--dist_timeout)",
                        others_behind_.empty() ? "a rank" : others_behind_, what, options_.timeout_seconds));
    lock.unlock();
    Fail(late);
    return failure();
  }
  const std::unique_lock<std::mutex> lock(mutex_);
  waiting_ = false;
  return absl::OkStatus();
}

absl::Status Lifeline::failure() const {
  const std::unique_lock<std::mutex> lock(mutex_);
  return failure_;
}

absl::Status Lifeline::Cause(const absl::Status& otherwise) {
  std::unique_lock<std::mutex> lock(mutex_);
  changed_.wait_for(lock, std::chrono::duration<double>(kCauseSeconds), [&] { return !failure_.ok(); });
  return failure_.ok() ? otherwise : failure_;
}

void Lifeline::Fail(const absl::Status& why) {
  std::unique_lock<std::mutex> lock(mutex_);
  if (!failure_.ok()) return;
  connection_->Send(MakeFrame(
      LifelineFrame::kFail, PayloadWriter().Number(static_cast<int64_t>(why.code())).Text(std::string(why.message()))));
  Wake();
  SetFailure(why);
}

Lifeline::Work::Work(Lifeline* line, const std::string& what) : line_(line) {
  if (line_ == nullptr) return;
  const std::unique_lock<std::mutex> lock(line_->mutex_);
  before_ = std::exchange(line_->work_, what);
  line_->SendState();
}

Lifeline::Work::~Work() {
  if (line_ == nullptr) return;
  const std::unique_lock<std::mutex> lock(line_->mutex_);
  line_->work_ = before_;
  line_->SendState();
}

}  // namespace tec
