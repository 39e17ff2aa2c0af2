// What the tests of finetuning as a whole share: tiny pictures, checkpoints to begin with, settings.

#ifndef TEC_EVAL_FINETUNE_FINETUNE_FIXTURE_H_
#define TEC_EVAL_FINETUNE_FINETUNE_FIXTURE_H_

#include <string>

#include "absl/strings/str_cat.h"
#include "eval/testing/tiny.h"
#include "gtest/gtest.h"
#include "tec/base/file.h"
#include "tec/config/finetune.h"

namespace tec {

class FinetuneFixture : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = testing::FreshFolder("finetune");
    testing::WritePictures(folder_ + "/data/train", {"ant", "bee", "cat"}, 8, 1);
    testing::WritePictures(folder_ + "/data/val", {"ant", "bee", "cat"}, 3, 2);
    testing::WriteTecCheckpoint(folder_ + "/tec.pth", /*mlp_token=*/true);
    testing::WriteMaeCheckpoint(folder_ + "/mae.pth");
  }

  // Three updates an epoch of two micro-steps of four images.
  static std::string Arguments(const std::string& out) {
    return absl::StrCat("--device=cpu --precision=float32 --threads=1 --num_workers=1 --data_path=", folder_,
                        "/data --batch_size=4 --accum_iter=2 --warmup_epochs=0 --lr=3e-3 "
                        "--layer_decay=0.9 --aa= --reprob=0 --output_dir=",
                        folder_, "/", out, " ");
  }
  static testing::ProgramResult Run(const std::string& arguments) {
    return testing::RunProgram("eval/finetune/finetune", arguments);
  }

  static config::Finetune Settings(const std::string& out) {
    absl::StatusOr<config::Finetune> settings = ParseFinetune(R"(
      model: "from_checkpoint"
      mlp_token: true
      drop_path: 0.2
      augmentation { mixup: 0.8 cutmix: 1 }
      optimizer { batch_size: 4 accum_iter: 2 lr: 3e-3 clip_grad: 5 }
      schedule { epochs: 2 warmup_epochs: 0 }
      data { num_workers: 1 }
      runtime { device: "cpu" precision: FLOAT32 threads: 1 }
    )",
                                                              "test");
    EXPECT_TRUE(settings.ok()) << settings.status();
    settings->set_finetune(folder_ + "/tec.pth");
    settings->mutable_data()->set_path(folder_ + "/data");
    settings->mutable_logging()->set_output_dir(absl::StrCat(folder_, "/", out));
    config::Finetune resolved = Resolve(*settings);
    EXPECT_TRUE(Validate(resolved).ok()) << Validate(resolved);
    return resolved;
  }

  static std::string Content(const std::string& path) {
    absl::StatusOr<std::string> content = ReadFile(folder_ + "/" + path);
    EXPECT_TRUE(content.ok()) << content.status();
    return content.ok() ? *content : "";
  }

  static inline std::string folder_;
};

}  // namespace tec

#endif  // TEC_EVAL_FINETUNE_FINETUNE_FIXTURE_H_
