#include "eval/embed/embedding_file.h"

#include <cstring>
#include <utility>

#include "ATen/ATen.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "eval/embed/csv.h"
#include "tec/base/file.h"
#include "tec/base/status.h"
#include "tec/checkpoint/safetensors.h"
#include "tec/checkpoint/torch_tensors.h"
#include "tec/dist/launch.h"

namespace tec {
namespace {

constexpr absl::string_view kNpy = ".npy", kSafetensors = ".safetensors", kCsv = ".csv", kImagesCsv = ".images.csv";
constexpr char kValues[] = "values", kLabels[] = "labels";
constexpr absl::string_view kNpyMagic("\x93NUMPY\x01\x00", 8);

absl::string_view StemOf(absl::string_view path) {
  if (absl::ConsumeSuffix(&path, kNpy) || absl::ConsumeSuffix(&path, kSafetensors)) return path;
  absl::ConsumeSuffix(&path, kCsv);
  return path;
}

// "name,label,class" of a line of CSV.
std::string FieldsOf(const EmbeddedImage& image) {
  return absl::StrCat(CsvField(image.name), ",", image.label < 0 ? "" : absl::StrCat(image.label), ",",
                      CsvField(image.class_name));
}

absl::StatusOr<EmbeddedImage> ImageOf(const std::vector<std::string>& fields, size_t first) {
  EmbeddedImage image;
  image.name = fields[first];
  image.class_name = fields[first + 2];
  if (!fields[first + 1].empty() && (!absl::SimpleAtoi(fields[first + 1], &image.label) || image.label < 0)) {
    return absl::InvalidArgumentError(absl::StrCat("label \"", fields[first + 1], "\" is not a whole number from 0"));
  }
  return image;
}

// The file of names beside a file of vectors.
class ImagesCsv {
 public:
  static absl::StatusOr<ImagesCsv> Open(const std::string& path) {
    ImagesCsv csv;
    TEC_ASSIGN_OR_RETURN(csv.file_, AtomicFileWriter::Open(path));
    TEC_RETURN_IF_ERROR(csv.file_->Write("row,name,label,class\n"));
    return csv;
  }
  absl::Status Append(const std::vector<EmbeddedImage>& images) {
    std::string lines;
    for (const EmbeddedImage& image : images) absl::StrAppend(&lines, row_++, ",", FieldsOf(image), "\n");
    return file_->Write(lines);
  }
  absl::Status Commit() { return file_->Commit(); }

 private:
  std::unique_ptr<AtomicFileWriter> file_;
  int64_t row_ = 0;
};

class NpyWriter : public EmbeddingWriter {
 public:
  absl::Status Begin(const std::string& path, int64_t rows, int64_t width) {
    std::string header = absl::StrFormat("{'descr': '<f4', 'fortran_order': False, 'shape': (%d, %d), }", rows, width);
    // The data begin at a multiple of 64 bytes, and a line's end is the header's last byte.
    header.append(63 - (kNpyMagic.size() + 2 + header.size()) % 64, ' ');
    header += '\n';
    const char size[] = {static_cast<char>(header.size() & 0xFF), static_cast<char>(header.size() >> 8)};
    TEC_ASSIGN_OR_RETURN(file_, AtomicFileWriter::Open(path, kNpyMagic.size() + 2 + header.size() + rows * width * 4));
    TEC_RETURN_IF_ERROR(file_->Write(absl::StrCat(kNpyMagic, absl::string_view(size, 2), header)));
    TEC_ASSIGN_OR_RETURN(ImagesCsv csv, ImagesCsv::Open(ImagesPathOf(path)));
    images_.emplace_back(std::move(csv));
    return absl::OkStatus();
  }
  absl::Status Append(const at::Tensor& values, const std::vector<EmbeddedImage>& images) override {
    const at::Tensor rows = values.contiguous();
    TEC_RETURN_IF_ERROR(
        file_->Write({static_cast<const char*>(rows.const_data_ptr()), static_cast<size_t>(rows.nbytes())}));
    return images_[0].Append(images);
  }
  absl::Status Commit() override {
    TEC_RETURN_IF_ERROR(images_[0].Commit());
    return file_->Commit();
  }

 private:
  std::unique_ptr<AtomicFileWriter> file_;
  std::vector<ImagesCsv> images_;  // One.
};

// A safetensors file says its sizes first, in a header that holds a checksum of all: the rows are kept till the end.
class SafetensorsWriter : public EmbeddingWriter {
 public:
  SafetensorsWriter(std::string path, std::map<std::string, std::string> metadata)
      : path_(std::move(path)), metadata_(std::move(metadata)) {}
  absl::Status Append(const at::Tensor& values, const std::vector<EmbeddedImage>& images) override {
    values_.push_back(values.clone());
    images_.insert(images_.end(), images.begin(), images.end());
    return absl::OkStatus();
  }
  absl::Status Commit() override {
    std::vector<int64_t> labels;
    for (const EmbeddedImage& image : images_) labels.push_back(image.label);
    TEC_ASSIGN_OR_RETURN(ImagesCsv csv, ImagesCsv::Open(ImagesPathOf(path_)));
    TEC_RETURN_IF_ERROR(csv.Append(images_));
    TEC_RETURN_IF_ERROR(csv.Commit());
    return WriteSafetensors(path_, ViewsOf({{kValues, at::cat(values_)}, {kLabels, at::tensor(labels, at::kLong)}}),
                            metadata_);
  }

