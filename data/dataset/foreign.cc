#include "data/dataset/foreign.h"

#include <algorithm>
#include <cstring>
#include <iterator>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace tec {
namespace {

constexpr char kPackAsFolder[] = "write its pictures into class folders, a zip or tar shards";

constexpr char kFindList[] = "name it in a list (find FOLDER -type f > list.txt)";

// "a JPEG" and the like; empty: no format that many pictures have.
std::string PictureByBytes(absl::string_view bytes) {
  if (absl::StartsWith(bytes, "\xFF\xD8\xFF")) return "a JPEG";
  if (absl::StartsWith(bytes, "\x89PNG\r\n")) return "a PNG";
  if (absl::StartsWith(bytes, "GIF8")) return "a GIF";
  return absl::StartsWith(bytes, "RIFF") && bytes.size() >= 12 && bytes.substr(8, 4) == "WEBP" ? "a WebP" : "";
}

// A kind of container: what it begins with, at which byte, how its files are called, and what to say.
struct Kind {
  absl::string_view magic;  // Empty: told by the name alone.
  size_t at;
  absl::string_view suffixes;  // With blanks between them.
  absl::string_view what;
};

// Bytes with zeros.
template <size_t n>
constexpr absl::string_view Bytes(const char (&text)[n]) {
  return absl::string_view(text, n - 1);
}

constexpr Kind kKinds[] = {
    {Bytes("PAR1"), 0, ".parquet",
     "Parquet, as Hugging Face's data sets are: convert it (docs/data.md has the lines of Python)"},
    {Bytes("ARROW1"), 0, ".arrow .feather", "an Arrow file: convert it as Parquet (docs/data.md)"},
    {Bytes("\x1f\x8b"), 0, ".gz .tgz .tar.gz",
     "compressed by gzip: unpack it (tar xzf, gunzip); the tar itself is read as it is"},
    {Bytes("BZh"), 0, ".bz2 .tbz2 .tar.bz2",
     "compressed by bzip2: unpack it (tar xjf, bunzip2); the tar itself is read as it is"},
    {Bytes("\xFD"
           "7zXZ\0"),
     0, ".xz .txz .tar.xz", "compressed by xz: unpack it (tar xJf, unxz); the tar itself is read as it is"},
    {Bytes("\x28\xB5\x2F\xFD"), 0, ".zst .tzst .tar.zst",
     "compressed by zstd: unpack it (unzstd); the tar itself is read as it is"},
    {Bytes("\x04\x22\x4D\x18"), 0, ".lz4", "compressed by lz4: unpack it (unlz4)"},
    {Bytes("7z\xBC\xAF\x27\x1C"), 0, ".7z", "a 7z archive: unpack it (7z x), or pack it as zip"},
    {Bytes("Rar!\x1A\x07"), 0, ".rar", "a RAR archive: unpack it (unrar x), or pack it as zip"},
    {Bytes("PK\3\4"), 0, "", "a zip archive: its name must end in .zip"},
    {Bytes("PK\5\6"), 0, "", "an empty zip archive"},
    {Bytes("ustar"), 257, "", "a tar archive: its name must end in .tar"},
    {Bytes("TECPACK1"), 0, "", "a packed data set: its name must end in .tecpack"},
    {Bytes("\xDE\xC0\xEF\xBE"), 16, ".mdb .lmdb",
     "an LMDB data base: write its values into class folders, a zip or tar shards (Python's lmdb)"},
    {Bytes(""), 0, ".tfrecord .tfrecords",
     "TFRecord: write its pictures into tar shards or a zip (Python's tfrecord or TensorFlow)"},
    {Bytes("\x93NUMPY"), 0, ".npy",
     "a NumPy array: save its pictures as PNG in class folders (Pillow's Image.fromarray)"},
    {Bytes(""), 0, ".npz", "NumPy arrays: save their pictures as PNG in class folders (Pillow's Image.fromarray)"},
    {Bytes("\x89HDF\r\n\x1A\n"), 0, ".h5 .hdf5 .hdf",
     "an HDF5 file: save its pictures as PNG in class folders (Python's h5py)"},
    {Bytes("MATLAB "), 0, ".mat", "a MATLAB file: save its pictures as PNG in class folders (Python's scipy.io)"},
    {Bytes(""), 0, ".mds",
     "a shard of MosaicML's streaming: write its pictures into tar shards or a zip (Python's mosaicml-streaming)"},
    {Bytes(""), 0, ".beton", "an FFCV file: make class folders or a zip of what it was made of"},
    {Bytes(""), 0, ".rec", "a RecordIO file of MXNet: unpack it (im2rec.py --unpack, or Python's mxnet.recordio)"},
    {Bytes(""), 0, ".pkl .pickle .pt .pth",
     "a Python object, which could run code: save its pictures as PNG in class folders"},
    {Bytes("SQLite format 3\0"), 0, ".sqlite .sqlite3 .db",
     "an SQLite data base: write its pictures into class folders"},
    {Bytes("DICM"), 128, ".dcm .dicom", "DICOM: save its pictures as PNG or TIFF (Python's pydicom, or dcm2pnm)"},
    {Bytes(""), 0, ".nii", "NIfTI: save its slices as PNG or TIFF (Python's nibabel)"},
    {Bytes("ftyp"), 4, ".mp4 .m4v .mov .3gp", "a video: take pictures out of it (ffmpeg -i FILE -r 1 folder/%06d.jpg)"},
    {Bytes("\x1A\x45\xDF\xA3"), 0, ".mkv .webm",
     "a video: take pictures out of it (ffmpeg -i FILE -r 1 folder/%06d.jpg)"},
    {Bytes("AVI "), 8, ".avi", "a video: take pictures out of it (ffmpeg -i FILE -r 1 folder/%06d.jpg)"},
    {Bytes("\0\0\1\xBA"), 0, ".mpg .mpeg", "a video: take pictures out of it (ffmpeg -i FILE -r 1 folder/%06d.jpg)"},
    {Bytes("FLV\1"), 0, ".flv .wmv", "a video: take pictures out of it (ffmpeg -i FILE -r 1 folder/%06d.jpg)"},
    {Bytes("\0\0\x08\x03"), 0, ".idx3-ubyte", "the IDX format of MNIST: save its pictures as PNG in class folders"},
    {Bytes("\0\0\x08\x01"), 0, ".idx1-ubyte", "the IDX format of MNIST: save its pictures as PNG in class folders"},
    {Bytes("version https://git-lfs"), 0, "", "a pointer of Git LFS and not the file itself: fetch it (git lfs pull)"},
    {Bytes("<!DOCTYPE"), 0, ".html .htm", "a page of HTML, as a failed download leaves it"},
    {Bytes("<html"), 0, "", "a page of HTML, as a failed download leaves it"},
    {Bytes(""), 0, ".heic .heif .avif", "HEIF or AVIF: convert it to JPEG or PNG (heif-convert, avifdec)"},
    {Bytes("\xFF\x0A"), 0, ".jxl", "JPEG XL: convert it to JPEG or PNG (djxl)"},
    {Bytes("\0\0\0\x0CjP  "), 0, ".jp2 .j2k .jpx .jpf", "JPEG 2000: convert it to PNG (opj_decompress)"},
    {Bytes("8BPS"), 0, ".psd .psb", "a file of Photoshop: save it as PNG or TIFF"},
    {Bytes("<svg"), 0, ".svg .svgz", "SVG, a drawing: make a PNG of it (rsvg-convert)"},
    {Bytes("\x76\x2F\x31\x01"), 0, ".exr .hdr", "a picture of high dynamic range: save it as PNG or TIFF"},
    {Bytes(""), 0, ".cr2 .cr3 .nef .arw .dng .raf .orf .rw2 .pef .srw",
     "a raw file of a camera: develop it to TIFF or JPEG (darktable-cli, dcraw)"},
    {Bytes("%PDF-"), 0, ".pdf", "a PDF: take the pictures out of it (pdfimages)"},
    {Bytes("CDF"), 0, ".nc", "a netCDF file: save its pictures as PNG or TIFF (Python's netCDF4)"},
    {Bytes("SIMPLE  ="), 0, ".fits .fit", "a FITS file: save its pictures as PNG or TIFF (Python's astropy)"},
    {Bytes("bplist00"), 0, ".icloud", "a placeholder of iCloud for a file that is not on this machine: download it"},
    {Bytes(""), 0, ".json .jsonl .ndjson",
     "JSON: write a list of the pictures, a table whose first line is path,label"},
    {Bytes("<?xml"), 0, ".xml", "XML: write a list of the pictures, a table whose first line is path,label"},
    {Bytes(""), 0, ".yaml .yml", "YAML: write a list of the pictures, a table whose first line is path,label"},
    {Bytes("\xD0\xCF\x11\xE0"), 0, ".xlsx .xls .ods", "a spreadsheet: save it as CSV, with a first line path,label"},
    {Bytes("\x5D\0\0"), 0, ".lzma .tlz", "compressed by lzma: unpack it (unlzma)"},
    {Bytes("\x1F\x9D"), 0, ".Z", "compressed by compress: unpack it (uncompress)"},
};

bool HasSuffix(absl::string_view name, absl::string_view suffixes) {
  while (!suffixes.empty()) {
    const size_t blank = std::min(suffixes.find(' '), suffixes.size());
    if (absl::EndsWithIgnoreCase(name, suffixes.substr(0, blank))) return true;
    suffixes.remove_prefix(std::min(blank + 1, suffixes.size()));
  }
  return false;
}

}  // namespace

