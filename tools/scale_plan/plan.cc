#include "tools/scale_plan/plan.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "tec/base/status.h"
#include "tec/config/config.h"
#include "tec/config/cost.h"

namespace tec {

Sums PlanSums(const SumsRequest& request) {
  Sums sums;
  if (request.ranks < 2) return sums;
  const auto n = static_cast<double>(request.ranks);
  const double messages = 2 * (n - 1);
  const double of_bucket =
      messages / n * request.bytes / request.buckets / request.bytes_per_second + messages * request.message_seconds;
  const double of_link = request.buckets * of_bucket;
  sums.seconds = of_link + request.processor_seconds;
  // Either the link is never idle once the first bucket is full, or only the last one is left at the end.
  sums.exposed = std::max(of_bucket, of_link - request.backward_seconds * (request.buckets - 1) / request.buckets) +
                 request.processor_seconds;
  return sums;
}

double BestSaveInterval(double save_seconds, double mean_seconds_between_failures) {
  const double c = save_seconds, m = mean_seconds_between_failures;
  if (std::isinf(m)) return m;
  if (c >= 2 * m) return m;
  const double x = std::sqrt(c / (2 * m));
  return std::sqrt(2 * c * m) * (1 + x / 3 + x * x / 9) - c;
}

double LostToFailures(double interval, double save_seconds, double restart_seconds, double between_failures) {
  const double saving = std::isinf(interval) ? 0 : save_seconds / (interval + save_seconds);
  const double failing = std::isinf(between_failures) ? 0 : (restart_seconds + interval / 2) / between_failures;
  return std::min(1.0, saving + failing);
}

absl::StatusOr<ScalePlan> PlanScale(const config::Experiment& e, double images, const ScaleRequest& request) {
  if (request.gpus < 1 || request.gpus_per_node < 1 ||
      (request.gpus > request.gpus_per_node && request.gpus % request.gpus_per_node != 0)) {
    return absl::InvalidArgumentError(absl::StrCat("--gpus=", request.gpus, " in nodes of --gpus_per_node=",
                                                   request.gpus_per_node, ": there must be whole nodes"));
  }
  for (const auto& [name, value] : {std::pair<const char*, double>{"tflops", request.flops},
                                    {"node_link", request.node_link},
                                    {"network_link", request.network_link},
                                    {"decoded_per_second", request.decoded_per_second},
                                    {"copy_link", request.copy_bytes_per_second},
                                    {"disk", request.write_bytes_per_second},
                                    {"images", images}}) {
    if (!(value > 0)) return absl::InvalidArgumentError(absl::StrCat("--", name, ": it must be above 0"));
  }
  if (!(request.failures_per_gpu_hour >= 0 && request.restart_seconds >= 0 && request.message_seconds >= 0)) {
    return absl::InvalidArgumentError("--failures, --restart and --latency: at least 0");
  }
  ScalePlan plan;
  const auto gpus = static_cast<double>(request.gpus);
  const auto accum_iter = static_cast<double>(e.optimizer().accum_iter());
  const double micro_batch = static_cast<double>(e.optimizer().batch_size()) * gpus;
  plan.batch = micro_batch * accum_iter;
  if (images < plan.batch) {
    return absl::InvalidArgumentError(absl::StrFormat("%.0f images do not fill an update of %.0f", images, plan.batch));
  }
  // As the sampler and the loop have it: whole batches, whole updates.
  const double updates_an_epoch = std::floor(std::floor(images / micro_batch) / accum_iter);
  plan.updates = updates_an_epoch * static_cast<double>(e.schedule().epochs());

  const double flops = TrainingFlopsPerImage(e);
  const double of_base = e.method() == config::TEC ? EncoderFlopsPerImage(e.base_model().encoder(), e.data()) : 0;
  const double micro_seconds = static_cast<double>(e.optimizer().batch_size()) * flops / request.flops;
  plan.compute_seconds = micro_seconds * accum_iter;
  // The base model goes forward only; of the rest backward is twice forward.
  plan.backward_seconds = micro_seconds * (1 - of_base / flops) * 2 / 3;

  const double parameters = TrainedParameters(e);
  SumsRequest sums;
  sums.bytes = 4 * parameters;
  sums.buckets = std::max(1.0, std::ceil(sums.bytes / request.bucket_bytes));
  if (request.bfloat16_gradients) sums.bytes /= 2;
  sums.ranks = request.gpus;
  // One ring through all GPUs, which leaves a node once.
  sums.bytes_per_second =
      request.gpus > request.gpus_per_node ? std::min(request.node_link, request.network_link) : request.node_link;
  sums.message_seconds = request.message_seconds;
  sums.backward_seconds = plan.backward_seconds;
  plan.gradient_bytes = sums.bytes;
  plan.sums = PlanSums(sums);
  plan.step_seconds = plan.compute_seconds + plan.sums.exposed;

  const double of_node = plan.batch * static_cast<double>(std::min(request.gpus, request.gpus_per_node)) / gpus;
  plan.decoding_need = of_node / plan.step_seconds / request.decoded_per_second;
  if (request.decoders_per_node > 0 && plan.decoding_need > static_cast<double>(request.decoders_per_node)) {
    plan.decoding_limits = true;
    plan.step_seconds = of_node / (request.decoded_per_second * static_cast<double>(request.decoders_per_node));
  }
  plan.images_per_second = plan.batch / plan.step_seconds;
  plan.hours = plan.updates * plan.step_seconds / 3600;

  plan.checkpoint_bytes = 12 * parameters;
  plan.save_seconds = plan.checkpoint_bytes / request.copy_bytes_per_second;
  plan.write_seconds = plan.checkpoint_bytes / request.write_bytes_per_second;
  const double rate = request.failures_per_gpu_hour * gpus;
  plan.failures = rate * plan.hours;
  const double between = rate > 0 ? 3600 / rate : INFINITY;
  plan.save_every_seconds = std::max(BestSaveInterval(plan.save_seconds, between), plan.write_seconds);
  plan.lost = LostToFailures(plan.save_every_seconds, plan.save_seconds, request.restart_seconds, between);
  plan.all_hours = plan.lost < 1 ? plan.hours / (1 - plan.lost) : INFINITY;
  return plan;
}

std::string Describe(const ScalePlan& plan, const ScaleRequest& request) {
  std::string text;
  absl::StrAppendFormat(
      &text, "update      %.4f s: %.0f images, compute %.4f s, sums of %.2f GB %.4f s of which %.4f s exposed\n",
      plan.step_seconds, plan.batch, plan.compute_seconds, plan.gradient_bytes * 1e-9, plan.sums.seconds,
      plan.sums.exposed);
  absl::StrAppendFormat(&text, "speed       %.0f images/s of %d GPUs; %.0f updates, %.1f h\n", plan.images_per_second,
                        request.gpus, plan.updates, plan.hours);
  absl::StrAppendFormat(&text, "decoding    %.1f threads a node keep up", plan.decoding_need);
  if (plan.decoding_limits) {
    absl::StrAppendFormat(&text, ": %d limit the run, the GPUs work %.0f %% of the time", request.decoders_per_node,
                          100 * (plan.compute_seconds + plan.sums.exposed) / plan.step_seconds);
  }
  absl::StrAppendFormat(&text,
                        "\nsaving      %.2f GB; training stands still for %.2f s, the file is written in %.1f s\n",
                        plan.checkpoint_bytes * 1e-9, plan.save_seconds, plan.write_seconds);
  if (plan.failures > 0) {
    absl::StrAppendFormat(&text,
                          "failures    %.2f expected; saving every %.1f minutes (--save_every_minutes) loses least: "
                          "%.2f %% of the time, %.1f h in all\n",
                          plan.failures, plan.save_every_seconds / 60, 100 * plan.lost, plan.all_hours);
  }
  return text;
}

}  // namespace tec
