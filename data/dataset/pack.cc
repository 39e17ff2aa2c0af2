#include "data/dataset/pack.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "data/dataset/patient_read.h"
#include "tec/base/file.h"
#include "tec/base/status.h"

namespace tec {
namespace {

constexpr absl::string_view kBegin = "TECPACK1", kEnd = "TECPACKE";
constexpr size_t kFooter = 8 + 8 + 8;

}  // namespace

bool IsPackName(absl::string_view name) { return absl::EndsWith(name, kPackSuffix); }

absl::Status WritePack(const Dataset& dataset, const std::string& path, const std::function<void(int64_t)>& progress) {
  TEC_ASSIGN_OR_RETURN(const auto writer, AtomicFileWriter::Open(path));
  TEC_RETURN_IF_ERROR(writer->Write(kBegin));
  Catalogue catalogue;
  catalogue.classes = dataset.classes();
  catalogue.containers = {"pack"};
  std::string bytes;
  for (int64_t i = 0; i < dataset.size(); ++i) {
    TEC_RETURN_IF_ERROR(Annotate(ReadPatiently(dataset, i, &bytes), dataset.name(i)));
    catalogue.AddRecord(dataset.name(i), dataset.label(i), 0, writer->size(), bytes.size());
    TEC_RETURN_IF_ERROR(writer->Write(bytes));
    if (progress && (i + 1) % 1000 == 0) progress(i + 1);
  }
  const std::string index = SerializeCatalogue(catalogue, {});
  const uint64_t place[2] = {writer->size(), index.size()};
  TEC_RETURN_IF_ERROR(writer->Write(index));
  TEC_RETURN_IF_ERROR(writer->Write(absl::string_view(reinterpret_cast<const char*>(place), sizeof(place))));
  TEC_RETURN_IF_ERROR(writer->Write(kEnd));
  return writer->Commit();
}

absl::StatusOr<Catalogue> ReadPackCatalogue(absl::string_view bytes) {
  const auto read_at = [bytes](uint64_t offset, size_t count, char* out) {
    bytes.substr(offset, count).copy(out, count);
    return absl::OkStatus();
  };
  return ReadPackCatalogue(read_at, bytes.size());
}

absl::StatusOr<Catalogue> ReadPackCatalogue(const PackReadAt& read_at, uint64_t size) {
  std::string begin(std::min<uint64_t>(size, kBegin.size()), '\0');
  TEC_RETURN_IF_ERROR(read_at(0, begin.size(), begin.data()));
  if (begin != kBegin) return absl::DataLossError("not a packed data set");
  std::string footer(kFooter, '\0');
  if (size < kBegin.size() + kFooter) return absl::DataLossError("the packed data set is truncated");
  TEC_RETURN_IF_ERROR(read_at(size - kFooter, kFooter, footer.data()));
  if (!absl::EndsWith(footer, kEnd)) return absl::DataLossError("the packed data set is truncated");
  uint64_t place[2];
  std::memcpy(place, footer.data(), sizeof(place));
  const uint64_t limit = size - kFooter;
  if (place[0] < kBegin.size() || place[0] > limit || place[1] != limit - place[0]) {
    return absl::DataLossError("the packed data set's index is not where it should be");
  }
  std::string index(place[1], '\0');
  TEC_RETURN_IF_ERROR(read_at(place[0], place[1], index.data()));
  std::vector<Stamp> stamps;
  TEC_ASSIGN_OR_RETURN(Catalogue catalogue, ParseCatalogue(index, &stamps));
  if (catalogue.containers.size() != 1 || catalogue.size() == 0) {
    return absl::DataLossError("the packed data set holds no images");
  }
  for (int64_t i = 0; i < catalogue.size(); ++i) {
    if (catalogue.begin[i] > place[0] || catalogue.bytes[i] > place[0] - catalogue.begin[i]) {
      return absl::DataLossError(absl::StrCat("image ", i, " does not lie in the packed data set"));
    }
  }
  return catalogue;
}

}  // namespace tec
