// How much of the ranks' communication the backward pass hides: training steps of two processes on this machine, which
// sum their gradients over Gloo on the loopback device, with a wait for each byte as over a slower network.
//
//   ./bazelw run //benchmarks/train:overlap
//   ./bazelw run //benchmarks/train:overlap -- --ranks=3 --mib_per_second=100 --trace
//
// Three kinds of updates in turn, so that other work on the machine meets all alike: without any sum, with the sums
// after the backward pass, and with each bucket's as soon as it is full (tec/dist/gradient_reducer.h). The time of the
// second less that of the first is the communication's; what the third saves of it is hidden. Of each update the
// slowest rank counts, for which the others wait where there are sums; medians over updates are printed. The
// processors' part of the sums is what a rank's process computes more with them than without, at the rate at which it
// gets to compute. All three must give finite norms.

#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "benchmarks/train/pretraining_step.h"
#include "tec/base/exit_code.h"
#include "tec/base/logging.h"
#include "tec/base/status.h"
#include "tec/base/steady_seconds.h"
#include "tec/config/config.h"
#include "tec/dist/environment.h"
#include "tec/dist/gradient_reducer.h"
#include "tec/dist/launch.h"
#include "tec/dist/process_group.h"
#include "tec/run/rank_runtime.h"
#include "tools/scale_plan/plan.h"

ABSL_FLAG(int, ranks, 2, "Processes.");
ABSL_FLAG(int64_t, batch, 16, "Images of a rank's step.");
ABSL_FLAG(int64_t, bucket_mib, 2, "Size of a bucket.");
ABSL_FLAG(double, mib_per_second, 0, "Of the network; 0: so that the sums take three quarters of a backward pass.");
ABSL_FLAG(int, updates, 5, "Of each kind.");
ABSL_FLAG(bool, trace, false, "Print when each bucket was full and when summed.");

namespace tec {
namespace {

// Row B with a quarter of its width, at 64 pixels: of its parameters and its work the encoder has about the same share.
constexpr char kExperiment[] = R"(
  method: TEC
  model {
    name: "custom" mlp_token: true pred_att: true
    encoder { image_size: 64 patch_size: 8 width: 192 depth: 12 heads: 3 }
    decoder { width: 128 depth: 2 heads: 4 }
  }
  base_model { name: "custom" topkatt: 15 encoder { image_size: 64 patch_size: 8 width: 192 depth: 12 heads: 3 } }
)";

// One sum after the other, each of them as long as its bytes take.
class SlowNetwork {
 public:
  explicit SlowNetwork(ProcessGroup& group) : group_(group), thread_([this] { Transmit(); }) {}
  ~SlowNetwork() {
    {
      const std::unique_lock<std::mutex> lock(mutex_);
      ended_ = true;
      changed_.notify_all();
    }
    thread_.join();
  }

  void set_bytes_per_second(double rate) { rate_ = rate; }
  // Without sums nothing is sent at all.
  void set_connected(bool connected) { connected_ = connected; }

  int64_t Start(const at::Tensor& flat) {
    const std::unique_lock<std::mutex> lock(mutex_);
    times_.push_back({static_cast<double>(flat.nbytes()), SteadySeconds(), 0});
    if (connected_) queue_.push_back(flat);
    changed_.notify_all();
    return static_cast<int64_t>(times_.size());
  }
  absl::Status Finish() {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [&] { return !connected_ || !status_.ok() || done_ == times_.size(); });
    return status_;
  }

  struct Times {
    double bytes, full, summed;
  };
  // Of the sums since the last call.
  std::vector<Times> TakeTimes() {
    const std::unique_lock<std::mutex> lock(mutex_);
    done_ = 0;
    return std::exchange(times_, {});
  }

 private:
  void Transmit() {
    std::unique_lock<std::mutex> lock(mutex_);
    while (true) {
      changed_.wait(lock, [&] { return ended_ || !queue_.empty(); });
      if (ended_) return;
      const at::Tensor flat = queue_.front();
      queue_.pop_front();
      lock.unlock();
      // As a ring sends it.
      const double sent = 2.0 * (group_.world_size() - 1) / group_.world_size() * static_cast<double>(flat.nbytes());
      if (rate_ > 0) usleep(static_cast<useconds_t>(1e6 * sent / rate_));
      const absl::Status status = group_.AllReduceSum(flat, "averaging gradients");
      lock.lock();
      status_.Update(status);
      times_[done_++].summed = SteadySeconds();
      changed_.notify_all();
    }
  }

