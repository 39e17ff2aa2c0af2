#include "data/image/jpeg_huffman.h"

#include <algorithm>
#include <iterator>

#include "absl/base/attributes.h"
#include "absl/base/optimization.h"

namespace tec {
namespace {

// How libjpeg's object for entropy decoding (jpegint.h, which its packages leave out) begins, in all of libjpeg 6b to 9
// and libjpeg-turbo. Its other members stay as libjpeg has set them.
struct EntropyDecoder {
  void (*start_pass)(j_decompress_ptr info);
  JpegHuffman::DecodeMcuFunction decode_mcu;
};

// From the order in the file, a zigzag, to that of the block.
constexpr uint8_t kNaturalOrder[DCTSIZE2] = {
    0,  1,  8,  16, 9,  2,  3,  10, 17, 24, 32, 25, 18, 11, 4,  5,   //
    12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6,  7,  14, 21, 28,  //
    35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51,  //
    58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
};
constexpr uint32_t kLast = DCTSIZE2 - 1;

// A damaged MCU takes no more either; and a refill reads ahead.
static_assert(D_MAX_BLOCKS_IN_MCU * DCTSIZE2 * kMostSymbolBits / 8 + 2 * sizeof(uint64_t) <= JpegScanBytes::kMostTaken,
              "an MCU may take more bytes than there are");

// The coefficients but the first. False: an unknown code, or too many.
ABSL_ATTRIBUTE_ALWAYS_INLINE inline bool DecodeBlock(const JpegSymbols& symbols, JpegBits* bits, JCOEF* block) {
  uint32_t k = 0;
  while (true) {
    bits->Refill();
    // Mostly there are enough bits for two.
    for (int i = 0; i < 2; ++i) {
      const JpegSymbol symbol = symbols.At(bits->next);
      if (ABSL_PREDICT_FALSE(!symbol)) return false;
      if (i == 1 && ABSL_PREDICT_FALSE(static_cast<int>(symbol.bits()) > bits->count)) break;
      k += symbol.advance();
      if (k > kLast) {
        bits->Drop(symbol.bits());
        return k >= kJpegEndOfBlock;
      }
      block[kNaturalOrder[k]] = static_cast<JCOEF>(symbol.ValueIn(bits->next));
      bits->Drop(symbol.bits());
      if (k == kLast) return true;
    }
  }
}

ABSL_ATTRIBUTE_ALWAYS_INLINE inline bool SkipBlock(const JpegSymbols& symbols, const JpegSkips& skips, JpegBits* bits) {
  uint32_t k = 0;
  while (true) {
    bits->Refill();
    JpegSkips::Skip skip = skips.At(bits->next);
    // What comes after a block's last coefficient is no more of it, not even an end of the block.
    if (ABSL_PREDICT_FALSE(skip.bits == 0 || k + skip.advance % kJpegEndOfBlock >= kLast)) {
      const JpegSymbol symbol = symbols.At(bits->next);
      if (!symbol) return false;
      skip = {symbol.bits(), symbol.advance()};
    }
    bits->Drop(skip.bits);
    k += skip.advance;
    if (k >= kLast) return k == kLast || k >= kJpegEndOfBlock;
  }
}

}  // namespace

bool JpegHuffman::Takes(jpeg_decompress_struct* info) {
  if (info->arith_code || jpeg_has_multiple_scans(info) || info->data_precision != 8) return false;
  // Other limits of the spectrum libjpeg warns of.
  if (info->Ss != 0 || info->Se != DCTSIZE2 - 1 || info->Ah != 0 || info->Al != 0) return false;
  return info->unread_marker == 0;
}

void JpegHuffman::Begin(jpeg_decompress_struct* info, JDIMENSION left, JDIMENSION columns,
                        DecodeMcuFunction decode_mcu) {
  info_ = info;
  // A single component's MCU is one block, whatever its sampling.
  const JDIMENSION mcu_width = DCTSIZE * (info->num_components == 1 ? 1 : info->max_h_samp_factor);
  first_column_ = left / mcu_width;
  last_column_ = (left + columns - 1) / mcu_width;
  column_ = 0;
  mcus_left_ = int64_t{info->MCUs_per_row} * info->MCU_rows_in_scan;
  mcus_to_restart_ = info->restart_interval;
  next_restart_ = 0;
  std::fill(std::begin(dc_), std::end(dc_), 0);
  bytes_.Begin(info->src->next_input_byte, info->src->bytes_in_buffer);

  // libjpeg has checked the tables when it started the scan.
  bool made_dc[NUM_HUFF_TBLS] = {}, made_ac[NUM_HUFF_TBLS] = {};
  for (int b = 0; b < info->blocks_in_MCU; ++b) {
    const int c = info->MCU_membership[b];
    const int dc = info->cur_comp_info[c]->dc_tbl_no, ac = info->cur_comp_info[c]->ac_tbl_no;
    const JHUFF_TBL &dc_codes = *info->dc_huff_tbl_ptrs[dc], &ac_codes = *info->ac_huff_tbl_ptrs[ac];
    if (!made_dc[dc]) dc_symbols_[dc].Make(dc_codes.bits, dc_codes.huffval);
    if (!made_ac[ac]) ac_symbols_[ac].Make(ac_codes.bits, ac_codes.huffval);
    made_dc[dc] = made_ac[ac] = true;
    blocks_[b] = {&dc_symbols_[dc], &ac_symbols_[ac], &skips_[ac], c};
  }
  have_skips_ = false;
  reinterpret_cast<EntropyDecoder*>(info->entropy)->decode_mcu = decode_mcu;
}

bool JpegHuffman::DecodeMcu(JBLOCKROW* mcu) {
  if (info_->restart_interval != 0) {
    if (mcus_to_restart_ == 0 && !Restart()) return false;
    --mcus_to_restart_;
  }
  const bool needed = mcu != nullptr && column_ >= first_column_ && column_ <= last_column_;
  if (++column_ == info_->MCUs_per_row) column_ = 0;
  if (!needed && !have_skips_) MakeSkips();

  bytes_.Provide();
  JpegBits bits = bytes_.bits();
  for (int b = 0; b < info_->blocks_in_MCU; ++b) {
    const Block& block = blocks_[b];
    bits.Refill();
    const JpegSymbol symbol = block.dc->At(bits.next);
    if (!symbol) return false;
    const uint32_t dc = dc_[block.component] += symbol.ValueIn(bits.next);
    bits.Drop(symbol.bits());
    if (needed) {
      JCOEF* const coefficients = *mcu[b];
      coefficients[0] = static_cast<JCOEF>(dc);
      if (!DecodeBlock(*block.ac, &bits, coefficients)) return false;
    } else if (!SkipBlock(*block.ac, *block.skips, &bits)) {
      return false;
    }
  }
  if (!bytes_.Took(bits)) return false;
  if (--mcus_left_ == 0 && !bytes_.AtMarker(JPEG_EOI)) return false;
  // There libjpeg looks for markers.
  info_->src->next_input_byte = bytes_.unread();
  info_->src->bytes_in_buffer = bytes_.unread_size();
  return true;
}

bool JpegHuffman::Restart() {
  if (!bytes_.AtMarker(JPEG_RST0 + next_restart_)) return false;
  bytes_.PassMarker();
  next_restart_ = (next_restart_ + 1) % 8;
  mcus_to_restart_ = info_->restart_interval;
  std::fill(std::begin(dc_), std::end(dc_), 0);
  return true;
}

void JpegHuffman::MakeSkips() {
  bool made[NUM_HUFF_TBLS] = {};
  for (int b = 0; b < info_->blocks_in_MCU; ++b) {
    const ptrdiff_t ac = blocks_[b].ac - ac_symbols_;
    if (!made[ac]) skips_[ac].Make(ac_symbols_[ac]);
    made[ac] = true;
  }
  have_skips_ = true;
}

}  // namespace tec
