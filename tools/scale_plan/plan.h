// How long a pretraining run takes on GPUs that one does not have yet, and what limits it: formulas alone
// (docs/cluster.md, "Planning"), nothing is run.

#ifndef TEC_TOOLS_SCALE_PLAN_PLAN_H_
#define TEC_TOOLS_SCALE_PLAN_PLAN_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "tec/config/experiment.pb.h"

namespace tec {

// Of the sums of an update.
struct SumsRequest {
  double bytes = 0;    // Of a rank's gradients.
  double buckets = 1;  // That they travel in, equal ones.
  int64_t ranks = 1;
  double bytes_per_second = 0;  // That a rank sends, and receives at the same time.
  double message_seconds = 0;   // Of a message of no length.
  double backward_seconds = 0;  // Of the last micro-step.
  // That a rank's sums keep the cores which its backward pass would have, of an update: where it computes on a CPU.
  double processor_seconds = 0;
};
struct Sums {
  double seconds = 0;  // That they take, with nothing else going on.
  double exposed = 0;  // That the update waits for after the backward pass.
};
// A ring: each rank sends 2 (n - 1) / n of its bytes, in 2 (n - 1) messages a bucket. The first bucket is full after
// one of equal shares of the backward pass, the last at its end. What the processors do is never hidden.
Sums PlanSums(const SumsRequest& request);

// Seconds of training between two saves that lose the least, saves and failures together (Young's formula with Daly's
// correction); infinite without failures.
double BestSaveInterval(double save_seconds, double mean_seconds_between_failures);
// The part of the time that is lost then: in saving, in training again what was not saved, and in starting.
double LostToFailures(double interval, double save_seconds, double restart_seconds, double between_failures);

struct ScaleRequest {
  int64_t gpus = 8, gpus_per_node = 8;
  double flops = 243e12;                // A GPU's, of what the method asks for (images/s times FLOPs of an image).
  double node_link = 200e9;             // Bytes a second that a GPU sends to others of its node.
  double network_link = 50e9;           // Bytes a second that a node sends to others.
  double message_seconds = 20e-6;       // Of a message of no length.
  double bucket_bytes = 25 << 20;       // tec/dist/gradient_reducer.h, of float32
  bool bfloat16_gradients = false;      // --bfloat16_gradients: half the bytes travel.
  int64_t decoders_per_node = 0;        // Threads; 0: not known, nothing is said of what limits.
  double decoded_per_second = 240;      // By one of them.
  double copy_bytes_per_second = 10e9;  // From the device into memory: the run stands still for that.
  double write_bytes_per_second = 1e9;  // To the folder that all see, in the background.
  double failures_per_gpu_hour = 2e-5;
  double restart_seconds = 300;  // From a failure till training goes on.
};

struct ScalePlan {
  double batch = 0;             // Images of an update, of all GPUs.
  double updates = 0;           // Of the run.
  double compute_seconds = 0;   // Of an update.
  double backward_seconds = 0;  // Of its last micro-step.
  double gradient_bytes = 0;    // That travel of a rank's.
  Sums sums;
  double step_seconds = 0;   // Of an update: compute and exposed sums, or decoding if that takes longer.
  double decoding_need = 0;  // Threads a node that keep up.
  bool decoding_limits = false;
  double images_per_second = 0;  // Of all GPUs.
  double hours = 0;              // Without saves and failures.
  double checkpoint_bytes = 0;
  double save_seconds = 0;  // That training stands still.
  double write_seconds = 0;
  double failures = 0;            // Expected in the run.
  double save_every_seconds = 0;  // The best; not below write_seconds.
  double lost = 0;                // Part of the time, with that.
  double all_hours = 0;           // With it.
};

// `resolved`: its data set has `images`. InvalidArgument for a request that makes no sense.
absl::StatusOr<ScalePlan> PlanScale(const config::Experiment& resolved, double images, const ScaleRequest& request);

// For people.
std::string Describe(const ScalePlan& plan, const ScaleRequest& request);

}  // namespace tec

#endif  // TEC_TOOLS_SCALE_PLAN_PLAN_H_
