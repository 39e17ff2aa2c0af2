// //tools:convert: the paper's weight_convert, with its flags, and conversion to other projects' names and formats.
//
//   ./bazelw run //tools:convert -- --resume runs/tec/checkpoint-299.pth --mlp_token --output_dir converted
//   ./bazelw run //tools:convert -- --resume=checkpoint-299.pth --to=hf --output_dir=hf
//
// Exit codes: 0 done, 1 bad use or input, 2 failed while writing.

#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "tec/base/exit_code.h"
#include "tec/base/logging.h"
#include "tec/base/path.h"
#include "tec/base/printable.h"
#include "tec/base/program.h"
#include "tec/config/flag_parser.h"
#include "tec/config/vit_flags.h"
#include "tools/convert/convert_file.h"

// The reference's (recipe.md section 9), with its defaults.
ABSL_FLAG(std::string, model, "vit_base_patch16",
          "Given: the file must hold this model. Not given: whatever it holds is converted.");
ABSL_FLAG(std::string, resume, "",
          "The weights: a checkpoint of //tec:pretrain or of the paper's code, or another file.");
ABSL_FLAG(std::string, checkpoint, "", "The same as --resume, under the name that every program has for weights.");
ABSL_FLAG(std::string, output_dir, "./output_dir_convert", "Folder of the result.");
ABSL_FLAG(
    std::string, ckptname, "tec_checkpoint.pth",
    "File name of the result; .safetensors chooses that format. With --to=hf or timm model.safetensors unless given, "
    "which is where from_pretrained and timm's local-dir: look.");
ABSL_FLAG(bool, mlp_token, false,
          "cls_token_mlp is folded wherever the file has it; the flag is accepted for the paper's "
          "commands.");
ABSL_FLAG(std::string, device, "cuda", "Accepted and unused: converting takes no accelerator.");
ABSL_FLAG(int64_t, seed, 0, "Accepted and unused.");
ABSL_FLAG(int64_t, world_size, 1, "Accepted and unused.");
ABSL_FLAG(int64_t, rank, 0, "Accepted and unused.");
ABSL_FLAG(int64_t, local_rank, -1, "Accepted and unused.");
ABSL_FLAG(bool, dist_on_itp, false, "Accepted and unused.");
ABSL_FLAG(std::string, dist_url, "env://", "Accepted and unused.");
ABSL_FLAG(int64_t, input_size, 224, "Accepted and unused, as in the paper's code.");
ABSL_FLAG(double, mask_ratio, 0.75, "Accepted and unused, as in the paper's code.");
ABSL_FLAG(std::string, log_dir, "./output_dir_convert", "Accepted and unused, as in the paper's code.");
// Ours.
ABSL_FLAG(std::string, to, "tec",
          "tec: as the paper's code, without final norm; timm: a folder for timm's local-dir:; mae: timm's names under "
          "\"model\"; hf: a folder for Hugging Face's transformers, ViTModel or, of a finetuned model, an image "
          "classifier; onnx: //tools:export writes it.");
ABSL_FLAG(bool, head, true,
          "With --to=timm or hf: keep the classifier of a finetuned model; --nohead: the encoder alone.");
ABSL_FLAG(bool, everything, false, "Every tensor under its own name, decoders and heads too: another format alone.");
ABSL_FLAG(std::string, dtype, "", "float32, float16 or bfloat16; empty: as in the file.");

namespace tec {
namespace {

constexpr char kUsage[] =
    "Converts weights. Exit codes: 0 done, 1 bad use or input, 2 failed.\n\n"
    "  ./bazelw run //tools:convert -- --checkpoint=runs/mine/this_checkpoint.pth --to=timm --output_dir=for_timm\n"
    "      A folder for timm.create_model(\"local-dir:for_timm\", pretrained=True).\n"
    "  ./bazelw run //tools:convert -- --checkpoint=runs/finetuned/best_checkpoint.pth --to=hf --output_dir=for_hf\n"
    "      A folder for transformers: pipeline(\"image-classification\", \"for_hf\").\n"
    "  ./bazelw run //tools:convert -- --resume checkpoint-299.pth --mlp_token --output_dir converted\n"
    "      As the paper's weight_convert.\n\n";

// The weights, under either name.
absl::StatusOr<std::string> OneOf(const std::string& checkpoint, const std::string& resume) {
  if (!checkpoint.empty() && !resume.empty() && checkpoint != resume) {
    return absl::InvalidArgumentError(
        absl::StrCat("--checkpoint=", checkpoint, " and --resume=", resume, " mean the same: give one"));
  }
  if (checkpoint.empty() && resume.empty()) {
    return absl::InvalidArgumentError("which file? give --checkpoint=FILE (or --resume=FILE)");
  }
  return checkpoint.empty() ? resume : checkpoint;
}

int Main(int argc, char** argv) {
  InitLogging(argv[0]);
  const std::vector<FlagGroup> groups = {{"As the paper's weight_convert",
                                          {{"model", ""},
                                           {"resume", ""},
                                           {"checkpoint", ""},
                                           {"output_dir", ""},
                                           {"ckptname", ""},
                                           {"mlp_token", ""},
                                           {"device", ""},
                                           {"seed", ""},
                                           {"world_size", ""},
                                           {"rank", ""},
                                           {"local_rank", ""},
                                           {"dist_on_itp", ""},
                                           {"dist_url", ""},
                                           {"input_size", ""},
                                           {"mask_ratio", ""},
                                           {"log_dir", ""}}},
                                         {"More", {{"to", ""}, {"everything", ""}, {"dtype", ""}, {"head", ""}}},
                                         {"What the file does not tell", VitFlags()}};
  const absl::StatusOr<ParsedFlags> parsed = ParseFlags(argc, argv, groups);
  const auto finish = [](const absl::Status& status) { return static_cast<int>(ReportStatus("convert", status)); };
  if (!parsed.ok()) return finish(parsed.status());
  if (parsed->help) {
    std::printf("%s%s", kUsage, DescribeFlags(groups).c_str());
    return kExitDone;
  }
  const absl::StatusOr<std::string> input = OneOf(absl::GetFlag(FLAGS_checkpoint), absl::GetFlag(FLAGS_resume));
  if (!input.ok()) return finish(input.status());
  if (absl::GetFlag(FLAGS_ckptname).empty()) return finish(absl::InvalidArgumentError("--ckptname is empty"));
  ConvertOptions options;
  options.input = UserPath(*input);
  options.to = absl::GetFlag(FLAGS_to);
  const std::string name = (options.to == "hf" || options.to == "timm") && !parsed->Given("ckptname")
                               ? "model.safetensors"
                               : absl::GetFlag(FLAGS_ckptname);
  options.output = absl::StrCat(UserPath(absl::GetFlag(FLAGS_output_dir)), "/", name);
  options.everything = absl::GetFlag(FLAGS_everything);
  options.dtype = absl::GetFlag(FLAGS_dtype);
  const absl::StatusOr<VitRequest> request = VitRequestFromFlags();
  if (!request.ok()) return finish(request.status());
  options.request = *request;
  if (parsed->Given("model")) options.model = absl::GetFlag(FLAGS_model);
  options.head = absl::GetFlag(FLAGS_head);
  const absl::StatusOr<std::string> done = ConvertFile(options);
  if (done.ok()) std::printf("%s\n", PrintableLines(*done).c_str());
  return finish(done.status());
}

}  // namespace
}  // namespace tec

int main(int argc, char** argv) { return tec::RunProgram(argc, argv, tec::Main); }
