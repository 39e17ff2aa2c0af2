// What one training step of a model asks of a device beside its products: kernels, bytes read and written, FLOPs, by
// class of operation. Needs no GPU.
//
//   ./bazelw run //benchmarks/train:traffic                                       # row B, bfloat16, 256 images a step
//   ./bazelw run //benchmarks/train:traffic -- --experiment=vit_l_mae_300ep --batch=128 --operations
//   ./bazelw run //benchmarks/train:traffic -- --finetune                         # ViT-B with drop path, erasing,
//   mixing
//
// The code that trains is run on the CPU with 4 and with 8 images, LibTorch's fused attention in both types as on a
// GPU, and every operation is counted with the tensors that it got (operation_counter.h). Each count is a constant (of
// the weights) and a part that grows with the images, so the two runs give that of any batch. What this cannot see:
// a cast that autocast makes on a GPU and not on the CPU (here: that of the adaptor's last norm), and how fast a
// kernel is.
// Elementwise: all but products, attention and the update.

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "ATen/ATen.h"
#include "ATen/Context.h"
#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "benchmarks/eval/finetuning_step.h"
#include "benchmarks/train/operation_counter.h"
#include "benchmarks/train/pretraining_step.h"
#include "tec/base/exit_code.h"
#include "tec/config/config.h"
#include "tec/models/factory.h"

ABSL_FLAG(std::string, experiment, "vit_b_mae_300ep", "A row of the paper's table, or the file of an experiment.");
ABSL_FLAG(bool, finetune, false, "Count a finetuning step of the experiment's encoder instead.");
ABSL_FLAG(std::string, precision, "bfloat16", "float32 or bfloat16.");
ABSL_FLAG(int64_t, batch, 0, "Images of a step that the counts are for; 0: 256, and 128 in finetuning.");
ABSL_FLAG(bool, operations, false, "A line for each operation too.");
ABSL_FLAG(bool, shapes, false, "Also what shapes each operation gets.");

