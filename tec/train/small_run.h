// A pretraining run that takes a second, for the tests of the loop and of the program: made pictures, tiny models.

#ifndef TEC_TRAIN_SMALL_RUN_H_
#define TEC_TRAIN_SMALL_RUN_H_

#include <string>
#include <vector>

#include "tec/config/experiment.pb.h"

namespace tec {
namespace testing {

// An empty folder of this name under the test's temporary folder.
std::string EmptyFolder(const std::string& name);

// kPictures JPEG files of noise and rectangles, in three class folders.
void MakePictures(const std::string& folder);
inline constexpr int kPictures = 30;

// As text, to be given by --config, and resolved. 32 pixels in 16 patches, width 32, 3 blocks; batch 4, accum_iter 2:
// 7 micro-steps an epoch, 3 updates, one micro-step left over. One compute thread.
std::string MaeText(const std::string& pictures, const std::string& output_dir);
// Against the base model that MaeText's run makes, or any of its shape; no path: to be given.
std::string TecText(const std::string& pictures, const std::string& base_model, const std::string& output_dir);
config::Experiment Parsed(const std::string& text);
inline constexpr int kUpdatesPerEpoch = 3;

std::string FileBytes(const std::string& path);
void WriteText(const std::string& path, const std::string& text);
bool Exists(const std::string& path);
std::vector<std::string> Lines(const std::string& text);

}  // namespace testing
}  // namespace tec

#endif  // TEC_TRAIN_SMALL_RUN_H_
