#include "data/dataset/catalogue_dataset.h"

#include <cerrno>
#include <utility>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "data/dataset/read_file.h"
#include "tec/base/file.h"
#include "tec/base/logging.h"
#include "tec/base/status.h"
#include "tec/base/system_error.h"

namespace tec {

CatalogueDataset::CatalogueDataset(std::string folder, Catalogue catalogue)
    : folder_(std::move(folder)),
      absolute_(std::filesystem::absolute(folder_).lexically_normal()),
      catalogue_(std::move(catalogue)) {}

std::unique_ptr<Dataset> CatalogueDataset::OfScan(std::string folder, Catalogue catalogue, std::string index_path) {
  std::unique_ptr<CatalogueDataset> dataset(new CatalogueDataset(std::move(folder), std::move(catalogue)));
  dataset->index_path_ = std::move(index_path);
  return dataset;
}

std::unique_ptr<Dataset> CatalogueDataset::OfList(std::string folder, Catalogue catalogue) {
  std::unique_ptr<CatalogueDataset> dataset(new CatalogueDataset(std::move(folder), std::move(catalogue)));
  dataset->of_list_ = true;
  return dataset;
}

std::unique_ptr<Dataset> CatalogueDataset::OfPack(std::string path, Catalogue catalogue,
                                                  std::shared_ptr<const OpenedFile> pack) {
  std::unique_ptr<CatalogueDataset> dataset(new CatalogueDataset(std::move(path), std::move(catalogue)));
  dataset->pack_ = std::move(pack);
  return dataset;
}

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
  if (index_path_.empty() || !(absl::IsNotFound(status) || ErrnoOf(status) == ESTALE)) return status;
  absl::Status longer(status.code(), absl::StrCat(status.message(), "; it is known from the index ", index_path_,
                                                  ": delete that file if the data set has changed"));
  status.ForEachPayload([&](absl::string_view name, const absl::Cord& value) { longer.SetPayload(name, value); });
  return longer;
}

absl::Status CatalogueDataset::ReadUnnamed(int64_t index, std::string* bytes) const {
  if (catalogue_.containers.empty()) return ReadFileOf(index, bytes);
  TEC_RETURN_IF_ERROR(CheckEncodedSize(catalogue_.bytes[index]));
  if (pack_ == nullptr) return ReadMemberOf(index, bytes);
  bytes->resize(catalogue_.bytes[index]);
  return ReadRange(pack_->fd, folder_, catalogue_.begin[index], bytes->size(), bytes->data());
}

absl::Status CatalogueDataset::ReadFileOf(int64_t index, std::string* bytes) const {
  const std::string path = PathOf(name(index)), folder = path.substr(0, path.rfind('/'));
  if (!of_list_) return ReadOfFolder(path, bytes);
  // A list may name folders that never were.
  const absl::Status status = ReadInto(path, bytes);
  const bool gone = IsGone(status);
  bool seen;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    seen = gone ? seen_.count(folder) > 0 : (seen_.insert(folder), true);
  }
  return gone && seen ? ReadOfFolder(path, bytes) : status;
}

absl::Status CatalogueDataset::ReadMemberOf(int64_t index, std::string* bytes) const {
  const std::string path = PathOf(catalogue_.containers[catalogue_.container[index]]);
  const OpenedFile file(OpenForReading(path));
  if (file.fd < 0 && (errno == ENOENT || errno == ENOTDIR)) {
    return ErrnoToStatus(ESTALE, "the archive is not there any more: cannot open", path);
  }
  if (file.fd < 0) return ErrnoToStatus(errno, "open", path);
  const uint64_t begin = catalogue_.begin[index], count = catalogue_.bytes[index];
  const uint64_t packed = catalogue_.packed.empty() ? Catalogue::kPlain : catalogue_.packed[index];
  if (packed != Catalogue::kPlain) {
    return ReadZipEntry(file.fd, path,
                        {begin, packed & ~Catalogue::kDeflated, count, catalogue_.checksums[index],
                         (packed & Catalogue::kDeflated) != 0},
                        bytes);
  }
  bytes->resize(count);
  return ReadRange(file.fd, path, begin, count, bytes->data());
}

std::string CatalogueDataset::PathOf(const std::string& name) const {
  return name[0] == '/' ? name : absl::StrCat(folder_, "/", name);
}

}  // namespace tec
