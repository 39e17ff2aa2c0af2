// //tools:export: an encoder as an ONNX model.
//
//   ./bazelw run //tools:export -- --format=onnx --resume=runs/tec/checkpoint-299.pth --output=encoder.onnx
//
// timm's, Hugging Face's and MAE's names: //tools:convert. Exit codes: 0 done, 1 bad use or input, 2 failed.

#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/strings/str_cat.h"
#include "tec/base/exit_code.h"
#include "tec/base/logging.h"
#include "tec/base/path.h"
#include "tec/base/program.h"
#include "tec/base/status.h"
#include "tec/checkpoint/tensor_view.h"
#include "tec/config/encoder_file.h"
#include "tec/config/flag_parser.h"
#include "tec/config/vit_flags.h"
#include "tools/convert/model_details.h"
#include "tools/export/onnx_model.h"
#include "tools/export/vit_onnx.h"

ABSL_FLAG(std::string, format, "onnx", "onnx: opset 17, any number of images.");
ABSL_FLAG(std::string, resume, "", "The weights: a checkpoint of //tec:pretrain, or a file of another known family.");
ABSL_FLAG(std::string, checkpoint, "", "The same as --resume, under the name that every program has for weights.");
ABSL_FLAG(std::string, output, "encoder.onnx", "The file to write.");
ABSL_FLAG(std::string, dtype, "float32",
          "float32, or float16: half the size, for runtimes that compute in it; images and results stay float32.");
ABSL_FLAG(
    bool, external_data, false,
    "The weights in a file of their own beside --output (.data), as above 2 GB in any case, which is the most that "
    "one ONNX file holds.");
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
  DType dtype = DType::kFloat32;
  if (const std::string name = absl::GetFlag(FLAGS_dtype); name == "float16") {
    dtype = DType::kFloat16;
  } else if (name != "float32") {
    return absl::InvalidArgumentError(absl::StrCat("--dtype=", name, ": known are float32 and float16"));
  }
  if (resume.empty()) return absl::InvalidArgumentError("which file? give --checkpoint=FILE (or --resume=FILE)");
  TEC_ASSIGN_OR_RETURN(const VitRequest request, VitRequestFromFlags());
  TEC_ASSIGN_OR_RETURN(const EncoderFile encoder, ReadEncoderFile(UserPath(resume), request));
  const VitFile& file = encoder.vit;
  TEC_RETURN_IF_ERROR(CheckHeadsKnown(file));
  const int64_t heads = file.plan.traits.heads;
  TEC_ASSIGN_OR_RETURN(ModelDetails details, DetailsOf(UserPath(resume), file));
  if (!absl::GetFlag(FLAGS_head)) details.head.reset();
  TEC_ASSIGN_OR_RETURN(const std::unique_ptr<OnnxModel> model, VitToOnnx(file.plan, heads, details, dtype));
  const std::string output = UserPath(absl::GetFlag(FLAGS_output));
  const absl::StatusOr<OnnxModel::Written> written =
      model->Write(output, absl::GetFlag(FLAGS_external_data) ? 0 : OnnxModel::kMostBytes);
  if (!written.ok()) return Annotate(written.status(), file.path);
  std::printf("%s\nwrote %s: %s, %lld bytes, %lld heads\n", file.description.c_str(), output.c_str(),
              absl::GetFlag(FLAGS_dtype).c_str(), static_cast<long long>(written->bytes),
              static_cast<long long>(heads));
  if (!written->data_path.empty()) {
    std::printf("wrote %s: its weights, %lld bytes; the two files stay together\n", written->data_path.c_str(),
                static_cast<long long>(written->data_bytes));
  }
  if (details.head) {
    std::printf("logits: %lld classes, by the %s%s; --nohead leaves them out\n",
                static_cast<long long>(details.head->classes()),
                details.head->global_pool ? "mean of the patches" : "[CLS] token",
                details.head->assumed ? " (assumed)" : "");
  }
  if (const std::string normalisation = DescribeNormalisation(details.preprocessing); !normalisation.empty()) {
    std::printf("%s\n", normalisation.c_str());
  }
  return absl::OkStatus();
}

int Main(int argc, char** argv) {
  InitLogging(argv[0]);
  const std::vector<FlagGroup> groups = {{"Export",
                                          {{"format", ""},
                                           {"checkpoint", ""},
                                           {"resume", ""},
                                           {"output", ""},
                                           {"dtype", ""},
                                           {"external_data", ""},
                                           {"head", ""}}},
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
