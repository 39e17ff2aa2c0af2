#include "eval/metrics/confusion_file.h"

#include <cstdio>

#include "absl/flags/flag.h"
#include "absl/strings/str_cat.h"
#include "tec/base/printable.h"
#include "tec/base/status.h"

ABSL_FLAG(bool, confusion, false,
          "Write all pairs of classes that were confused, and how often, to OUTPUT_DIR/confusion*.npy.");

namespace tec {

FlagGroup ConfusionFlags() { return {"What else is written", {{"confusion"}}}; }

absl::Status CheckConfusionFlag(const std::string& output_dir) {
  if (!absl::GetFlag(FLAGS_confusion) || !output_dir.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError("--confusion writes a file: give --output_dir, too");
}

absl::Status WriteConfusionFile(const std::string& output_dir, const ClassificationReport& report,
                                const std::string& which) {
  if (!absl::GetFlag(FLAGS_confusion)) return absl::OkStatus();
  const std::string path = absl::StrCat(output_dir, "/confusion", which, ".npy");
  TEC_RETURN_IF_ERROR(WriteConfusion(report, path));
  std::printf("written to %s\n", Printable(path).c_str());
  return absl::OkStatus();
}

}  // namespace tec
