// Huffman decoding of baseline JPEG files in libjpeg-turbo's place: the same coefficients in 0.6 of its time. What
// comes before (markers) and after (IDCT, upsampling, colours) stays libjpeg's, so the pixels are its own by
// construction.
//
// It takes regular files only. Where the data are not what an encoder writes it says so, and the file has to be decoded
// again by libjpeg alone: nothing here repairs, warns or refuses.

#ifndef TEC_DATA_IMAGE_JPEG_HUFFMAN_H_
#define TEC_DATA_IMAGE_JPEG_HUFFMAN_H_

#include <cstddef>
#include <cstdint>
#include <cstdio>

// jpeglib.h needs what stands above it.
#include <jpeglib.h>

#include "data/image/jpeg_scan_bytes.h"
#include "data/image/jpeg_symbols.h"

namespace tec {

// About 70 kB, of which nothing is set before Begin.
class JpegHuffman {
 public:
  using DecodeMcuFunction = boolean (*)(j_decompress_ptr info, JBLOCKROW* mcu);

  // Whether it takes the file of `info`, for which jpeg_start_decompress was called and nothing decoded yet: sequential
  // Huffman coding of 8 bits, all components in one scan.
  static bool Takes(jpeg_decompress_struct* info);

  // Makes libjpeg call `decode_mcu`, which has to call DecodeMcu of this object, for every MCU of a file that it takes.
  // Of pixels outside of the `columns` from `left` on (as jpeg_crop_scanline has returned them) no coefficients are
  // needed. `info` must outlive the use of this.
  void Begin(jpeg_decompress_struct* info, JDIMENSION left, JDIMENSION columns, DecodeMcuFunction decode_mcu);

  // The next MCU's coefficients in natural order, into blocks that are zero; null: only goes on to the next. False: the
  // file is not regular: a code that is not in the table, too many coefficients in a block, data that end too early or
  // too late for the restart or end marker, or another marker there. The blocks then hold anything.
  bool DecodeMcu(JBLOCKROW* mcu);

 private:
  struct Block {
    const JpegSymbols *dc, *ac;
    const JpegSkips* skips;
    int component;
  };

  bool Restart();
  void MakeSkips();

  jpeg_decompress_struct* info_;
  uint32_t first_column_, last_column_;  // MCUs of which coefficients are needed.
  uint32_t column_;                      // Of the next MCU.
  int64_t mcus_left_;
  unsigned mcus_to_restart_;
  int next_restart_;                // 0 to 7.
  uint32_t dc_[MAX_COMPS_IN_SCAN];  // The last value of each component, modulo 2^32 as in libjpeg.
  JpegScanBytes bytes_;
  Block blocks_[D_MAX_BLOCKS_IN_MCU];
  JpegSymbols dc_symbols_[NUM_HUFF_TBLS], ac_symbols_[NUM_HUFF_TBLS];
  JpegSkips skips_[NUM_HUFF_TBLS];
  bool have_skips_;
};

}  // namespace tec

#endif  // TEC_DATA_IMAGE_JPEG_HUFFMAN_H_
