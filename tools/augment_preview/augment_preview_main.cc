// //tools:augment_preview: one picture as finetuning would see it, many times over.
//
//   ./bazelw run //tools:augment_preview -- --image=dog.jpg --output=dog.png
//   ./bazelw run //tools:augment_preview -- --image=dog.jpg --steps="Rotate(-27), Posterize(1)" --reprob=1
//
// Exit codes: 0 done, 1 bad use or input, 2 failed while running.

#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/strings/str_cat.h"
#include "data/image/decode.h"
#include "data/image/encode.h"
#include "eval/finetune/augmentation.h"
#include "tec/base/exit_code.h"
#include "tec/base/file.h"
#include "tec/base/logging.h"
#include "tec/base/path.h"
#include "tec/base/program.h"
#include "tec/base/status.h"
#include "tec/config/finetune.h"
#include "tec/config/flag_parser.h"
#include "tools/augment_preview/preview.h"
#include "tools/contact_sheet/contact_sheet.h"

ABSL_FLAG(std::string, image, "", "the picture");
ABSL_FLAG(std::string, output, "augment_preview.png", "the contact sheet, a PNG");
ABSL_FLAG(int64_t, samples, 16, "tiles: epochs 0, 1, ... of a run");
ABSL_FLAG(int64_t, columns, 4, "tiles in a row");
ABSL_FLAG(int64_t, index, 0, "number of the picture in the data set of that run");
ABSL_FLAG(std::string, steps, "",
          "these operations in the place of random ones, as they are printed; none: crop and flip alone");
ABSL_FLAG(std::string, config, "", "settings of //eval:finetune, a name or a file; empty: the reference's defaults");
ABSL_FLAG(int64_t, seed, 5, "seed of the run");
ABSL_FLAG(int64_t, input_size, 224, "pixels a side");
ABSL_FLAG(std::string, aa, "rand-m9-mstd0.5-inc1", "as of //eval:finetune");
ABSL_FLAG(double, color_jitter, 0, "as of //eval:finetune");
ABSL_FLAG(double, reprob, 0.25, "as of //eval:finetune");
ABSL_FLAG(std::string, remode, "pixel", "as of //eval:finetune");
ABSL_FLAG(int64_t, recount, 1, "as of //eval:finetune");

namespace tec {
namespace {

constexpr char kUsage[] =
    "Shows what finetuning's augmentation makes of one picture: a contact sheet, and each tile's parameters.\n\n"
    "  ./bazelw run //tools:augment_preview -- --image=dog.jpg --output=dog.png\n\n";

std::vector<FlagGroup> Flags() {
  return {{"What is shown",
           {{"image", ""}, {"output", ""}, {"samples", ""}, {"columns", ""}, {"index", ""}, {"steps", ""}}},
          {"How it is augmented",
           {{"config", ""},
            {"seed", "seed"},
            {"input_size", "encoder.image_size"},
            {"aa", "augmentation.aa"},
            {"color_jitter", "augmentation.color_jitter"},
            {"reprob", "augmentation.reprob"},
            {"remode", "augmentation.remode"},
            {"recount", "augmentation.recount"}}}};
}

absl::Status Run(const ParsedFlags& parsed) {
  const std::string path = UserPath(absl::GetFlag(FLAGS_image));
  if (path.empty()) return absl::InvalidArgumentError("give --image=FILE");
  const int64_t samples = absl::GetFlag(FLAGS_samples), columns = absl::GetFlag(FLAGS_columns);
  if (samples < 1 || samples > 1000 || columns < 1 || columns > 100 || absl::GetFlag(FLAGS_index) < 0) {
    return absl::InvalidArgumentError("--samples must be 1 to 1000, --columns 1 to 100, --index at least 0");
  }
  config::Finetune settings = ReferenceFinetune();
  const std::string config = absl::GetFlag(FLAGS_config);
  if (!config.empty()) {
    TEC_ASSIGN_OR_RETURN(settings, LoadFinetune(config));
  }
  TEC_RETURN_IF_ERROR(ApplyFlags(parsed, Flags(), &settings));
  settings = Resolve(settings);
  if (!settings.encoder().has_image_size()) settings.mutable_encoder()->set_image_size(224);
  TEC_RETURN_IF_ERROR(Validate(settings, Paths::kOptional));
  TEC_ASSIGN_OR_RETURN(const FinetuneAugmentation augmentation, AugmentationOf(settings));

  PreviewOptions options;
  options.samples = static_cast<int>(samples);
  options.seed = static_cast<uint64_t>(settings.seed());
  options.index = static_cast<uint64_t>(absl::GetFlag(FLAGS_index));
  options.erasing = augmentation.erasing;
  for (int c = 0; c < 3; ++c) {
    options.mean[c] = settings.data().mean(c);
    options.std[c] = settings.data().std(c);
  }
  if (parsed.Given("steps")) {
    absl::StatusOr<std::vector<AugmentStep>> steps = ParseAugmentSteps(absl::GetFlag(FLAGS_steps));
    TEC_RETURN_IF_ERROR(Annotate(steps.status(), "--steps"));
    options.pinned = *std::move(steps);
  }
  TEC_ASSIGN_OR_RETURN(const std::string encoded, ReadFile(path));
  Image image;
  const absl::Status decoded = DecodeImage(encoded, &image);
  if (!decoded.ok()) return absl::InvalidArgumentError(absl::StrCat(path, ": ", decoded.message()));

  const Preview preview = MakePreview(image, *augmentation.transform, options);
  for (size_t i = 0; i < preview.descriptions.size(); ++i) {
    std::printf("%3zu  %s\n", i, preview.descriptions[i].c_str());
  }
  TEC_ASSIGN_OR_RETURN(const std::string png, EncodePng(ContactSheet(preview.tiles, static_cast<int>(columns))));
  const std::string output = UserPath(absl::GetFlag(FLAGS_output));
  TEC_RETURN_IF_ERROR(WriteFile(output, png));
  std::printf("wrote %s: row by row, %lld tiles a row\n", output.c_str(),
              static_cast<long long>(std::min(columns, samples)));
  return absl::OkStatus();
}

int Main(int argc, char** argv) {
  InitLogging(argv[0]);
  const absl::StatusOr<ParsedFlags> parsed = ParseFlags(argc, argv, Flags());
  if (parsed.ok() && parsed->help) {
    std::printf("%s%s", kUsage, DescribeFlags(Flags()).c_str());
    return kExitDone;
  }
  const absl::Status status = parsed.ok() ? Run(*parsed) : parsed.status();
  return ReportStatus("augment_preview", status);
}

}  // namespace
}  // namespace tec

int main(int argc, char** argv) { return tec::RunProgram(argc, argv, tec::Main); }
