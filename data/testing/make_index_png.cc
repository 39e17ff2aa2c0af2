#include "data/testing/make_index_png.h"

#include <zlib.h>

#include <vector>

namespace tec::testing {

std::string MakeIndexPng(int colour_type, int bits, int modulo, int interlace) {
  std::string bytes;
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, nullptr, nullptr, nullptr);
  png_infop info = png_create_info_struct(png);
  png_set_write_fn(
      png, &bytes,
      [](png_structp p, png_bytep data, size_t count) {
        static_cast<std::string*>(png_get_io_ptr(p))->append(reinterpret_cast<char*>(data), count);
      },
      nullptr);
  png_set_IHDR(png, info, 5, 3, bits, colour_type, interlace, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  std::vector<png_color> palette(1 << bits, png_color{200, 100, 50});
  if (colour_type == PNG_COLOR_TYPE_PALETTE) png_set_PLTE(png, info, palette.data(), static_cast<int>(palette.size()));
  png_write_info(png, info);
  png_set_packing(png);
  std::vector<std::vector<png_byte>> rows(3, std::vector<png_byte>(5));
  std::vector<png_bytep> pointers;
  for (int y = 0; y < 3; ++y) {
    for (int x = 0; x < 5; ++x) rows[y][x] = static_cast<png_byte>((7 * y + x) % modulo);
    pointers.push_back(rows[y].data());
  }
  png_write_image(png, pointers.data());
  png_write_end(png, nullptr);
  png_destroy_write_struct(&png, &info);
  return bytes;
}

std::string WithPalette(std::string png, int entries) {
  const auto big_endian = [](uint32_t number) {
    png_byte bytes[4];
    png_save_uint_32(bytes, number);
    return std::string(reinterpret_cast<char*>(bytes), sizeof(bytes));
  };
  const std::string content = "PLTE" + std::string(size_t{3} * entries, '\x33');
  const uLong checksum = crc32_z(0, reinterpret_cast<const Bytef*>(content.data()), content.size());
  return png.insert(png.find("IDAT") - 4, big_endian(3 * entries) + content + big_endian(checksum));
}

}  // namespace tec::testing
