// What a catalogue lists, as a data set: files of a folder, members of archives, records of a packed file.

#ifndef TEC_DATA_DATASET_CATALOGUE_DATASET_H_
#define TEC_DATA_DATASET_CATALOGUE_DATASET_H_

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "data/dataset/catalogue.h"
#include "data/dataset/dataset.h"
#include "tec/checkpoint/mapped_file.h"

namespace tec {

class CatalogueDataset : public Dataset {
 public:
  // `folder`: what names and containers are relative to; of a packed file, its path. `pack`: the packed file, if it is
  // one. `index_path`: the file that the catalogue was read from; empty: it has just been made.
  CatalogueDataset(std::string folder, Catalogue catalogue, std::shared_ptr<const MappedFile> pack = nullptr,
                   std::string index_path = "");

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
  absl::StatusOr<absl::string_view> View(int64_t index, std::string* buffer) const override;

 private:
  absl::Status ReadUnnamed(int64_t index, std::string* bytes) const;
  // Of a packed file.
  absl::string_view Record(int64_t index) const;
  std::string PathOf(const std::string& name) const;

  const std::string folder_;
  const std::filesystem::path absolute_;
  const Catalogue catalogue_;
  const std::shared_ptr<const MappedFile> pack_;
  const std::string index_path_;
};

}  // namespace tec

#endif  // TEC_DATA_DATASET_CATALOGUE_DATASET_H_
