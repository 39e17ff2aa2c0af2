// Rank 0's half of the ranks' line to one another (lifeline.h): a thread that knows of every rank whether it is there,
// and tells all of them.

#ifndef TEC_DIST_LIFELINE_SERVER_H_
#define TEC_DIST_LIFELINE_SERVER_H_

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "tec/dist/socket.h"

namespace tec {

// What is said first on a connection, by both sides: nobody takes another program's port for a rank's.
inline constexpr char kLifelineGreeting[] = "TEC ranks 1\n";

enum class LifelineFrame : uint8_t {
  kHello,     // From a rank: run, world size, rank, host, address, status code, text.
  kWelcome,   // To all: their host and address, by rank; then the host's outer address.
  kState,     // From a rank, every second: operations come to, waiting, the newest, what it is busy with.
  kOthers,    // To a rank, every second: who is missing at the start; what others are busy with; who is behind.
  kGather,    // From a rank: number of the call, what for, text.
  kGathered,  // To all: number of the call, texts by rank.
  kFail,      // From a rank: status code, text.
  kFailed,    // To all: status code, text.
  kLeave,     // From a rank, which then closes.
};

class LifelineServer {
 public:
  struct Options {
    int world_size = 1;
    std::string run;
    double timeout_seconds = 600;
    std::string where;  // HOST:PORT, for messages.
  };
  LifelineServer(Socket listener, const Options& options);
  // Waits till every rank has left or, after a failure, has been told.
  ~LifelineServer();
  LifelineServer(const LifelineServer&) = delete;
  LifelineServer& operator=(const LifelineServer&) = delete;

  // The port that it listens at.
  int port() const { return port_; }

 private:
  struct Member {
    explicit Member(Socket socket) : connection(std::move(socket)) {}
    FrameConnection connection;
    int rank = -1;  // Not said yet.
    bool greeted = false;
    double heard = 0;  // When it was last heard of.
    std::string host, address;
    int64_t sequence = 0;
    bool waiting = false;
    std::string what, work;
  };
  struct Call {
    std::string what;
    std::vector<std::string> texts;
    std::vector<bool> there;
    int count = 0;
  };

  void Serve();  // The thread.
  void Accept();
  void Read(Member* member);
  void Handle(Member* member, const Frame& frame);
  void Hello(Member* member, const Frame& frame);
  void Gather(Member* member, const Frame& frame);
  void Lost(Member* member);
  void CheckSilence(double now);
  void TellOthers(double now);
  void WelcomeAll();
  void Broadcast(const Frame& frame);
  // Tells everyone; the first reason counts.
  void Fail(const absl::Status& failure);
  std::string Name(const Member& member) const;
  std::string Missing() const;
  bool Finished(double now) const;

  const Options options_;
  Socket listener_, wake_, woken_;
  int port_ = 0;
  std::thread thread_;
  std::atomic<bool> stopping_{false};

  std::vector<std::unique_ptr<Member>> members_;
  std::vector<Member*> by_rank_;    // Null: has not come, or is gone.
  std::vector<std::string> hosts_;  // By rank, also of those that are gone.
  std::vector<bool> came_, left_;
  std::string outer_address_;  // Where other machines reach this one.
  std::map<int64_t, Call> calls_;
  bool met_ = false;
  absl::Status failure_;
  double started_ = 0, failed_ = 0, stopped_ = 0;  // SteadySeconds.
};

}  // namespace tec

#endif  // TEC_DIST_LIFELINE_SERVER_H_
