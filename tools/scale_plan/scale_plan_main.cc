// //tools:scale_plan: what a pretraining run would take on GPUs that one does not have yet.
//
//   ./bazelw run //tools:scale_plan -- --experiment=vit_b_mae_300ep --gpus=32 --network_link=25
//
// Exit codes: 0 done, 1 bad use or input.

#include <cstdio>
#include <string>
#include <vector>

#include "absl/flags/flag.h"
#include "tec/base/exit_code.h"
#include "tec/base/logging.h"
#include "tec/base/program.h"
#include "tec/base/status.h"
#include "tec/config/config.h"
#include "tec/config/flag_parser.h"
#include "tools/scale_plan/plan.h"

ABSL_FLAG(std::string, experiment, "vit_b_mae_300ep", "a row of the paper's table, or the file of an experiment");
ABSL_FLAG(double, images, 1281167, "pictures of the data set");
ABSL_FLAG(int64_t, batch_size, 0, "pictures a GPU and micro-step; 0: the experiment's");
ABSL_FLAG(int64_t, accum_iter, 0, "micro-steps an update; 0: the experiment's");
ABSL_FLAG(int64_t, gpus, 8, "of all machines");
ABSL_FLAG(int64_t, gpus_per_node, 8, "of one machine");
ABSL_FLAG(double, tflops, 243, "of a GPU, of what the method asks for; unless given, an H200's, measured");
ABSL_FLAG(double, node_link, 200, "GB/s that a GPU sends to others of its machine (assumed unless given)");
ABSL_FLAG(double, network_link, 50, "GB/s that a machine sends to others (assumed unless given)");
ABSL_FLAG(double, latency, 20, "microseconds of a message of no length (assumed unless given)");
ABSL_FLAG(bool, bfloat16_gradients, false, "as of a run with --bfloat16_gradients: half the bytes travel");
ABSL_FLAG(int64_t, decoders, 0, "decoding threads of a machine; 0: as many as are needed");
ABSL_FLAG(double, decoded_per_second, 240, "pictures that a thread decodes (assumed; //benchmarks/data measures it)");
ABSL_FLAG(double, copy_link, 10, "GB/s from a GPU into memory, when saving (assumed unless given)");
ABSL_FLAG(double, disk, 1, "GB/s to the folder of checkpoints (assumed unless given)");
ABSL_FLAG(double, failures, 2e-5, "of a GPU and hour");
ABSL_FLAG(double, restart, 300, "seconds from a failure till training goes on (assumed unless given)");

namespace tec {
namespace {

absl::Status Plan() {
  TEC_ASSIGN_OR_RETURN(config::Experiment experiment, LoadExperiment(absl::GetFlag(FLAGS_experiment)));
  if (absl::GetFlag(FLAGS_batch_size) > 0) {
    experiment.mutable_optimizer()->set_batch_size(absl::GetFlag(FLAGS_batch_size));
  }
  if (absl::GetFlag(FLAGS_accum_iter) > 0) {
    experiment.mutable_optimizer()->set_accum_iter(absl::GetFlag(FLAGS_accum_iter));
  }
  const config::Experiment resolved = Resolve(experiment);
  TEC_RETURN_IF_ERROR(Validate(resolved, Paths::kOptional));
  ScaleRequest request;
  request.gpus = absl::GetFlag(FLAGS_gpus);
  request.gpus_per_node = absl::GetFlag(FLAGS_gpus_per_node);
  request.flops = absl::GetFlag(FLAGS_tflops) * 1e12;
  request.node_link = absl::GetFlag(FLAGS_node_link) * 1e9;
  request.network_link = absl::GetFlag(FLAGS_network_link) * 1e9;
  request.message_seconds = absl::GetFlag(FLAGS_latency) * 1e-6;
  request.bfloat16_gradients = absl::GetFlag(FLAGS_bfloat16_gradients);
  request.decoders_per_node = absl::GetFlag(FLAGS_decoders);
  request.decoded_per_second = absl::GetFlag(FLAGS_decoded_per_second);
  request.copy_bytes_per_second = absl::GetFlag(FLAGS_copy_link) * 1e9;
  request.write_bytes_per_second = absl::GetFlag(FLAGS_disk) * 1e9;
  request.failures_per_gpu_hour = absl::GetFlag(FLAGS_failures);
  request.restart_seconds = absl::GetFlag(FLAGS_restart);
  TEC_ASSIGN_OR_RETURN(const ScalePlan plan, PlanScale(resolved, absl::GetFlag(FLAGS_images), request));
  std::printf("%s", Describe(plan, request).c_str());
  std::printf(
      "by          %g TFLOP/s, links of %g GB/s in a machine and %g between, %g pictures decoded a second and thread, "
      "copies at %g GB/s, a disk of %g GB/s, %g failures a GPU and hour, %g s to start again; other numbers by flags\n",
      absl::GetFlag(FLAGS_tflops), absl::GetFlag(FLAGS_node_link), absl::GetFlag(FLAGS_network_link),
      absl::GetFlag(FLAGS_decoded_per_second), absl::GetFlag(FLAGS_copy_link), absl::GetFlag(FLAGS_disk),
      absl::GetFlag(FLAGS_failures), absl::GetFlag(FLAGS_restart));
  return absl::OkStatus();
}

constexpr char kUsage[] =
    "What a pretraining run would take on GPUs that one does not have yet: time of an update, what of the sums over\n"
    "ranks is not hidden, threads that decode, hours, saving and failures. The formulas are in docs/cluster.md.\n\n"
    "  scale_plan --experiment=vit_b_mae_300ep --gpus=32 --network_link=25\n\n";

std::vector<FlagGroup> Flags() {
  return {{"The run",
           {{"experiment", ""}, {"images", ""}, {"batch_size", ""}, {"accum_iter", ""}, {"bfloat16_gradients", ""}}},
          {"The machines",
           {{"gpus", ""},
            {"gpus_per_node", ""},
            {"tflops", ""},
            {"node_link", ""},
            {"network_link", ""},
            {"latency", ""},
            {"decoders", ""},
            {"decoded_per_second", ""},
            {"copy_link", ""},
            {"disk", ""},
            {"failures", ""},
            {"restart", ""}}}};
}

int Main(int argc, char** argv) {
  InitLogging(argv[0]);
  const absl::StatusOr<ParsedFlags> parsed = ParseFlags(argc, argv, Flags());
  if (parsed.ok() && parsed->help) {
    std::printf("%s%s", kUsage, DescribeFlags(Flags()).c_str());
    return kExitDone;
  }
  return ReportStatus("scale_plan", parsed.ok() ? Plan() : parsed.status());
}

}  // namespace
}  // namespace tec

int main(int argc, char** argv) { return tec::RunProgram(argc, argv, tec::Main); }
