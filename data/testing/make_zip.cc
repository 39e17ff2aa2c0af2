#include "data/testing/make_zip.h"

#include <zlib.h>

#include "absl/strings/str_cat.h"
#include "tec/base/logging.h"

namespace tec {
namespace testing {
namespace {

template <typename T>
void Put(std::string* out, T value) {
  out->append(reinterpret_cast<const char*>(&value), sizeof(value));
}

// Without zlib's header.
std::string Deflate(absl::string_view content) {
  z_stream stream = {};
  TEC_CHECK_EQ(deflateInit2(&stream, 6, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY), Z_OK);
  std::string out(deflateBound(&stream, content.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(content.data()));
  stream.avail_in = content.size();
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = out.size();
  TEC_CHECK_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

}  // namespace

ZipMaker& ZipMaker::Add(absl::string_view name, absl::string_view content, const Options& options) {
  const std::string stored = options.deflate ? Deflate(content) : std::string(content);
  const uint16_t method = options.method != 0 ? options.method : options.deflate ? 8 : 0;
  const uint32_t crc = crc32_z(0, reinterpret_cast<const Bytef*>(content.data()), content.size());
  const uint64_t begin = entries_.size();
  const auto narrow = [&](uint64_t value) { return options.zip64 ? 0xFFFFFFFF : static_cast<uint32_t>(value); };
  const auto put_common = [&](std::string* out) {
    Put<uint16_t>(out, options.flags);
    Put<uint16_t>(out, method);
    Put<uint32_t>(out, 0);  // Time.
    Put<uint32_t>(out, crc);
    Put<uint32_t>(out, narrow(stored.size()));
    Put<uint32_t>(out, narrow(content.size()));
    Put<uint16_t>(out, name.size());
  };
  std::string extra;
  if (options.zip64) {
    Put<uint16_t>(&extra, 1);
    Put<uint16_t>(&extra, 16);
    Put<uint64_t>(&extra, content.size());
    Put<uint64_t>(&extra, stored.size());
  }
  entries_ += "PK\3\4";
  Put<uint16_t>(&entries_, 45);
  put_common(&entries_);
  // Another field than in the directory: their lengths need not be equal.
  const std::string local_extra = extra + std::string("UT\5\0\1\0\0\0\0", 9);
  Put<uint16_t>(&entries_, local_extra.size());
  absl::StrAppend(&entries_, name, local_extra, stored);

  if (options.zip64) {
    extra[2] = 24;
    Put<uint64_t>(&extra, begin);
  }
  directory_ += "PK\1\2";
  directory_ += static_cast<char>(45);
  directory_ += static_cast<char>(options.system);
  Put<uint16_t>(&directory_, 45);
  put_common(&directory_);
  Put<uint16_t>(&directory_, extra.size());
  Put<uint16_t>(&directory_, 0);  // Comment.
  Put<uint32_t>(&directory_, 0);  // Volume, internal attributes.
  Put<uint32_t>(&directory_, uint32_t{options.unix_mode} << 16);
  Put<uint32_t>(&directory_, narrow(begin));
  absl::StrAppend(&directory_, name, extra);
  ++count_;
  return *this;
}

std::string ZipMaker::Finish(bool zip64, absl::string_view comment, absl::string_view front) const {
  std::string out = absl::StrCat(front, entries_, directory_);
  if (zip64) {
    out += "PK\6\6";
    Put<uint64_t>(&out, 44);
    Put<uint32_t>(&out, 45 << 16 | 45);
    Put<uint64_t>(&out, 0);
    for (int i = 0; i < 2; ++i) Put<uint64_t>(&out, count_);
    Put<uint64_t>(&out, directory_.size());
    Put<uint64_t>(&out, entries_.size());
    out += "PK\6\7";
    Put<uint32_t>(&out, 0);
    Put<uint64_t>(&out, entries_.size() + directory_.size());
    Put<uint32_t>(&out, 1);
  }
  out += "PK\5\6";
  Put<uint32_t>(&out, 0);
  for (int i = 0; i < 2; ++i) Put<uint16_t>(&out, zip64 ? 0xFFFF : count_);
  Put<uint32_t>(&out, zip64 ? 0xFFFFFFFF : static_cast<uint32_t>(directory_.size()));
  Put<uint32_t>(&out, zip64 ? 0xFFFFFFFF : static_cast<uint32_t>(entries_.size()));
  Put<uint16_t>(&out, comment.size());
  absl::StrAppend(&out, comment);
  return out;
}

}  // namespace testing
}  // namespace tec