std::string ForeignContainer(absl::string_view bytes, absl::string_view name) {
  // Of many formats a zip is only the outside.
  if (absl::StartsWith(bytes, "PK\3\4")) {
    for (const char* inside : {".npz", ".pt", ".pth", ".xlsx", ".ods"}) {
      if (absl::EndsWithIgnoreCase(name, inside)) return ForeignContainer("", inside);
    }
  }
  if (!PictureByBytes(bytes).empty()) {
    return absl::StrCat(PictureByBytes(bytes), ", but files called so are not looked for in folders: ", kFindList);
  }
  if (bytes.size() >= 12 && bytes.substr(4, 4) == "ftyp") {
    for (const absl::string_view brand : {"heic", "heix", "mif1", "msf1", "avif", "avis"}) {
      if (bytes.substr(8, 4) == brand) return ForeignContainer("", ".heic");
    }
  }
  for (const Kind& kind : kKinds) {
    if (!kind.magic.empty() && bytes.size() >= kind.at + kind.magic.size() &&
        bytes.substr(kind.at, kind.magic.size()) == kind.magic) {
      return std::string(kind.what);
    }
  }
  // TFRecord: a length of 8 bytes, its checksum, and then a message of protobuf whose first field is a message.
  if (bytes.size() > 13 && bytes.substr(4, 4) == Bytes("\0\0\0\0") && bytes[12] == '\x0A' && bytes[3] == '\0') {
    return ForeignContainer("", ".tfrecord");
  }
  if (bytes.size() > 2 && bytes[0] == '\x80' && bytes[1] >= 2 && bytes[1] <= 5) return ForeignContainer("", ".pkl");
  for (const Kind& kind : kKinds) {
    if (HasSuffix(name, kind.suffixes)) return std::string(kind.what);
  }
  return "";
}

std::string ForeignAddress(absl::string_view path) {
  const size_t end = path.find("://");
  if (end == absl::string_view::npos || end == 0) {
    return path == "-" || absl::StartsWith(path, "pipe:")
               ? absl::StrCat("a stream, which cannot be read twice: ", kPackAsFolder)
               : "";
  }
  const absl::string_view scheme = path.substr(0, end);
  if (!std::all_of(scheme.begin(), scheme.end(), [](char c) { return absl::ascii_isalnum(c) || c == '+'; })) return "";
  if (scheme == "file") return "an address: give the path without file://";
  const char* with = scheme == "s3"                       ? "aws s3 sync, s5cmd"
                     : scheme == "gs"                     ? "gsutil -m rsync"
                     : scheme == "hf"                     ? "huggingface-cli download"
                     : scheme == "az" || scheme == "abfs" ? "azcopy"
                     : scheme == "hdfs"                   ? "hdfs dfs -get"
                                                          : "wget, curl";
  return absl::StrCat("an address, and nothing is fetched from elsewhere: copy the data set to this machine first (",
                      with, ")");
}

}  // namespace tec
