#include "data/image/describe_unknown.h"

#include <algorithm>
#include <cstddef>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace tec {
namespace {

// What lies about under the names of pictures and is none that is decoded here: what it begins with, at which byte.
struct Impostor {
  absl::string_view magic;
  size_t at;
  const char* what;
};
template <size_t n>
constexpr absl::string_view Bytes(const char (&text)[n]) {
  return absl::string_view(text, n - 1);
}
constexpr Impostor kImpostors[] = {
    {Bytes("version https://git-lfs"), 0, "a pointer of Git LFS, whose file was not fetched (git lfs pull)"},
    {Bytes("\0\x05\x16\x07"), 0, "an AppleDouble file: a resource fork that macOS leaves beside the picture"},
    {Bytes("\0\x05\x16\0"), 0, "an AppleSingle file of macOS"},
    {Bytes("\xFF\x0A"), 0, "JPEG XL, which is not supported"},
    {Bytes("\0\0\0\x0CJXL "), 0, "JPEG XL, which is not supported"},
    {Bytes("8BPS"), 0, "a file of Photoshop (PSD), which is not supported"},
    {Bytes("Pf"), 0, "PFM, which is not supported"},
    {Bytes("PF"), 0, "PFM, which is not supported"},
    {Bytes("\x76\x2F\x31\x01"), 0, "OpenEXR, which is not supported"},
    {Bytes("#?RADIANCE"), 0, "Radiance HDR, which is not supported"},
    {Bytes("DDS "), 0, "DirectDraw (DDS), which is not supported"},
    {Bytes("qoif"), 0, "QOI, which is not supported"},
    {Bytes("BPG\xFB"), 0, "BPG, which is not supported"},
    {Bytes("FLIF"), 0, "FLIF, which is not supported"},
    {Bytes("II\xBC"), 0, "JPEG XR, which is not supported"},
    {Bytes("\0\0\1\0"), 0, "an icon (ICO), which is not supported"},
    {Bytes("icns"), 0, "an icon of macOS (ICNS), which is not supported"},
    {Bytes("gimp xcf"), 0, "a file of GIMP (XCF), which is not supported"},
    {Bytes("\x8AMNG"), 0, "MNG, which is not supported"},
    {Bytes("%PDF-"), 0, "a PDF"},
    {Bytes("%!PS"), 0, "PostScript"},
    {Bytes("<svg"), 0, "SVG, a drawing"},
    {Bytes("<?xml"), 0, "XML, perhaps a drawing (SVG)"},
    {Bytes("<!"), 0, "a page of HTML, as a failed download leaves it"},
    {Bytes("<html"), 0, "a page of HTML, as a failed download leaves it"},
    {Bytes("<HTML"), 0, "a page of HTML, as a failed download leaves it"},
    {Bytes("{\""), 0, "JSON, perhaps the message of a failed download"},
    {Bytes("PK\3\4"), 0, "a zip archive"},
    {Bytes("\x1F\x8B"), 0, "compressed by gzip"},
    {Bytes("BZh"), 0, "compressed by bzip2"},
    {Bytes("\xFD"
           "7zXZ"),
     0, "compressed by xz"},
    {Bytes("\x28\xB5\x2F\xFD"), 0, "compressed by zstd"},
    {Bytes("Rar!"), 0, "a RAR archive"},
    {Bytes("7z\xBC\xAF"), 0, "a 7z archive"},
    {Bytes("ustar"), 257, "a tar archive"},
    {Bytes("\x93NUMPY"), 0, "a NumPy array"},
    {Bytes("\x89HDF"), 0, "an HDF5 file"},
    {Bytes("PAR1"), 0, "a Parquet file"},
    {Bytes("DICM"), 128, "DICOM, which is not supported"},
    {Bytes("\x1A\x45\xDF\xA3"), 0, "a video (Matroska, WebM)"},
    {Bytes("AVI "), 8, "a video (AVI)"},
    {Bytes("FLV\1"), 0, "a video (FLV)"},
    {Bytes("\0\0\1\xBA"), 0, "a video (MPEG)"},
    {Bytes("FUJIFILMCCD-RAW"), 0, "a raw file of a camera (RAF): develop it to TIFF or JPEG"},
    {Bytes("IIU\0"), 0, "a raw file of a camera (RW2): develop it to TIFF or JPEG"},
    {Bytes("IIRO"), 0, "a raw file of a camera (ORF): develop it to TIFF or JPEG"},
    {Bytes("FOVb"), 0, "a raw file of a camera (X3F): develop it to TIFF or JPEG"},
    {Bytes("SQLite format 3"), 0, "an SQLite data base"},
    {Bytes("\x80\4\x95"), 0, "a Python object (pickle)"},
    {Bytes("\x0A\5\1"), 0, "PCX, which is not supported"},
    {Bytes("\xFF\xFE"), 0, "text in UTF-16"},
    {Bytes("SIMPLE  ="), 0, "FITS, which is not supported"},
    {Bytes("WAVE"), 8, "a sound (WAV)"},
    {Bytes("ID3"), 0, "a sound (MP3)"},
    {Bytes("OggS"), 0, "a sound or video (Ogg)"},
    {Bytes("bplist00"), 0, "a placeholder of macOS, as iCloud leaves it for a file that is elsewhere"},
    {Bytes("book\0\0\0\0mark"), 0, "an alias of macOS"},
    {Bytes("\x4C\0\0\0\1\x14\2\0"), 0, "a shortcut of Windows"},
    {Bytes("/9j/"), 0, "text: a JPEG in base64, to be decoded first"},
    {Bytes("iVBORw0KGgo"), 0, "text: a PNG in base64, to be decoded first"},
    {Bytes("data:image/"), 0, "text: a picture in base64, to be decoded first"},
    {Bytes("/annex/objects/"), 0, "a pointer of git-annex, whose file was not fetched (git annex get)"},
    {Bytes("../.git/annex/"), 0, "a pointer of git-annex, whose file was not fetched (git annex get)"},
    {Bytes("\x7F"
           "ELF"),
     0, "a program"},
    {Bytes("MZ"), 0, "a program of Windows"},
};

}  // namespace