 private:
  std::string path_;
  std::map<std::string, std::string> metadata_;
  std::vector<at::Tensor> values_;
  std::vector<EmbeddedImage> images_;
};

class CsvWriter : public EmbeddingWriter {
 public:
  absl::Status Begin(const std::string& path, int64_t width) {
    TEC_ASSIGN_OR_RETURN(file_, AtomicFileWriter::Open(path));
    std::string header = "name,label,class";
    for (int64_t i = 0; i < width; ++i) absl::StrAppend(&header, ",f", i);
    return file_->Write(header + "\n");
  }
  absl::Status Append(const at::Tensor& values, const std::vector<EmbeddedImage>& images) override {
    const at::Tensor rows = values.contiguous();
    const float* value = rows.const_data_ptr<float>();
    std::string lines;
    for (const EmbeddedImage& image : images) {
      lines += FieldsOf(image);
      for (int64_t i = 0; i < rows.size(1); ++i) absl::StrAppendFormat(&lines, ",%.9g", *value++);
      lines += '\n';
    }
    return file_->Write(lines);
  }
  absl::Status Commit() override { return file_->Commit(); }

 private:
  std::unique_ptr<AtomicFileWriter> file_;
};

// The matrix in an .npy file, whose header is a Python dictionary.
absl::StatusOr<at::Tensor> ParseNpy(const std::string& bytes) {
  const auto refuse = [](absl::string_view why) { return absl::InvalidArgumentError(absl::StrCat("not read: ", why)); };
  constexpr absl::string_view kMagic("\x93NUMPY", 6);
  if (!absl::StartsWith(bytes, kMagic) || bytes.size() < 12) return refuse("it is no .npy file");
  const auto byte = [&bytes](size_t at) { return static_cast<size_t>(static_cast<unsigned char>(bytes[at])); };
  const bool wide = byte(6) >= 2;  // Versions 2 and 3 have a length of four bytes.
  const size_t begin = wide ? 12 : 10;
  const size_t length = byte(8) | byte(9) << 8 | (wide ? byte(10) << 16 | byte(11) << 24 : 0);
  if (length > bytes.size() - begin) return refuse("its header is cut off");
  const absl::string_view header = absl::string_view(bytes).substr(begin, length);
  if (!absl::StrContains(header, "'<f4'")) return refuse("its numbers are not float32 ('<f4'); use .astype('float32')");
  if (!absl::StrContains(header, "'fortran_order': False")) return refuse("it is in Fortran's order");
  const size_t shape = header.find("'shape': (");
  int64_t rows = -1, width = -1;
  if (shape != absl::string_view::npos) {
    const absl::string_view rest = header.substr(shape + 10);
    const std::vector<std::string> sizes = absl::StrSplit(rest.substr(0, rest.find(')')), ", ", absl::SkipEmpty());
    if (sizes.size() != 2 || !absl::SimpleAtoi(sizes[0], &rows) || !absl::SimpleAtoi(sizes[1], &width)) rows = -1;
  }
  const uint64_t numbers = (bytes.size() - begin - length) / 4;
  if (rows < 1 || width < 1) return refuse("it is not a matrix of at least one row");
  if (numbers / width != static_cast<uint64_t>(rows) || numbers * 4 != bytes.size() - begin - length ||
      numbers % width != 0) {
    return refuse(absl::StrCat("it says ", rows, " x ", width, " numbers and has ", numbers));
  }
  at::Tensor values = at::empty({rows, width}, at::kFloat);
  std::memcpy(values.mutable_data_ptr(), bytes.data() + begin + length, numbers * 4);
  return values;
}

absl::StatusOr<std::vector<EmbeddedImage>> ReadImages(const std::string& path) {
  TEC_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  TEC_ASSIGN_OR_RETURN(const auto rows, ParseCsv(text));
  std::vector<EmbeddedImage> images;
  for (size_t i = 1; i < rows.size(); ++i) {
    if (rows[i].size() != 4) {
      return absl::InvalidArgumentError(absl::StrCat("row ", i, " has not the fields row,name,label,class"));
    }
    TEC_ASSIGN_OR_RETURN(EmbeddedImage image, ImageOf(rows[i], 1));
    images.push_back(std::move(image));
  }
  return images;
}

absl::StatusOr<Embeddings> ReadEmbeddingsCsv(const std::string& text) {
  TEC_ASSIGN_OR_RETURN(const auto rows, ParseCsv(text));
  if (rows.size() < 2 || rows[0].size() < 4 || rows[0][0] != "name") {
    return absl::InvalidArgumentError("its first line is not name,label,class,f0,...");
  }
  Embeddings embeddings;
  const int64_t width = static_cast<int64_t>(rows[0].size()) - 3;
  embeddings.values = at::empty({static_cast<int64_t>(rows.size()) - 1, width}, at::kFloat);
  float* value = embeddings.values.mutable_data_ptr<float>();
  for (size_t i = 1; i < rows.size(); ++i) {
    if (rows[i].size() != rows[0].size()) {
      return absl::InvalidArgumentError(
          absl::StrCat("row ", i, " has ", rows[i].size(), " fields, the first line ", rows[0].size()));
    }
    TEC_ASSIGN_OR_RETURN(EmbeddedImage image, ImageOf(rows[i], 0));
    embeddings.images.push_back(std::move(image));
    for (int64_t column = 0; column < width; ++column) {
      if (!absl::SimpleAtof(rows[i][column + 3], value++)) {
        return absl::InvalidArgumentError(absl::StrCat("row ", i, ": \"", rows[i][column + 3], "\" is not a number"));
      }
    }
  }
  return embeddings;
}

}  // namespace

absl::Status CheckEmbeddingPath(const std::string& path) {
  if (absl::EndsWith(path, kImagesCsv)) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": ", kImagesCsv,
                                                   " is the ending of the file of names that "
                                                   "comes beside; choose another name"));
  }
  for (const absl::string_view suffix : {kNpy, kSafetensors, kCsv}) {
    if (absl::EndsWith(path, suffix) && path.size() > suffix.size()) return absl::OkStatus();
  }
  // Arrow's C++ library needs C++20, which this project's LibTorch and Abseil are not built with.
  if (absl::string_view stem = path; absl::ConsumeSuffix(&stem, ".parquet") && !stem.empty()) {
    const std::string npy = absl::StrCat(stem, kNpy);
    return absl::InvalidArgumentError(absl::StrCat(
        path, ": Parquet is written by pandas with pyarrow. Write ", npy, " and then run\n",
        ShellCommand({"python3", "-c",
                      "import sys, numpy, pandas; table = pandas.read_csv(sys.argv[2], keep_default_na=False); "
                      "table[\"vector\"] = list(numpy.load(sys.argv[1])); table.to_parquet(sys.argv[3])",
                      npy, ImagesPathOf(npy), path})));
  }
  return absl::InvalidArgumentError(
      absl::StrCat(path, ": the format is told by the name's ending, one of .npy, .safetensors and .csv"));
}

