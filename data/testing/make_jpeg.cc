#include "data/testing/make_jpeg.h"

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <vector>

// jpeglib.h needs what stands above it.
#include <jpeglib.h>

#include "tec/base/random.h"

namespace tec {
namespace testing {

std::string MakeJpeg(const Image& image, const JpegKind& kind) {
  jpeg_compress_struct info = {};
  jpeg_error_mgr error = {};
  info.err = jpeg_std_error(&error);  // Prints and exits on an error.
  jpeg_create_compress(&info);
  unsigned char* bytes = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&info, &bytes, &size);
  info.image_width = image.width();
  info.image_height = image.height();
  info.input_components = kind.grey ? 1 : 3;
  info.in_color_space = kind.grey ? JCS_GRAYSCALE : JCS_RGB;
  jpeg_set_defaults(&info);
  jpeg_set_quality(&info, kind.quality, TRUE);
  info.comp_info[0].h_samp_factor = kind.horizontal;
  info.comp_info[0].v_samp_factor = kind.vertical;
  info.restart_in_rows = kind.restart_rows;
  info.restart_interval = kind.restart_mcus;
  info.optimize_coding = kind.optimized;
  jpeg_scan_info scans[3] = {};
  if (kind.progressive) {
    jpeg_simple_progression(&info);
  } else if (kind.scan_per_component && !kind.grey) {
    for (int c = 0; c < 3; ++c) {
      scans[c].comps_in_scan = 1;
      scans[c].component_index[0] = c;
      scans[c].Se = DCTSIZE2 - 1;
    }
    info.scan_info = scans;
    info.num_scans = 3;
  }
  jpeg_start_compress(&info, TRUE);
  std::vector<uint8_t> row(image.stride());
  while (info.next_scanline < info.image_height) {
    const uint8_t* pixels = image.row(info.next_scanline);
    if (kind.grey) {
      for (int x = 0; x < image.width(); ++x) row[x] = pixels[3 * x];
    } else {
      std::copy(pixels, pixels + image.stride(), row.begin());
    }
    uint8_t* rows = row.data();
    jpeg_write_scanlines(&info, &rows, 1);
  }
  jpeg_finish_compress(&info);
  jpeg_destroy_compress(&info);
  std::string result(reinterpret_cast<const char*>(bytes), size);
  std::free(bytes);
  return result;
}

Image NoisyGradient(int height, int width, uint64_t seed) {
  RandomStream stream(RandomKey{seed, RandomPurpose::kPictures, 0, 0});
  Image image(height, width);
  int slope[3][2];
  for (auto& s : slope) {
    for (int& value : s) value = static_cast<int>(stream.UniformInt(9)) - 4;
  }
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      for (int c = 0; c < 3; ++c) {
        const int noise = static_cast<int>(stream.NextUint32() >> 27);
        image.row(y)[3 * x + c] = std::clamp(112 + slope[c][0] * x + slope[c][1] * y + noise, 0, 255);
      }
    }
  }
  return image;
}

}  // namespace testing
}  // namespace tec