std::string DescribeUnknown(absl::string_view all) {
  // Text may begin with a mark of UTF-8, or blanks.
  absl::string_view bytes = all;
  absl::ConsumePrefix(&bytes, "\xEF\xBB\xBF");
  bytes.remove_prefix(std::min(bytes.find_first_not_of(" \t\r\n"), bytes.size()));
  if (bytes.empty()) bytes = all;
  for (const Impostor& impostor : kImpostors) {
    if (bytes.size() >= impostor.at + impostor.magic.size() &&
        bytes.substr(impostor.at, impostor.magic.size()) == impostor.magic) {
      return absl::StrCat("not an image: ", impostor.what);
    }
  }
  if (bytes.size() >= 12 && bytes.substr(4, 8) == "ftypcrx ") {
    return "not an image: a raw file of a camera (CR3): develop it to TIFF or JPEG";
  }
  if (bytes.size() >= 12 && bytes.substr(4, 4) == "ftyp") return "not an image: a video (MP4, QuickTime)";
  if (bytes.find_first_not_of('\0') == absl::string_view::npos) {
    return absl::StrCat("not an image: ", bytes.size(), " zero bytes and nothing else");
  }
  constexpr size_t kText = 40, kLeastText = 12;
  const absl::string_view begin = bytes.substr(0, kText);
  if (bytes.size() >= kLeastText &&
      std::all_of(begin.begin(), begin.end(), [](unsigned char c) { return absl::ascii_isprint(c); })) {
    return absl::StrCat("not an image: text, which begins with: ", begin);
  }
  return "not an image: no known format by its first bytes";
}

}  // namespace tec