std::string ImagesPathOf(const std::string& path) { return absl::StrCat(StemOf(path), kImagesCsv); }

absl::StatusOr<std::unique_ptr<EmbeddingWriter>> EmbeddingWriter::Open(
    const std::string& path, int64_t rows, int64_t width, const std::map<std::string, std::string>& metadata) {
  TEC_RETURN_IF_ERROR(CheckEmbeddingPath(path));
  if (absl::EndsWith(path, kNpy)) {
    auto writer = std::make_unique<NpyWriter>();
    TEC_RETURN_IF_ERROR(writer->Begin(path, rows, width));
    return writer;
  }
  if (absl::EndsWith(path, kSafetensors)) return std::make_unique<SafetensorsWriter>(path, metadata);
  auto writer = std::make_unique<CsvWriter>();
  TEC_RETURN_IF_ERROR(writer->Begin(path, width));
  return writer;
}

absl::StatusOr<Embeddings> ReadEmbeddings(const std::string& path) {
  TEC_RETURN_IF_ERROR(CheckEmbeddingPath(path));
  Embeddings embeddings;
  if (absl::EndsWith(path, kCsv)) {
    TEC_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
    absl::StatusOr<Embeddings> read = ReadEmbeddingsCsv(text);
    return read.ok() ? std::move(read) : Annotate(read.status(), path);
  }
  if (absl::EndsWith(path, kNpy)) {
    TEC_ASSIGN_OR_RETURN(const std::string bytes, ReadFile(path));
    absl::StatusOr<at::Tensor> values = ParseNpy(bytes);
    if (!values.ok()) return Annotate(values.status(), path);
    embeddings.values = *std::move(values);
  } else {
    TEC_ASSIGN_OR_RETURN(const Safetensors file, ReadSafetensors(path));
    embeddings.values = TensorsOf(file.tensors)[kValues];
    if (!embeddings.values.defined() || embeddings.values.dim() != 2 || embeddings.values.scalar_type() != at::kFloat ||
        embeddings.values.size(0) == 0) {
      return absl::InvalidArgumentError(absl::StrCat(path, " has no tensor \"values\" of float32 [n, d]"));
    }
  }
  const std::string images_path = ImagesPathOf(path);
  absl::StatusOr<std::vector<EmbeddedImage>> images = ReadImages(images_path);
  if (!images.ok()) return Annotate(images.status(), images_path);
  embeddings.images = *std::move(images);
  if (static_cast<int64_t>(embeddings.images.size()) != embeddings.values.size(0)) {
    return absl::InvalidArgumentError(absl::StrCat(images_path, " names ", embeddings.images.size(), " images, ", path,
                                                   " has ", embeddings.values.size(0), " rows"));
  }
  return embeddings;
}

}  // namespace tec
