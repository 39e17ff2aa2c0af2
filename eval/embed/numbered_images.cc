#include "eval/embed/numbered_images.h"

#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "tec/base/logging.h"

namespace tec {
namespace {

class Numbered : public Dataset {
 public:
  explicit Numbered(std::shared_ptr<const Dataset> dataset) : dataset_(std::move(dataset)) {
    TEC_CHECK(dataset_->size() <= std::numeric_limits<int32_t>::max()) << dataset_->size() << " images";
  }

  int64_t size() const override { return dataset_->size(); }
  int32_t label(int64_t index) const override { return static_cast<int32_t>(index); }
  std::string name(int64_t index) const override { return dataset_->name(index); }
  std::string file(int64_t index) const override { return dataset_->file(index); }
  const std::vector<std::string>& classes() const override { return dataset_->classes(); }
  std::vector<std::string> defects() const override { return dataset_->defects(); }
  std::string left_out() const override { return dataset_->left_out(); }
  using Dataset::Read;
  absl::Status Read(int64_t index, std::string* bytes) const override { return dataset_->Read(index, bytes); }
  absl::StatusOr<absl::string_view> View(int64_t index, std::string* buffer) const override {
    return dataset_->View(index, buffer);
  }

 private:
  const std::shared_ptr<const Dataset> dataset_;
};

}  // namespace

std::shared_ptr<const Dataset> NumberedImages(std::shared_ptr<const Dataset> dataset) {
  return std::make_shared<Numbered>(std::move(dataset));
}

}  // namespace tec
