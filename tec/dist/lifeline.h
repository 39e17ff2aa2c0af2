// The ranks' line to one another beside their tensors: they meet on it, show signs of life, exchange short texts, and
// say last words. So an error of one rank reaches all with its reason, whatever the tensors travel over.
//
//   TEC_ASSIGN_OR_RETURN(const std::unique_ptr<Lifeline> line, Lifeline::Meet(options));
//   TEC_ASSIGN_OR_RETURN(const std::vector<std::string> seeds, line->Gather("5", "comparing seeds"));
//
// Rank 0 serves it (lifeline_server.h); each rank, rank 0 too, holds one TCP connection there. No authentication: who
// reaches the port can take part.

#ifndef TEC_DIST_LIFELINE_H_
#define TEC_DIST_LIFELINE_H_

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tec/dist/environment.h"
#include "tec/dist/lifeline_server.h"
#include "tec/dist/socket.h"

namespace tec {

struct LifelineOptions {
  int rank = 0, world_size = 1;
  // Where rank 0 listens: a name or digits. Of this machine's addresses only those that other ranks need.
  std::string address;
  int port = 0;
  bool one_machine = false;  // All ranks are on this machine.
  std::string run;           // What the launcher calls the run; ranks of different ones do not meet. May be empty.
  // How long a rank may show no sign of life, be missing at the start, or keep the others waiting.
  double timeout_seconds = 600;
  double say_after_seconds = 3;  // Who waits longer for the others says so, and again every ten seconds.
  // Rank 0, if it is to listen at any free port: tells the others, in some other way, which it is.
  std::function<absl::Status(int port)> publish_port;
};

LifelineOptions LifelineOf(const LaunchEnvironment& environment);

class Lifeline {
 public:
  struct Peer {
    std::string host;     // What the machine calls itself.
    std::string address;  // In digits, where the others reach it.
  };

  // Waits for all ranks. `own`: what this rank has to say for itself; if it is not OK, it is delivered to the others,
  // who would wait in vain, and returned. Errors: NotFound, at once, for an address that cannot be found;
  // FailedPrecondition for a port that is taken; DeadlineExceeded naming the ranks that did not come; another rank's
  // error, under its code.
  static absl::StatusOr<std::unique_ptr<Lifeline>> Meet(const LifelineOptions& options,
                                                        const absl::Status& own = absl::OkStatus());
  // Leaves. Rank 0 stays till the others have left, as long as they show signs of life.
  ~Lifeline();
  Lifeline(const Lifeline&) = delete;
  Lifeline& operator=(const Lifeline&) = delete;

  int rank() const { return options_.rank; }
  int world_size() const { return options_.world_size; }
  const std::vector<Peer>& peers() const { return peers_; }  // By rank.

  // The text of every rank, by rank; all make the call, with the same `what`, which says in messages what it is for.
  absl::StatusOr<std::vector<std::string>> Gather(const std::string& text, const std::string& what);

  // For an operation of another kind that all ranks take part in. Calls done(seconds), which waits about so long and
  // says whether it is done, till it is; returns why it will never be: another rank's end or error (failure()), or,
  // DeadlineExceeded, ranks that do not come to it within the time limit. No time counts in which a rank that is waited
  // for is at work (Work).
  absl::Status Wait(const std::string& what, const std::function<bool(double seconds)>& done);

  // Why the ranks cannot go on together; OK while they can. The first reason stays.
  absl::Status failure() const;
  // A broken connection of another kind is often the first sign of a rank's end: waits a moment for the reason. Returns
  // it, or `otherwise`.
  absl::Status Cause(const absl::Status& otherwise);
  // Tells the others that this rank cannot go on. Not after a failure.
  void Fail(const absl::Status& why);

  // While it lives, this rank is busy with something that takes long and that the others may have to wait for.
  class Work {
   public:
    Work(Lifeline* line, const std::string& what);  // Null: none needed.
    ~Work();
    Work(const Work&) = delete;
    Work& operator=(const Work&) = delete;

   private:
    Lifeline* line_;
    std::string before_;
  };

 private:
  explicit Lifeline(const LifelineOptions& options) : options_(options) {}
  absl::Status StartServer();
  absl::Status Connect();
  absl::Status WaitForAll(const absl::Status& own);
  void Listen();  // The thread.
  void Handle(const Frame& frame);
  void SetFailure(const absl::Status& failure);  // With mutex_ held.
  void SendState();                              // With mutex_ held.
  void Wake();

  const LifelineOptions options_;
  std::unique_ptr<LifelineServer> server_;  // Rank 0 only.
  std::optional<FrameConnection> connection_;
  Socket wake_, woken_;
  std::thread thread_;
  std::vector<Peer> peers_;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool met_ = false, leaving_ = false;
  absl::Status failure_;
  std::map<int64_t, std::vector<std::string>> gathered_;
  int64_t gathers_ = 0;   // This rank's calls.
  int64_t sequence_ = 0;  // Operations that this rank has come to.
  bool waiting_ = false;
  std::string what_;           // The newest of them.
  std::string work_;           // What this rank is busy with.
  std::string others_work_;    // "rank 0 (host): saving", or empty.
  std::string others_behind_;  // Who has not come to where this rank is.
};

}  // namespace tec

#endif  // TEC_DIST_LIFELINE_H_
