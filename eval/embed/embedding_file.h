// Vectors of pictures in files that numpy, pandas and others read.
//
//   .npy           float32 [n, d], and beside it NAME.images.csv: row, name, label, class
//   .safetensors   "values" F32 [n, d] and "labels" I64 [n] (-1: none), and the same NAME.images.csv
//   .csv           a line a picture: name, label, class, f0 ... f(d-1), nine significant digits, which give back the
//                  float32 exactly
//
// The .npy format is numpy's (numpy.lib.format, version 1.0): a library for it would be as long as its use.

#ifndef TEC_EVAL_EMBED_EMBEDDING_FILE_H_
#define TEC_EVAL_EMBED_EMBEDDING_FILE_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "ATen/core/Tensor.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace tec {

// What a row is of.
struct EmbeddedImage {
  std::string name;
  int64_t label = -1;      // -1: none.
  std::string class_name;  // Empty: none.
};

// InvalidArgument, with the formats there are, if `path` ends in none of them.
absl::Status CheckEmbeddingPath(const std::string& path);

// Where the images' names stand beside `path`: "out/a.npy" -> "out/a.images.csv".
std::string ImagesPathOf(const std::string& path);

// Writes rows as they come; nothing is at `path` before Commit().
class EmbeddingWriter {
 public:
  virtual ~EmbeddingWriter() = default;

  // `rows` are to come, of `width` numbers each. `metadata`: what the vectors are from, for formats that can hold it.
  static absl::StatusOr<std::unique_ptr<EmbeddingWriter>> Open(const std::string& path, int64_t rows, int64_t width,
                                                               const std::map<std::string, std::string>& metadata);

  // values: float32 [m, width]; images: [m].
  virtual absl::Status Append(const at::Tensor& values, const std::vector<EmbeddedImage>& images) = 0;
  virtual absl::Status Commit() = 0;
};

struct Embeddings {
  at::Tensor values;                  // float32 [n, d]
  std::vector<EmbeddedImage> images;  // [n]
};

// What EmbeddingWriter wrote, or an .npy of two dimensions of float32 from elsewhere with such a file of names beside
// it. NotFound, InvalidArgument for a file that is something else.
absl::StatusOr<Embeddings> ReadEmbeddings(const std::string& path);

}  // namespace tec

#endif  // TEC_EVAL_EMBED_EMBEDDING_FILE_H_
