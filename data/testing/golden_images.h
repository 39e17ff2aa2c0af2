// Reads what the golden image files hold: tensors of bytes by name. For tests only: trusts its input.

#ifndef TEC_DATA_TESTING_GOLDEN_IMAGES_H_
#define TEC_DATA_TESTING_GOLDEN_IMAGES_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "data/image/image.h"

namespace tec {
namespace testing {

// "tec/testing/goldens/" + name in the runfiles; aborts if it is not there.
std::string GoldenPath(const std::string& name);
std::string ReadGolden(const std::string& name);

// Every U8 [H, W, 3] tensor of a .safetensors file, by name; tensors of other types are left out.
std::map<std::string, Image> ReadGoldenImages(const std::string& name);

Image CopyImage(const Image& image);

// Of the pixels, lower-case hexadecimal.
std::string Sha256(const Image& image);

}  // namespace testing
}  // namespace tec

#endif  // TEC_DATA_TESTING_GOLDEN_IMAGES_H_
