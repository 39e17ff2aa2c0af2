// --fast_jpeg, a flag of the programs that open pictures and of the decoder itself. It changes the speed alone.

#ifndef TEC_DATA_IMAGE_FAST_JPEG_FLAG_H_
#define TEC_DATA_IMAGE_FAST_JPEG_FLAG_H_

#include "absl/flags/declare.h"

// Whether regular baseline JPEG files get their Huffman decoding from JpegHuffman (jpeg_huffman.h). False:
// libjpeg-turbo decodes every JPEG alone, to the same pixels and errors.
ABSL_DECLARE_FLAG(bool, fast_jpeg);

#endif  // TEC_DATA_IMAGE_FAST_JPEG_FLAG_H_
