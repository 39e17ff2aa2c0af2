// Masks for tests: PNG files whose pixels are numbers.

#ifndef TEC_DATA_TESTING_MAKE_INDEX_PNG_H_
#define TEC_DATA_TESTING_MAKE_INDEX_PNG_H_

#include <png.h>

#include <string>

namespace tec::testing {

// A PNG of 3 x 5 numbers, (7 y + x) % modulo, with a palette or grey, of so many bits.
std::string MakeIndexPng(int colour_type, int bits, int modulo, int interlace = PNG_INTERLACE_NONE);

// The PNG with another chunk PLTE of `entries` entries, before its pixels.
std::string WithPalette(std::string png, int entries);

}  // namespace tec::testing

#endif  // TEC_DATA_TESTING_MAKE_INDEX_PNG_H_
