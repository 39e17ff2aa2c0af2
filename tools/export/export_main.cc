// //tools:export: an encoder as an ONNX model.
//
//   ./bazelw run //tools:export -- --format=onnx --resume=runs/tec/checkpoint-299.pth --output=encoder.onnx
//
// timm's, Hugging Face's and MAE's names: //tools:convert. Exit codes: 0 done, 1 bad use or input, 2 failed.

#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/strings/str_cat.h"
#include "tec/base/exit_code.h"
#include "tec/base/file.h"
#include "tec/base/logging.h"
#include "tec/base/path.h"
#include "tec/base/program.h"
#include "tec/base/status.h"
#include "tec/config/encoder_file.h"
#include "tec/config/flag_parser.h"
#include "tec/config/vit_flags.h"
#include "tools/convert/model_details.h"
#include "tools/export/vit_onnx.h"

ABSL_FLAG(std::string, format, "onnx", "onnx: opset 17, any number of images.");
ABSL_FLAG(std::string, resume, "", "The weights: a checkpoint of //tec:pretrain, or a file of another known family.");
ABSL_FLAG(std::string, checkpoint, "", "The same as --resume, under the name that every program has for weights.");
ABSL_FLAG(std::string, output, "encoder.onnx", "The file to write.");
ABSL_FLAG(bool, head, true, "The logits of a finetuned model too; --nohead: the encoder alone.");

namespace tec {
namespace {

absl::Status Export() {
  const std::string format = absl::GetFlag(FLAGS_format), checkpoint = absl::GetFlag(FLAGS_checkpoint);
  const std::string resume = checkpoint.empty() ? absl::GetFlag(FLAGS_resume) : checkpoint;
  if (!absl::GetFlag(FLAGS_resume).empty() && absl::GetFlag(FLAGS_resume) != resume) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--checkpoint=", checkpoint, " and --resume=", absl::GetFlag(FLAGS_resume), " mean the same: give one"));
  }
  if (format != "onnx") {
    return absl::InvalidArgumentError(
        absl::StrCat("--format=", format, " is not known: onnx is; for names of timm, hf or mae use //tools:convert"));
  }
  if (resume.empty()) return absl::InvalidArgumentError("which file? give --checkpoint=FILE (or --resume=FILE)");
  TEC_ASSIGN_OR_RETURN(const VitRequest request, VitRequestFromFlags());
  TEC_ASSIGN_OR_RETURN(const EncoderFile encoder, ReadEncoderFile(UserPath(resume), request));
  const VitFile& file = encoder.vit;
  TEC_RETURN_IF_ERROR(CheckHeadsKnown(file));
  const int64_t heads = file.plan.traits.heads;
  TEC_ASSIGN_OR_RETURN(ModelDetails details, DetailsOf(UserPath(resume), file));
  if (!absl::GetFlag(FLAGS_head)) details.head.reset();
  TEC_ASSIGN_OR_RETURN(const std::string model, VitToOnnx(file.plan, heads, details));
  const std::string output = UserPath(absl::GetFlag(FLAGS_output));
  TEC_RETURN_IF_ERROR(WriteFile(output, model));
  std::printf("%s\nwrote %s: %zu bytes, %lld heads\n", file.description.c_str(), output.c_str(), model.size(),
              static_cast<long long>(heads));
  if (details.head) {
    std::printf("logits: %lld classes, by the %s%s; --nohead leaves them out\n",
                static_cast<long long>(details.head->classes()),
                details.head->global_pool ? "mean of the patches" : "[CLS] token",
                details.head->assumed ? " (assumed)" : "");
  }
  if (details.preprocessing.assumed) {
    std::printf("normalisation: ImageNet's mean and deviation, assumed: the file does not say\n");
  }
  return absl::OkStatus();
}

int Main(int argc, char** argv) {
  InitLogging(argv[0]);
  const std::vector<FlagGroup> groups = {
      {"Export", {{"format", ""}, {"checkpoint", ""}, {"resume", ""}, {"output", ""}, {"head", ""}}},
      {"What the file does not tell", VitFlags()}};
  const absl::StatusOr<ParsedFlags> parsed = ParseFlags(argc, argv, groups);
  if (parsed.ok() && parsed->help) {
    std::printf(
        "Exports an encoder, or a finetuned classifier, as ONNX. Exit codes: 0 done, 1 bad use or input, 2 failed.\n\n"
        "  ./bazelw run //tools:export -- --checkpoint=runs/mine/this_checkpoint.pth --output=encoder.onnx\n"
        "  ./bazelw run //tools:export -- --checkpoint=runs/finetuned/best_checkpoint.pth --output=classifier.onnx\n\n"
        "timm's and Hugging Face's folders: //tools:convert.\n\n%s",
        DescribeFlags(groups).c_str());
    return kExitDone;
  }
  const absl::Status status = parsed.ok() ? Export() : parsed.status();
  return ReportStatus("export", status);
}

}  // namespace
}  // namespace tec

int main(int argc, char** argv) { return tec::RunProgram(argc, argv, tec::Main); }
