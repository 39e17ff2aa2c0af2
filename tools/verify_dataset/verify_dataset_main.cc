// //tools:verify_dataset: reads and decodes every picture of a data set and says what is there.
//
//   ./bazelw run //tools:verify_dataset -- /imagenet --stats --contact_sheet=imagenet.png
//
// Exit codes: 0 every picture is good, 1 bad use, or some pictures or shards are bad, 2 failed while running.

#include <algorithm>
#include <cstdio>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/flags/commandlineflag.h"
#include "absl/flags/flag.h"
#include "absl/flags/reflection.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "data/dataset/dataset.h"
#include "data/dataset/patient_read.h"
#include "data/image/decode.h"
#include "data/image/encode.h"
#include "eval/finetune/augmentation.h"
#include "tec/base/exit_code.h"
#include "tec/base/file.h"
#include "tec/base/logging.h"
#include "tec/base/path.h"
#include "tec/base/printable.h"
#include "tec/base/program.h"
#include "tec/base/status.h"
#include "tec/config/finetune.h"
#include "tec/config/flag_parser.h"
#include "tec/run/count_progress.h"
#include "tools/augment_preview/preview.h"
#include "tools/contact_sheet/contact_sheet.h"
#include "tools/verify_dataset/pretraining_tiles.h"
#include "tools/verify_dataset/survey.h"

ABSL_FLAG(std::string, data_path, "",
          "what --data_path of a run would be; may also stand alone, without the flag's name");
ABSL_FLAG(bool, stats, false, "print mean and standard deviation of each channel, as --mean and --std take them");
ABSL_FLAG(int64_t, channels, 3,
          "what --channels of a run would be: 3 RGB, 1 grey, other numbers as PNG and TIFF files have them");
ABSL_FLAG(std::string, contact_sheet, "",
          "a PNG of samples from all over the training set: each picture and what a run sees of it");
ABSL_FLAG(std::string, view, "pretraining",
          "of the contact sheet: pretraining: the whole picture, its crop in the first epoch, and what the mask leaves "
          "of that; finetuning: the crop augmented and erased");
ABSL_FLAG(int64_t, samples, 64, "tiles of the contact sheet");
ABSL_FLAG(int64_t, most_lines, 100, "at most so many bad or duplicate pictures are named");
ABSL_FLAG(int64_t, num_workers, 0, "threads; 0: all cores");
ABSL_FLAG(std::string, exclude, "",
          "shell patterns (*, ?, [...]) of files and folders of the data set to leave out, with commas between them");

