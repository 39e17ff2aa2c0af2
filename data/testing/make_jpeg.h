// JPEG files of every kind that libjpeg writes, for tests of the decoder.

#ifndef TEC_DATA_TESTING_MAKE_JPEG_H_
#define TEC_DATA_TESTING_MAKE_JPEG_H_

#include <cstdint>
#include <string>

#include "data/image/image.h"

namespace tec {
namespace testing {

struct JpegKind {
  int quality = 90;
  // Luma samples for one of chroma: 1, 2 or 4.
  int horizontal = 2, vertical = 2;
  bool grey = false;  // Of the red channel.
  bool progressive = false;
  bool scan_per_component = false;  // Sequential, but in three scans.
  int restart_rows = 0;             // A restart marker after so many rows of blocks; 0: none.
  int restart_mcus = 0;             // Or after so many minimal coded units.
  bool optimized = false;           // Huffman tables made for the picture, not those of the standard's annex K.
};

// Aborts where libjpeg refuses.
std::string MakeJpeg(const Image& image, const JpegKind& kind);

// Slopes and noise, different for each seed.
Image NoisyGradient(int height, int width, uint64_t seed);

}  // namespace testing
}  // namespace tec

#endif  // TEC_DATA_TESTING_MAKE_JPEG_H_
