#include "data/dataset/index.h"

#include <sys/stat.h>
#include <zlib.h>

#include <chrono>
#include <cstdlib>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "data/dataset/catalogue_dataset.h"
#include "tec/base/file.h"
#include "tec/base/logging.h"
#include "tec/base/printable.h"
#include "tec/base/status.h"

namespace tec {
namespace {

// Where the index of `path` is kept: a name that depends on all that the catalogue depends on.
std::string IndexPath(const std::string& path, const std::string& variant, const DatasetOptions& options) {
  char* absolute = realpath(path.c_str(), nullptr);
  const std::string key =
      absl::StrCat(absolute == nullptr ? path : absolute, options.labels ? "" : " without labels", variant,
                   options.exclude.empty() ? "" : " without ", absl::StrJoin(options.exclude, ","));
  std::free(absolute);
  return absl::StrCat(options.index_folder, "/data_set_",
                      absl::Hex(crc32_z(0, reinterpret_cast<const Bytef*>(key.data()), key.size()), absl::kZeroPad8),
                      ".index");
}

// The catalogue in an index, if all that it was made from is as it was then. `path`: as it was first stamped.
absl::StatusOr<Catalogue> ReadIndex(const std::string& index_path, const std::string& path) {
  TEC_ASSIGN_OR_RETURN(const std::string bytes, ReadFile(index_path));
  std::vector<Stamp> stamps;
  TEC_ASSIGN_OR_RETURN(Catalogue catalogue, ParseCatalogue(bytes, &stamps));
  // The first is the data set itself; another with the same checksum in its name is no match.
  if (stamps.empty() || stamps.front().path != path || catalogue.size() == 0) {
    return absl::NotFoundError("another data set's index");
  }
  for (const Stamp& stamp : stamps) {
    struct stat info;
    if (stat(stamp.path.c_str(), &info) != 0) return absl::NotFoundError(absl::StrCat(stamp.path, " is gone"));
    const Stamp now = Scan::StampOf(stamp.path, info);
    if (now.bytes != stamp.bytes || now.modified != stamp.modified) {
      return absl::NotFoundError(absl::StrCat(stamp.path, " has changed"));
    }
  }
  return catalogue;
}

void WriteIndex(const std::string& folder, const std::string& index_path, const Catalogue& catalogue,
                const std::vector<Stamp>& stamps) {
  // A folder that was changed a moment ago may change again without its time being another one.
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  const int64_t recent = std::chrono::duration_cast<std::chrono::nanoseconds>(now).count() - 2000000000;
  for (const Stamp& stamp : stamps) {
    if (stamp.modified > recent) return;
  }
  // Without it all works, only later.
  absl::Status status = MakeDirectories(folder);
  if (status.ok()) status = WriteFile(index_path, SerializeCatalogue(catalogue, stamps));
  if (!status.ok()) TEC_LOG(WARNING) << "no index of the data set is kept: " << status.message();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Dataset>> OpenIndexed(const std::string& path, const std::string& folder,
                                                     const std::string& variant, const DatasetOptions& options,
                                                     const std::function<absl::StatusOr<Catalogue>(Scan*)>& make) {
  std::string index_path;
  absl::StatusOr<Catalogue> catalogue = absl::NotFoundError("no index is kept");
  if (!options.index_folder.empty()) {
    index_path = IndexPath(path, variant, options);
    catalogue = ReadIndex(index_path, path);
  }
  const bool from_index = catalogue.ok();
  if (!from_index) {
    Scan scan(path, options.exclude);
    catalogue = make(&scan);
    TEC_RETURN_IF_ERROR(catalogue.status());
    scan.Report(&*catalogue);
    if (!index_path.empty()) WriteIndex(options.index_folder, index_path, *catalogue, scan.stamps());
  }
  for (const std::string& defect : catalogue->defects) {
    TEC_LOG(WARNING) << "broken archive, of which pictures are lost: " << folder << "/" << defect;
  }
  for (const std::string& warning : catalogue->warnings) TEC_LOG(WARNING) << Printable(path) << ": " << warning;
  if (!catalogue->left_out.empty()) {
    TEC_LOG(INFO) << Printable(path) << ": left out " << catalogue->left_out;
  }
  return CatalogueDataset::OfScan(folder, *std::move(catalogue), from_index ? index_path : "");
}

}  // namespace tec