namespace tec {
namespace {

constexpr char kUsage[] =
    "Reads and decodes every picture of a data set and says what is there: numbers, classes, sizes, formats, bad\n"
    "files and why, files that are there twice (also between training and held-out pictures).\n\n"
    "  ./bazelw run //tools:verify_dataset -- /imagenet --stats --contact_sheet=imagenet.png\n\n";

std::vector<FlagGroup> Flags() {
  return {{"What is looked at",
           {{"data_path", ""}, {"exclude", ""}, {"channels", ""}, {"num_workers", ""}, {"fast_jpeg", ""}}},
          {"What is said", {{"stats", ""}, {"contact_sheet", ""}, {"view", ""}, {"samples", ""}, {"most_lines", ""}}}};
}

struct Part {
  std::string name;
  std::shared_ptr<const Dataset> dataset;
};

// What has no use for labels, such as folders at will, is opened as pretraining opens it.
absl::StatusOr<std::unique_ptr<Dataset>> OpenPart(const std::string& path, Split split) {
  DatasetOptions options;
  options.exclude = ParseExclude(absl::GetFlag(FLAGS_exclude));
  absl::StatusOr<std::unique_ptr<Dataset>> dataset = OpenDataset(path, split, options);
  if (!absl::IsInvalidArgument(dataset.status())) return dataset;
  options.labels = false;
  absl::StatusOr<std::unique_ptr<Dataset>> unlabelled = OpenDataset(path, split, options);
  if (!unlabelled.ok()) return dataset;
  std::printf("no labels, good for pretraining alone: %s\n", PrintableLines(dataset.status().message()).c_str());
  return unlabelled;
}

absl::StatusOr<std::vector<Part>> OpenParts(const std::string& path) {
  std::vector<Part> parts;
  absl::StatusOr<std::unique_ptr<Dataset>> held_out = OpenPart(path, Split::kHeldOut);
  absl::StatusOr<std::unique_ptr<Dataset>> train = OpenPart(path, Split::kTrain);
  if (!train.ok() && !held_out.ok()) return train.status();
  if (train.ok()) {
    parts.push_back(
        {held_out.ok() ? "training pictures" : "pictures", std::shared_ptr<const Dataset>(*std::move(train))});
  } else {
    std::printf("no training pictures: %s\n", PrintableLines(train.status().message()).c_str());
  }
  if (held_out.ok()) {
    parts.push_back({"held-out pictures", std::shared_ptr<const Dataset>(*std::move(held_out))});
  } else if (!absl::IsNotFound(held_out.status())) {
    std::printf("no held-out pictures: %s\n", PrintableLines(held_out.status().message()).c_str());
  }
  return parts;
}

std::string SizeLine(const char* what, const std::vector<int>& sorted) {
  return absl::StrCat(what, " ", sorted.front(), " to ", sorted.back(), ", median ", sorted[sorted.size() / 2]);
}

void PrintSurvey(const Part& part, const Survey& survey, bool stats, int64_t most_lines) {
  const Dataset& dataset = *part.dataset;
  std::printf("\n%s: %lld", part.name.c_str(), static_cast<long long>(survey.pictures));
  if (dataset.labelled()) {
    const auto [least, most] = std::minmax_element(survey.by_class.begin(), survey.by_class.end());
    const std::vector<std::string>& classes = dataset.classes();
    std::printf(" in %zu classes, %lld (%s) to %lld (%s) each", classes.size(), static_cast<long long>(*least),
                Printable(classes[least - survey.by_class.begin()]).c_str(), static_cast<long long>(*most),
                Printable(classes[most - survey.by_class.begin()]).c_str());
  } else {
    std::printf(", without labels");
    const std::string why = dataset.why_unlabelled();
    if (!why.empty()) std::printf(": %s", Printable(why).c_str());
  }
  std::printf("\n  formats: %s\n", absl::StrJoin(survey.formats, ", ", [](std::string* out, const auto& format) {
                                     absl::StrAppend(out, format.first, " ", format.second);
                                   }).c_str());
  if (survey.good > 0) {
    std::printf("  pixels: %s; %s\n", SizeLine("height", survey.heights).c_str(),
                SizeLine("width", survey.widths).c_str());
    if (stats) {
      const auto values = [](const std::vector<double>& v) {
        return absl::StrJoin(v, ",", [](std::string* out, double x) { absl::StrAppendFormat(out, "%.4f", x); });
      };
      std::printf("  for a run: --channels=%d --mean=%s --std=%s\n", static_cast<int>(survey.mean.size()),
                  values(survey.mean).c_str(), values(survey.std).c_str());
    }
  }
  if (!dataset.left_out().empty()) std::printf("  left out: %s\n", Printable(dataset.left_out()).c_str());
  const std::vector<std::string> broken = dataset.defects();
  std::printf("  bad: %zu\n", broken.size() + survey.bad.size());
  for (const std::string& shard : broken)
    std::printf("    broken archive, of which pictures are lost: %s\n", Printable(shard).c_str());
  int64_t lines = 0;
  for (const BadPicture& bad : survey.bad) {
    if (++lines > most_lines) break;
    std::printf("    %s: %s\n", Printable(dataset.name(bad.index)).c_str(), Printable(bad.reason).c_str());
  }
  if (lines > most_lines) {
    std::printf("    ... and %lld more; --most_lines shows them\n",
                static_cast<long long>(static_cast<int64_t>(survey.bad.size()) - most_lines));
  }
}

void PrintDuplicates(const std::vector<Part>& parts, const std::vector<std::vector<PicturePlace>>& groups,
                     int64_t most_lines) {
  int64_t across = 0, copies = 0, lines = 0;
  for (const auto& group : groups) {
    copies += static_cast<int64_t>(group.size()) - 1;
    across += group.front().dataset != group.back().dataset;
  }
  std::printf("\nduplicates: %lld files are copies of another one", static_cast<long long>(copies));
  if (parts.size() > 1) {
    std::printf("; %lld pictures are both training and held-out", static_cast<long long>(across));
  }
  std::printf("\n");
  for (const auto& group : groups) {
    if (++lines > most_lines) {
      std::printf("  ... and more; --most_lines shows them\n");
      break;
    }
    std::printf("  %s\n", absl::StrJoin(group, " = ", [&](std::string* out, const PicturePlace& place) {
                            absl::StrAppend(out, Printable(parts[place.dataset].dataset->name(place.index)),
                                            parts.size() > 1 && place.dataset > 0 ? " (held-out)" : "");
                          }).c_str());
  }
}

// Tiles of one picture.
using TilesOf = std::function<absl::StatusOr<std::vector<Image>>(const std::string& encoded, int64_t index)>;

absl::StatusOr<TilesOf> FinetuningTiles() {
  const config::Finetune settings = Resolve(ReferenceFinetune());
  TEC_ASSIGN_OR_RETURN(const FinetuneAugmentation augmentation, AugmentationOf(settings));
  const std::shared_ptr<const FinetuneTransform> transform = augmentation.transform;
  PreviewOptions options;
  options.samples = 1;
  options.seed = 0;
  options.erasing = augmentation.erasing;
  for (int c = 0; c < 3; ++c) {
    options.mean[c] = settings.data().mean(c);
    options.std[c] = settings.data().std(c);
  }
  return TilesOf([transform, options](const std::string& encoded, int64_t index) -> absl::StatusOr<std::vector<Image>> {
    Image image;
    TEC_RETURN_IF_ERROR(DecodeImage(encoded, &image));
    PreviewOptions own = options;
    own.index = static_cast<uint64_t>(index);
    return std::move(MakePreview(image, *transform, own).tiles);
  });
}

absl::StatusOr<TilesOf> TilesOfView(const std::string& view) {
  if (view == "finetuning") return FinetuningTiles();
  if (view != "pretraining") {
    return absl::InvalidArgumentError(absl::StrCat("--view=", view, ": known are pretraining and finetuning"));
  }
  return TilesOf([](const std::string& encoded, int64_t index) {
    PretrainingTilesOptions options;
    options.index = static_cast<uint64_t>(index);
    return PretrainingTiles(encoded, options);
  });
}

absl::Status WriteSheet(const Dataset& dataset, const Survey& survey, int64_t samples, const std::string& view,
                        const TilesOf& tiles_of, const std::string& path) {
  std::vector<bool> bad(dataset.size());
  for (const BadPicture& one : survey.bad) bad[one.index] = true;
  std::vector<Image> tiles;
  std::string bytes;
  samples = std::min(samples, survey.good);
  for (int64_t i = 0; i < samples; ++i) {
    int64_t index = i * dataset.size() / samples;  // From everywhere: each class has its turn.
    while (bad[index]) index = (index + 1) % dataset.size();
    TEC_RETURN_IF_ERROR(ReadPatiently(dataset, index, &bytes));
    TEC_ASSIGN_OR_RETURN(std::vector<Image> own, tiles_of(bytes, index));
    for (Image& tile : own) tiles.push_back(std::move(tile));
  }
  if (tiles.empty()) return absl::OkStatus();
  const bool pretraining = view == "pretraining";
  TEC_ASSIGN_OR_RETURN(const std::string png, EncodePng(ContactSheet(tiles, pretraining ? 9 : 8)));
  TEC_RETURN_IF_ERROR(WriteFile(path, png));
  std::printf("\nwrote %s: %lld samples, %s\n", Printable(path).c_str(), static_cast<long long>(samples),
              pretraining ? "each the picture, its crop, and what pretraining's mask leaves of the crop"
                          : "cropped, flipped, augmented and erased as for finetuning, not mixed");
  return absl::OkStatus();
}

absl::StatusOr<int> Run() {
  const std::string path = UserPath(absl::GetFlag(FLAGS_data_path));
  const int64_t most_lines = absl::GetFlag(FLAGS_most_lines), samples = absl::GetFlag(FLAGS_samples);
  const int64_t workers = absl::GetFlag(FLAGS_num_workers);
  if (path.empty()) return absl::InvalidArgumentError("give the data set: a folder or a list file");
  if (most_lines < 0 || samples < 1 || samples > 10000 || workers < 0 || workers > 1024) {
    return absl::InvalidArgumentError("--most_lines must be at least 0, --samples 1 to 10000, --num_workers 0 to 1024");
  }
  const int64_t channels = absl::GetFlag(FLAGS_channels);
  if (channels < 1 || channels > 64) return absl::InvalidArgumentError("--channels must be from 1 to 64");
  if (channels != 3 && !absl::GetFlag(FLAGS_contact_sheet).empty()) {
    return absl::InvalidArgumentError("--contact_sheet shows RGB pictures; leave out one of it and --channels");
  }
  const std::string view = absl::GetFlag(FLAGS_view);
  TEC_ASSIGN_OR_RETURN(const TilesOf tiles_of, TilesOfView(view));
  TEC_ASSIGN_OR_RETURN(const std::vector<Part> parts, OpenParts(path));
  std::vector<const Dataset*> datasets;
  std::vector<Survey> surveys;
  size_t bad = 0;
  for (const Part& part : parts) {
    SurveyOptions options;
    options.threads = static_cast<int>(workers > 0 ? workers : std::max(1U, std::thread::hardware_concurrency()));
    options.channels = static_cast<int>(channels);
    {
      CountProgress count(part.name, stderr);
      options.progress = [&count](int64_t done, int64_t total) { count.Update(done, total); };
      surveys.push_back(SurveyDataset(*part.dataset, options));
    }
    TEC_RETURN_IF_ERROR(surveys.back().fault);
    datasets.push_back(part.dataset.get());
    PrintSurvey(part, surveys.back(), absl::GetFlag(FLAGS_stats), most_lines);
    bad += surveys.back().bad.size() + part.dataset->defects().size();
  }
  TEC_ASSIGN_OR_RETURN(const std::vector<std::vector<PicturePlace>> duplicates, FindDuplicates(datasets, surveys));
  PrintDuplicates(parts, duplicates, most_lines);
  const std::string sheet = UserPath(absl::GetFlag(FLAGS_contact_sheet));
  if (!sheet.empty()) TEC_RETURN_IF_ERROR(WriteSheet(*datasets[0], surveys[0], samples, view, tiles_of, sheet));
  return bad == 0 ? kExitDone : kExitBadInput;
}

// Whether the value of the flag `argument` is the next argument.
bool TakesTheNext(absl::string_view argument) {
  while (absl::ConsumePrefix(&argument, "-")) {
  }
  const absl::CommandLineFlag* flag = absl::FindCommandLineFlag(argument);
  return flag != nullptr && !flag->IsOfType<bool>();
}

int Main(int argc, char** argv) {
  InitLogging(argv[0]);
  // The data set may stand alone, once: a second one stays a stray argument.
  std::vector<std::string> arguments(argv, argv + argc);
  for (size_t i = 1; i < arguments.size(); ++i) {
    if (!absl::StartsWith(arguments[i], "-")) {
      arguments[i] = absl::StrCat("--data_path=", arguments[i]);
      break;
    }
    if (TakesTheNext(arguments[i])) ++i;
  }
  std::vector<const char*> pointers;
  for (const std::string& argument : arguments) pointers.push_back(argument.c_str());
  const absl::StatusOr<ParsedFlags> parsed = ParseFlags(argc, pointers.data(), Flags());
  if (parsed.ok() && parsed->help) {
    std::printf("%s%s", kUsage, DescribeFlags(Flags()).c_str());
    return kExitDone;
  }
  const absl::StatusOr<int> result = parsed.ok() ? Run() : parsed.status();
  if (result.ok()) return *result;
  return ReportStatus("verify_dataset", result.status());
}

}  // namespace
}  // namespace tec

int main(int argc, char** argv) { return tec::RunProgram(argc, argv, tec::Main); }