  ProcessGroup& group_;
  double rate_ = 0;
  bool connected_ = true;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<at::Tensor> queue_;
  std::vector<Times> times_;
  size_t done_ = 0;
  absl::Status status_;
  bool ended_ = false;
  std::thread thread_;
};

enum Kind { kAlone, kAfterwards, kMeanwhile, kKinds };
constexpr const char* kNames[] = {"without sums", "sums after the backward pass", "sums meanwhile"};

double Median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + values.size() / 2, values.end());
  return values[values.size() / 2];
}

// Of all threads of this process.
double ProcessorSeconds() {
  timespec now;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

enum Time { kSeconds, kBackward, kProcessor, kTimes };  // Of an update; of its backward pass; of all cores.
using Update = std::array<double, kTimes>;

absl::Status RunRank(const LaunchEnvironment& environment) {
  SetComputeThreads(0, environment);
  KeepFreedMemory();
  TEC_ASSIGN_OR_RETURN(const std::unique_ptr<ProcessGroup> group, ProcessGroup::Create(environment));
  const bool prints = group->rank() == 0;
  TEC_ASSIGN_OR_RETURN(const config::Experiment experiment, ParseExperiment(kExperiment, "vit_ti8_64"));
  PretrainingStep step(Resolve(experiment), absl::GetFlag(FLAGS_batch), at::kCPU);
  SlowNetwork network(*group);
  GradientReducer::Options options;
  options.bucket_bytes = absl::GetFlag(FLAGS_bucket_mib) << 20;
  options.start_sum = [&](const at::Tensor& flat) { return network.Start(flat); };
  options.finish_sums = [&](const std::vector<int64_t>&) { return network.Finish(); };
  GradientReducer reducer(*group, step.parameters(), options);
  int64_t bytes = 0;
  for (const at::Tensor& parameter : step.parameters()) bytes += static_cast<int64_t>(parameter.nbytes());

  const auto update = [&](Kind kind, bool trace) -> absl::StatusOr<Update> {
    // All begin at once.
    TEC_RETURN_IF_ERROR(group->Any(false).status());
    network.set_connected(kind != kAlone);
    absl::Status status;
    double begun = 0, ended = 0;
    PretrainingStep::Around around;
    around.before = [&] {
      begun = SteadySeconds();
      if (kind == kMeanwhile) reducer.Arm();
    };
    around.after = [&] {
      ended = SteadySeconds();
      status = reducer.Wait();
    };
    const double start = SteadySeconds(), processor = ProcessorSeconds();
    const PretrainingStep::Result result = step.Run(1, around);
    const Update measured = {SteadySeconds() - start, ended - begun, ProcessorSeconds() - processor};
    TEC_RETURN_IF_ERROR(status);
    const double norm = result.gradient_norm.item<double>();
    TEC_CHECK(std::isfinite(norm) && norm > 0);
    const std::vector<SlowNetwork::Times> times = network.TakeTimes();
    if (trace && prints && kind != kAlone) {
      std::printf("%s: the backward pass ends after %.3f s\n", kNames[kind], ended - begun);
      for (const SlowNetwork::Times& sum : times) {
        std::printf("  %5.1f MiB  full %.3f s  summed %.3f s\n", sum.bytes / (1 << 20), sum.full - begun,
                    sum.summed - begun);
      }
    }
    return measured;
  };

  TEC_RETURN_IF_ERROR(update(kAlone, false).status());
  TEC_ASSIGN_OR_RETURN(const Update first, update(kAlone, false));
  TEC_ASSIGN_OR_RETURN(const std::vector<double> backward, group->Mean({first[kBackward]}));
  double rate = absl::GetFlag(FLAGS_mib_per_second) * (1 << 20);
  if (rate <= 0) {
    rate = 2.0 * (group->world_size() - 1) / group->world_size() * static_cast<double>(bytes) / (0.75 * backward[0]);
  }
  network.set_bytes_per_second(rate);
  std::string mine;
  const int updates = absl::GetFlag(FLAGS_updates);
  for (int i = 0; i < updates; ++i) {
    for (const Kind kind : {kAlone, kAfterwards, kMeanwhile}) {
      TEC_ASSIGN_OR_RETURN(const Update measured, update(kind, absl::GetFlag(FLAGS_trace) && i + 1 == updates));
      for (const double value : measured) absl::StrAppendFormat(&mine, "%.6f ", value);
    }
  }
  TEC_ASSIGN_OR_RETURN(const std::vector<std::string> all, group->Gather(mine, "times"));
  if (!prints) return absl::OkStatus();
  // Of each update the slowest rank's times, and the mean of what the ranks have computed.
  std::vector<double> times[kKinds][kTimes];
  for (auto& kind : times) {
    for (auto& values : kind) values.resize(updates);
  }
  for (const std::string& text : all) {
    const char* at = text.c_str();
    for (int i = 0; i < updates; ++i) {
      for (auto& kind : times) {
        for (int time = 0; time < kTimes; ++time) {
          const double value = std::strtod(at, const_cast<char**>(&at));
          double& slowest = kind[time][i];
          slowest = time == kProcessor ? slowest + value / group->world_size() : std::max(slowest, value);
        }
      }
    }
  }
  const auto median = [&](Kind kind, Time time) { return Median(times[kind][time]); };
  std::printf("%d ranks, %zu buckets, %.1f MiB of gradients at %.0f MiB/s\n", group->world_size(),
              reducer.buckets().size(), static_cast<double>(bytes) / (1 << 20), rate / (1 << 20));
  for (int kind = 0; kind < kKinds; ++kind) {
    const auto of = static_cast<Kind>(kind);
    std::printf("%-29s %.3f s an update, backward %.3f s, processors %.3f s a rank\n", kNames[kind],
                median(of, kSeconds), median(of, kBackward), median(of, kProcessor));
  }
  const double alone = median(kAlone, kSeconds), meanwhile = median(kMeanwhile, kSeconds);
  const double communication = median(kAfterwards, kSeconds) - alone;
  const double saved = median(kAfterwards, kSeconds) - meanwhile;
  std::printf("communication %.3f s, %.0f %% of it hidden\n", communication, 100 * saved / communication);
  SumsRequest plan;
  plan.bytes = static_cast<double>(bytes);
  plan.buckets = static_cast<double>(reducer.buckets().size());
  plan.ranks = group->world_size();
  plan.bytes_per_second = rate;
  plan.backward_seconds = median(kAlone, kBackward);
  plan.processor_seconds =
      std::max(0.0, median(kMeanwhile, kProcessor) - median(kAlone, kProcessor)) * alone / median(kAlone, kProcessor);
  const Sums planned = PlanSums(plan);
  std::printf("exposed %.3f s; //tools:scale_plan has communication %.3f s, exposed %.3f s, %.3f s of it processors'\n",
              meanwhile - alone, planned.seconds, planned.exposed, plan.processor_seconds);
  return absl::OkStatus();
}

int Main(const std::vector<std::string>& command) {
  const absl::StatusOr<LaunchEnvironment> environment = DetectLaunchEnvironment({});
  TEC_CHECK_OK(environment);
  if (environment->world_size > 1) {
    const absl::Status status = RunRank(*environment);
    if (!status.ok()) std::fprintf(stderr, "overlap: %s\n", std::string(status.message()).c_str());
    std::fflush(stdout);
    return ExitCodeOf(status);
  }
  LaunchRequest request;
  request.command = command;
  request.ranks = absl::GetFlag(FLAGS_ranks);
  char folder[] = "/tmp/overlap.XXXXXX";
  if (mkdtemp(folder) == nullptr) {
    std::fprintf(stderr, "overlap: cannot make a folder in /tmp\n");
    return kExitFailed;
  }
  request.log_file = absl::StrCat(folder, "/output");  // What the ranks print.
  if (request.ranks < 2) {
    std::fprintf(stderr, "overlap: --ranks=%d: at least 2\n", request.ranks);
    return kExitBadInput;
  }
  const absl::StatusOr<int> code = RunRanks(request);
  if (!code.ok()) std::fprintf(stderr, "overlap: %s\n", std::string(code.status().message()).c_str());
  return code.ok() ? *code : ExitCodeOf(code.status());
}

}  // namespace
}  // namespace tec

int main(int argc, char** argv) {
  const std::vector<std::string> command(argv, argv + argc);
  if (absl::ParseCommandLine(argc, argv).size() > 1) {
    std::fprintf(stderr, "overlap: takes flags only (--help)\n");
    return tec::kExitBadInput;
  }
  return tec::Main(command);
}
