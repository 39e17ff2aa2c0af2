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
#include "tec/base/status.h"
#include "tec/checkpoint/families/vit_plan.h"
#include "tec/config/flag_parser.h"
#include "tools/convert/encoder_heads.h"
#include "tools/export/vit_onnx.h"

ABSL_FLAG(std::string, format, "onnx", "onnx: opset 17, any number of images.");
ABSL_FLAG(std::string, resume, "", "The weights: a checkpoint of //tec:pretrain, or a file of another known family.");
ABSL_FLAG(std::string, output, "encoder.onnx", "The file to write.");
ABSL_FLAG(std::string, base_model_family, "", "How the file names its tensors; empty: recognised.");
ABSL_FLAG(int64_t, heads, 0,
          "Attention heads where the file does not tell; 0: the usual number for the width, if there is one.");

namespace tec {
namespace {

absl::Status Export() {
  const std::string format = absl::GetFlag(FLAGS_format), resume = absl::GetFlag(FLAGS_resume);
  if (format != "onnx") {
    return absl::InvalidArgumentError(
        absl::StrCat("--format=", format, " is not known: onnx is; for names of timm, hf or mae use //tools:convert"));
  }
  if (resume.empty()) return absl::InvalidArgumentError("which file? give --resume=FILE");
  TEC_ASSIGN_OR_RETURN(const VitFile file, ReadVitFile(UserPath(resume), absl::GetFlag(FLAGS_base_model_family)));
  TEC_ASSIGN_OR_RETURN(const int64_t heads,
                       EncoderHeads(UserPath(resume), file.plan.traits, absl::GetFlag(FLAGS_heads)));
  TEC_ASSIGN_OR_RETURN(const std::string model, VitToOnnx(file.plan, heads));
  const std::string output = UserPath(absl::GetFlag(FLAGS_output));
  TEC_RETURN_IF_ERROR(WriteFile(output, model));
  std::printf("%s\nwrote %s: %zu bytes, %lld heads\n", file.description.c_str(), output.c_str(), model.size(),
              static_cast<long long>(heads));
  return absl::OkStatus();
}

int Main(int argc, char** argv) {
  InitLogging(argv[0]);
  const std::vector<FlagGroup> groups = {
      {"Export", {{"format", ""}, {"resume", ""}, {"output", ""}, {"base_model_family", ""}, {"heads", ""}}}};
  const absl::StatusOr<ParsedFlags> parsed = ParseFlags(argc, argv, groups);
  if (parsed.ok() && parsed->help) {
    std::printf("Exports an encoder. Exit codes: 0 done, 1 bad use or input, 2 failed.\n\n%s",
                DescribeFlags(groups).c_str());
    return kExitDone;
  }
  const absl::Status status = parsed.ok() ? Export() : parsed.status();
  if (!status.ok()) std::fprintf(stderr, "export: %s\n", std::string(status.message()).c_str());
  return ExitCodeOf(status);
}

}  // namespace
}  // namespace tec

int main(int argc, char** argv) { return tec::Main(argc, argv); }
