#include "tec/own_images/own_images.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <memory>
#include <optional>
#include <utility>

#include "ATen/DeviceAccelerator.h"
#include "absl/strings/str_cat.h"
#include "data/dataset/dataset.h"
#include "data/dataset/subset.h"
#include "tec/base/status.h"
#include "tec/config/base_model_flags.h"
#include "tec/config/config.h"
#include "tec/config/encoder_file.h"
#include "tec/config/run_record.h"
#include "tec/dist/flags.h"
#include "tec/run/matrix_rate.h"
#include "tec/run/precision.h"
#include "tec/run/rank_runtime.h"
#include "tec/run/torch_runtime.h"

namespace tec {
namespace {

// Photographs of 500 x 400 pixels that a thread decodes and crops in a second, with others beside it: docs/results.md.
constexpr double kDecodedPerSecond = 200;

int64_t MachineMemory() {
  double bytes = static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGE_SIZE));
  // A container's limit; "max" where there is none.
  std::ifstream limit("/sys/fs/cgroup/memory.max");
  double most = 0;
  if (limit >> most && most > 0) bytes = std::min(bytes, most);
  return static_cast<int64_t>(bytes);
}

int64_t DeviceMemory(c10::Device device, const LaunchEnvironment& environment) {
  if (device.is_cpu()) return MachineMemory() / std::max(1, environment.local_world_size);
  return static_cast<int64_t>(
      at::getDeviceAllocator(device.type())->getMemoryInfo(device.has_index() ? device.index() : 0).second);
}

absl::StatusOr<int64_t> TrainingImages(const config::Experiment& given) {
  const config::Data& data = given.data();
  DatasetOptions options;
  options.labels = !data.classes().empty();
  TEC_ASSIGN_OR_RETURN(std::shared_ptr<const Dataset> dataset, OpenDataset(data.path(), Split::kTrain, options));
  TEC_ASSIGN_OR_RETURN(dataset, KeepClasses(std::move(dataset), data.classes()));
  SubsetOptions subset;
  if (data.has_train_fraction()) subset.fraction = data.train_fraction();
  TEC_RETURN_IF_ERROR(Validate(subset));
  return SubsetOf(std::move(dataset), subset)->size();
}

}  // namespace

absl::StatusOr<OwnImagesFacts> FindOwnImagesFacts(const config::Experiment& given,
                                                  const LaunchEnvironment& environment) {
  if (given.data().path().empty() || given.base_model().path().empty()) {
    return absl::InvalidArgumentError(
        "own_images needs your pictures and a base model: give --data_path=FOLDER and "
        "--base_model=FILE (docs/checkpoints.md says which there are)");
  }
  const std::string device_name = given.runtime().has_device() ? given.runtime().device() : "cuda";
  TEC_ASSIGN_OR_RETURN(const c10::Device device, SelectRankDevice(device_name, environment));
  const std::string& path = given.base_model().path();
  VitRequest request;
  request.family = given.base_model().family();
  request.entry = given.base_model().entry();
  TEC_RETURN_IF_ERROR(NamingBaseModelFlags(ParseGrid(given.base_model().grid(), &request)));
  const absl::StatusOr<EncoderFile> read = ReadEncoderFile(path, request);
  TEC_RETURN_IF_ERROR(Annotate(NamingBaseModelFlags(read.status()), "base model"));
  TEC_RETURN_IF_ERROR(Annotate(NamingBaseModelFlags(CheckHeadsKnown(read->vit)), "base model"));
  const VitPlan& plan = read->vit.plan;
  const VitTraits& traits = plan.traits;
  OwnImagesFacts facts;
  facts.base.set_image_size(traits.grid * traits.patch_size);
  facts.base.set_patch_size(traits.patch_size);
  facts.base.set_width(traits.width);
  facts.base.set_depth(traits.depth);
  facts.base.set_heads(traits.heads);
  facts.channels = traits.channels;
  facts.family = plan.family;
  facts.interpolates_positions = traits.interpolates_positions;
  TEC_ASSIGN_OR_RETURN(facts.images, TrainingImages(given));
  facts.memory = DeviceMemory(device, environment);
  facts.gpu = device.is_cuda();
  facts.world_size = environment.world_size;
  return facts;
}

double ExpectedTrainingRate(const config::Experiment& resolved, c10::Device device) {
  const int64_t width = resolved.model().encoder().width();
  // The first product of an MLP.
  const ProductSize size = {device.is_cuda() ? 16384 : 512, width, 4 * width};
  return ProductRate(device, ComputeType(resolved.runtime().precision()), size, /*seconds=*/0.2) *
         (device.is_cuda() ? 0.36 : 0.65);
}

SettleExperiment SettleOwnImages() {
  return [](const config::Experiment& given, const Distributed& distributed, const Machine& machine,
            config::Experiment* experiment) -> absl::StatusOr<std::string> {
    TEC_ASSIGN_OR_RETURN(const LaunchEnvironment environment, LaunchEnvironmentOf(distributed));
    TEC_ASSIGN_OR_RETURN(const OwnImagesFacts facts, FindOwnImagesFacts(given, environment));
    TEC_RETURN_IF_ERROR(FillOwnImages(facts, given, experiment));
    const config::Experiment resolved = Resolve(*experiment, machine);
    TEC_RETURN_IF_ERROR(Validate(resolved));
    if (environment.rank != 0) return "";
    TEC_ASSIGN_OR_RETURN(const c10::Device device, SelectRankDevice(resolved.runtime().device(), environment));
    SetComputeThreads(resolved.runtime().threads(), environment);
    double rate = 0;
    TEC_RETURN_IF_ERROR(CatchTorch([&] {
      rate = ExpectedTrainingRate(resolved, device);
      return absl::OkStatus();
    }));
    const int64_t threads = std::min(DecodingThreads(resolved.data().num_workers()), RankCores());
    std::string text = DescribeOwnImages(facts, resolved, rate, static_cast<double>(threads) * kDecodedPerSecond);
    const config::Vit& vit = resolved.model().encoder();
    absl::StrAppend(&text, "\nmodel as ", given.base_model().path(), " (", facts.family, "): ", vit.image_size(),
                    " pixels, patches of ", vit.patch_size(), ", width ", vit.width(), ", ", vit.depth(), " blocks, ",
                    vit.heads(), " heads; K ", resolved.base_model().topkatt(), ", tau ", resolved.losses().att_tau(),
                    ", lr ", LearningRate(resolved.optimizer(), environment.world_size),
                    "; every setting: --print_config");
    return text;
  };
}

}  // namespace tec