namespace tec {
namespace {

// As a function of the number of images: constant + slope * images.
struct Sums {
  double kernels = 0, read = 0, written = 0, flops = 0;
};
using Table = std::map<std::pair<std::string, std::string>, Sums>;  // (class, operation)

constexpr int64_t kSmall = 4, kLarge = 8;

std::vector<CountedOperation> Count(const std::function<void()>& step) {
  step();  // What is made once is made here.
  OperationCounter counter;
  step();
  return counter.Take();
}

Table TableOf(const std::vector<CountedOperation>& operations) {
  Table table;
  for (const CountedOperation& operation : operations) {
    for (const std::string& name : {operation.name, std::string()}) {
      Sums& sums = table[{operation.kind, name}];
      sums.kernels += static_cast<double>(operation.kernels);
      sums.read += static_cast<double>(operation.bytes_read);
      sums.written += static_cast<double>(operation.bytes_written);
      sums.flops += operation.flops;
    }
  }
  return table;
}

Sums Extrapolate(const Sums& small, const Sums& large, double images) {
  const auto at = [&](double Sums::*field) {
    return small.*field + (large.*field - small.*field) * (images - kSmall) / (kLarge - kSmall);
  };
  return {at(&Sums::kernels), at(&Sums::read), at(&Sums::written), at(&Sums::flops)};
}

void Print(const std::string& name, const Sums& sums, double images) {
  std::printf("%-44s %8.0f %9.1f %9.1f %9.1f %9.2f\n", name.c_str(), sums.kernels, sums.read / images * 1e-6,
              sums.written / images * 1e-6, (sums.read + sums.written) / images * 1e-6, sums.flops / images * 1e-9);
}

std::string TextOf(const CountedTensor& tensor) {
  return absl::StrCat(absl::AsciiStrToLower(c10::toString(tensor.type)), "[", absl::StrJoin(tensor.sizes, ","), "]");
}

// What each operation of the step got, the same ones together.
void PrintShapes(const std::vector<CountedOperation>& operations) {
  std::map<std::pair<std::string, std::string>, std::pair<int64_t, int64_t>> sums;  // -> how often, bytes
  for (const CountedOperation& operation : operations) {
    std::string name = operation.name;
    for (const CountedTensor& tensor : operation.inputs) {
      if (name.size() < 160) absl::StrAppend(&name, " ", TextOf(tensor));
    }
    auto& [count, bytes] = sums[{operation.kind, name}];
    ++count;
    bytes += operation.bytes_read + operation.bytes_written;
  }
  std::printf("\nof %lld images: times, MB an image\n", static_cast<long long>(kLarge));
  for (const auto& [key, sum] : sums) {
    std::printf("%5lld %8.2f  %s: %s\n", static_cast<long long>(sum.first), sum.second * 1e-6 / kLarge,
                key.first.c_str(), key.second.c_str());
  }
}

int Run() {
  const absl::StatusOr<config::Experiment> loaded = LoadExperiment(absl::GetFlag(FLAGS_experiment));
  if (!loaded.ok()) {
    std::fprintf(stderr, "traffic: %s\n", std::string(loaded.status().message()).c_str());
    return kExitBadInput;
  }
  const bool finetune = absl::GetFlag(FLAGS_finetune);
  const std::string precision = absl::GetFlag(FLAGS_precision);
  if (precision != "float32" && precision != "bfloat16") {
    std::fprintf(stderr, "traffic: --precision=%s is neither float32 nor bfloat16\n", precision.c_str());
    return kExitBadInput;
  }
  config::Experiment experiment = Resolve(*loaded);
  experiment.mutable_runtime()->set_precision(precision == "float32" ? config::FLOAT32 : config::BFLOAT16);
  const int64_t batch = absl::GetFlag(FLAGS_batch) > 0 ? absl::GetFlag(FLAGS_batch) : finetune ? 128 : 256;

  // As on a GPU: one operation forward, one backward.
  at::globalContext().setSDPUseMath(false);
  const auto count = [&](int64_t images) {
    if (finetune) {
      FinetuningStepOptions options;
      options.encoder = VitOptionsFrom(experiment.model(), experiment.data());
      options.precision = precision == "float32" ? at::kFloat : at::kBFloat16;
      FinetuningStep step(options, images, at::kCPU);
      return Count([&] { step.Run(); });
    }
    PretrainingStep step(experiment, images, at::kCPU);
    return Count([&] { step.Run(); });
  };
  const std::vector<CountedOperation> operations = count(kLarge);
  Table small = TableOf(count(kSmall)), large = TableOf(operations);
  std::printf("%s of %s, %s, %lld images a step\n\n%-44s %8s %9s %9s %9s %9s\n",
              finetune ? "finetuning" : "pretraining", absl::GetFlag(FLAGS_experiment).c_str(), precision.c_str(),
              static_cast<long long>(batch), "", "kernels", "MB read", "written", "both", "GFLOP");
  Sums all, elementwise;
  const auto add = [](Sums& to, const Sums& sums) {
    to = {to.kernels + sums.kernels, to.read + sums.read, to.written + sums.written, to.flops + sums.flops};
  };
  for (const auto& [key, sums] : large) {
    const Sums scaled = Extrapolate(small[key], sums, static_cast<double>(batch));
    const auto& [kind, name] = key;
    if (!name.empty()) {
      if (absl::GetFlag(FLAGS_operations)) Print("    " + name, scaled, static_cast<double>(batch));
      continue;
    }
    Print(kind, scaled, static_cast<double>(batch));
    add(all, scaled);
    if (kind != kProducts && kind != kAttention && kind != kOptimizer && kind != kHostWaits) add(elementwise, scaled);
  }
  std::printf("\n");
  Print("elementwise, per image", elementwise, static_cast<double>(batch));
  Print("all", all, static_cast<double>(batch));
  if (absl::GetFlag(FLAGS_shapes)) PrintShapes(operations);
  return kExitDone;
}

}  // namespace
}  // namespace tec

int main(int argc, char** argv) {
  if (absl::ParseCommandLine(argc, argv).size() > 1) {
    std::fprintf(stderr, "traffic: takes flags only (--help)\n");
    return tec::kExitBadInput;
  }
  return tec::Run();
}
