#include "data/testing/make_tar.h"

#include <algorithm>
#include <cstdint>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/types/span.h"

namespace tec {
namespace testing {

namespace {

void SetChecksum(absl::Span<char> header) {
  std::fill_n(&header[148], 8, ' ');
  uint32_t sum = 0;
  for (const char c : header) sum += static_cast<uint8_t>(c);
  const std::string digits = absl::StrFormat("%06o", sum);
  std::copy(digits.begin(), digits.end(), &header[148]);
  header[154] = '\0';
}

}  // namespace

TarMaker& TarMaker::Add(char kind, absl::string_view name, absl::string_view content, absl::string_view size_field) {
  std::string header(512, '\0');
  const auto put = [&](size_t at, absl::string_view text) {
    header.replace(at, text.size(), text.data(), text.size());
  };
  put(0, name.substr(0, 100));
  put(100, "0000644");
  put(124, size_field.empty() ? absl::StrFormat("%011o", content.size()) : std::string(size_field));
  put(136, "00000000000");
  header[156] = kind;
  put(257, absl::string_view("ustar\00000", 8));
  SetChecksum(absl::MakeSpan(header));
  absl::StrAppend(&bytes_, header, content, std::string((512 - content.size() % 512) % 512, '\0'));
  return *this;
}

void TarMaker::MendChecksums(std::string* archive) {
  constexpr size_t kBlock = 512;
  for (size_t at = 0; at + kBlock <= archive->size(); at += kBlock) {
    if (archive->compare(at + 257, 5, "ustar") == 0) SetChecksum(absl::MakeSpan(&(*archive)[at], kBlock));
  }
}

std::string TarMaker::Pax(absl::string_view key, absl::string_view value) {
  const size_t rest = 3 + key.size() + value.size();
  size_t length = rest + 1;
  while (absl::StrCat(length).size() + rest != length) ++length;
  return absl::StrCat(length, " ", key, "=", value, "\n");
}

}  // namespace testing
}  // namespace tec
