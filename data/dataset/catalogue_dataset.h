// What a catalogue lists, as a data set: files of a folder, members of archives, records of a packed file.

#ifndef TEC_DATA_DATASET_CATALOGUE_DATASET_H_
#define TEC_DATA_DATASET_CATALOGUE_DATASET_H_

#include <filesystem>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "data/dataset/catalogue.h"
#include "data/dataset/dataset.h"
#include "data/dataset/read_file.h"

namespace tec {

class CatalogueDataset : public Dataset {
 public:
  // What was found under `folder`. `index_path`: the file that the catalogue was read from; empty: it has just been
  // made.
  static std::unique_ptr<Dataset> OfScan(std::string folder, Catalogue catalogue, std::string index_path);
  // What a list in `folder` names, which may be there or not.
  static std::unique_ptr<Dataset> OfList(std::string folder, Catalogue catalogue);
  // The records of a packed file.
  static std::unique_ptr<Dataset> OfPack(std::string path, Catalogue catalogue, std::shared_ptr<const OpenedFile> pack);

  int64_t size() const override { return catalogue_.size(); }
  int32_t label(int64_t index) const override;
  std::string name(int64_t index) const override;
  std::string file(int64_t index) const override;
  const std::vector<std::string>& classes() const override { return catalogue_.classes; }
  std::vector<std::string> defects() const override { return catalogue_.defects; }
  std::string left_out() const override;
  std::string why_unlabelled() const override { return catalogue_.why_unlabelled; }

  using Dataset::Read;
  absl::Status Read(int64_t index, std::string* bytes) const override;

 private:
  CatalogueDataset(std::string folder, Catalogue catalogue);
  absl::Status ReadUnnamed(int64_t index, std::string* bytes) const;
  absl::Status ReadFileOf(int64_t index, std::string* bytes) const;
  absl::Status ReadMemberOf(int64_t index, std::string* bytes) const;
  std::string PathOf(const std::string& name) const;

  const std::string folder_;  // What names and containers are relative to; of a packed file, its path.
  const std::filesystem::path absolute_;
  const Catalogue catalogue_;
  std::shared_ptr<const OpenedFile> pack_;  // Null: it is none.
  std::string index_path_;
  bool of_list_ = false;
  mutable std::mutex mutex_;
  mutable std::set<std::string> seen_;  // Of a list: folders from which a picture has been read. By mutex_.
};

}  // namespace tec

#endif  // TEC_DATA_DATASET_CATALOGUE_DATASET_H_
