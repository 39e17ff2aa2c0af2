#include "data/image/fast_jpeg_flag.h"

#include "absl/flags/flag.h"

ABSL_FLAG(bool, fast_jpeg, true,
          "own Huffman decoding of baseline JPEG files, faster than libjpeg-turbo's and to the same pixels; false: "
          "libjpeg-turbo alone");
