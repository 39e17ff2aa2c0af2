// A weight file with an encoder, together with what a checkpoint of this project records about the run that wrote it:
// how evaluators and tools open what they work on. No LibTorch.

#ifndef TEC_CONFIG_ENCODER_FILE_H_
#define TEC_CONFIG_ENCODER_FILE_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "tec/checkpoint/families/vit_file.h"
#include "tec/config/run_record.h"

namespace tec {

struct EncoderFile {
  VitFile vit;  // Its heads and epsilon are the record's where there is one.
  std::optional<RunRecord> record;
  std::string method;  // With a record: "tec", "mae", "finetune"; and the last finished epoch.
  int64_t epoch = 0;
};

// ReadVitFile with the record's heads. InvalidArgument: ReadVitFile's, or --heads against the record.
absl::StatusOr<EncoderFile> ReadEncoderFile(const std::string& path, VitRequest request);

}  // namespace tec

#endif  // TEC_CONFIG_ENCODER_FILE_H_
