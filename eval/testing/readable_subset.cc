#include "eval/testing/readable_subset.h"

#include <memory>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "data/dataset/dataset.h"
#include "data/dataset/subset.h"
#include "eval/testing/tiny.h"
#include "tec/base/file.h"
#include "tec/base/logging.h"

namespace tec::testing {

void WriteReadableSubset(const std::string& directory, const std::vector<std::string>& classes, int images_a_class,
                         int64_t shots, uint64_t subset_seed) {
  WritePictures(directory, classes, images_a_class, /*seed=*/1);
  absl::StatusOr<std::unique_ptr<Dataset>> opened = OpenDataset(directory, Split::kWhole);
  TEC_CHECK_OK(opened);
  const std::shared_ptr<const Dataset> whole = *std::move(opened);
  const std::shared_ptr<const Dataset> chosen = SubsetOf(whole, {1, shots, subset_seed});
  std::set<std::string> names;
  for (int64_t i = 0; i < chosen->size(); ++i) names.insert(chosen->name(i));
  for (int64_t i = 0; i < whole->size(); ++i) {
    const std::string name = whole->name(i);
    if (names.count(name) == 0) TEC_CHECK_OK(WriteFile(absl::StrCat(directory, "/", name), "no picture"));
  }
}

}  // namespace tec::testing
