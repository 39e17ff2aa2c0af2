// Masks in colours over their picture.

#ifndef TEC_EVAL_DENSE_OVERLAYS_H_
#define TEC_EVAL_DENSE_OVERLAYS_H_

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "ATen/core/Tensor.h"
#include "absl/status/status.h"
#include "nlohmann/json.hpp"

namespace tec {

// The colour of a number in masks: that of PASCAL VOC's palette.
std::array<uint8_t, 3> MaskColour(int number);

// The picture, uint8 [H, W, c], and beside it, from left to right, the picture under each mask, uint8 [H, W], half and
// half; where a mask has an ignored number the picture alone. PNG.
std::string OverlaysPng(const at::Tensor& pixels, const std::vector<at::Tensor>& masks,
                        const std::vector<int>& ignored);

// Collects such pictures of some images of a data set in a folder.
class OverlayWriter {
 public:
  // At most `count` of `images` images, evenly spaced, in output_dir/pictures, which is made anew; an empty output_dir
  // or a count of 0: none.
  OverlayWriter(const std::string& output_dir, int64_t images, int64_t count, std::vector<std::string> panels,
                std::vector<int> ignored);

  bool Wants(int64_t index) const;
  // What OverlaysPng takes; of an image that is not wanted nothing is written.
  absl::Status Add(int64_t index, const std::string& name, const at::Tensor& pixels,
                   const std::vector<at::Tensor>& masks);
  // {"panels": [...], "files": [{"name": ..., "file": "pictures/00017.png"}, ...]}
  nlohmann::ordered_json ToJson() const;

 private:
  std::string output_dir_;
  int64_t images_, count_;
  std::vector<std::string> panels_;
  std::vector<int> ignored_;
  nlohmann::ordered_json files_ = nlohmann::ordered_json::array();
};

}  // namespace tec

#endif  // TEC_EVAL_DENSE_OVERLAYS_H_
