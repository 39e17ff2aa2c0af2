#include "data/dataset/catalogue_dataset.h"

#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "data/dataset/read_file.h"
#include "tec/base/file.h"
#include "tec/base/logging.h"
#include "tec/base/status.h"

namespace tec {

CatalogueDataset::CatalogueDataset(std::string folder, Catalogue catalogue, std::shared_ptr<const MappedFile> pack,
                                   std::string index_path)
    : folder_(std::move(folder)),
      absolute_(std::filesystem::absolute(folder_).lexically_normal()),
      catalogue_(std::move(catalogue)),
      pack_(std::move(pack)),
      index_path_(std::move(index_path)) {}

int32_t CatalogueDataset::label(int64_t index) const {
  TEC_CHECK(index >= 0 && index < size()) << index << " of " << size();
  return catalogue_.label(index);
}

std::string CatalogueDataset::name(int64_t index) const {
  const absl::string_view name = catalogue_.name(index);
  if (pack_ == nullptr && !catalogue_.containers.empty()) {
    return absl::StrCat(catalogue_.containers[catalogue_.container[index]], "/", name);
  }
  return catalogue_.in_class_folders ? absl::StrCat(catalogue_.classes[catalogue_.labels[index]], "/", name)
                                     : std::string(name);
}

std::string CatalogueDataset::file(int64_t index) const {
  if (pack_ != nullptr) return absolute_;
  const std::string path =
      catalogue_.containers.empty() ? name(index) : catalogue_.containers[catalogue_.container[index]];
  return absolute_ / path;  // `path` itself where it is absolute.
}

std::string CatalogueDataset::left_out() const {
  std::vector<std::string> parts = catalogue_.warnings;
  if (!catalogue_.left_out.empty()) parts.push_back(catalogue_.left_out);
  return absl::StrJoin(parts, "; ");
}

absl::Status CatalogueDataset::Read(int64_t index, std::string* bytes) const {
  TEC_CHECK(index >= 0 && index < size()) << index << " of " << size();
  const absl::Status status = ReadUnnamed(index, bytes);
  if (index_path_.empty() || !absl::IsNotFound(status)) return status;
  return absl::NotFoundError(absl::StrCat(status.message(), "; it is known from the index ", index_path_,
                                          ": delete that file if the data set has changed"));
}

absl::Status CatalogueDataset::ReadUnnamed(int64_t index, std::string* bytes) const {
  if (catalogue_.containers.empty()) return ReadInto(PathOf(name(index)), bytes);
  TEC_RETURN_IF_ERROR(CheckEncodedSize(catalogue_.bytes[index]));
  if (pack_ != nullptr) {
    const absl::string_view record = Record(index);
    bytes->assign(record.data(), record.size());
    return absl::OkStatus();
  }
  const std::string path = PathOf(catalogue_.containers[catalogue_.container[index]]);
  const OpenedFile file(OpenForReading(path));
  if (file.fd < 0) return ErrnoToStatus(errno, "open", path);
  const uint64_t begin = catalogue_.begin[index], count = catalogue_.bytes[index];
  const uint64_t packed = catalogue_.packed.empty() ? Catalogue::kPlain : catalogue_.packed[index];
  if (packed != Catalogue::kPlain) {
    return ReadZipEntry(file.fd, path, begin, packed & ~Catalogue::kDeflated, count,
                        (packed & Catalogue::kDeflated) != 0, bytes);
  }
  bytes->resize(count);
  return ReadRange(file.fd, path, begin, count, bytes->data());
}

absl::StatusOr<absl::string_view> CatalogueDataset::View(int64_t index, std::string* buffer) const {
  TEC_CHECK(index >= 0 && index < size()) << index << " of " << size();
  if (pack_ == nullptr) return Dataset::View(index, buffer);
  return Record(index);
}

absl::string_view CatalogueDataset::Record(int64_t index) const {
  return pack_->bytes().substr(catalogue_.begin[index], catalogue_.bytes[index]);
}

std::string CatalogueDataset::PathOf(const std::string& name) const {
  return name[0] == '/' ? name : absl::StrCat(folder_, "/", name);
}

}  // namespace tec
