#include "eval/reproduce/subset.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "data/dataset/dataset.h"
#include "nlohmann/json.hpp"
#include "tec/base/file.h"
#include "tec/base/json_text.h"
#include "tec/base/random.h"
#include "tec/base/status.h"

namespace tec {
namespace {

// Written last: says that all is there, and what it is.
constexpr char kRecord[] = "subset.json";

// Which images of each class: the first of an order that is shuffled once and for all.
std::vector<int64_t> Choose(const Dataset& dataset, int64_t wanted) {
  const int64_t classes = static_cast<int64_t>(dataset.classes().size());
  std::vector<std::vector<int64_t>> of_class(classes);
  for (int64_t i = 0; i < dataset.size(); ++i) of_class[dataset.label(i)].push_back(i);
  std::vector<int64_t> chosen;
  for (int64_t c = 0; c < classes; ++c) {
    std::vector<int64_t>& images = of_class[c];
    RandomStream stream(RandomKey{0, RandomPurpose::kSplit, 0, static_cast<uint64_t>(c)});
    for (size_t i = images.size(); i > 1; --i) std::swap(images[i - 1], images[stream.UniformInt(i)]);
    const int64_t share = wanted / classes + (c < wanted % classes ? 1 : 0);
    images.resize(std::min<int64_t>(share, images.size()));
    chosen.insert(chosen.end(), images.begin(), images.end());
  }
  return chosen;
}

absl::StatusOr<int64_t> CopyPart(const std::string& from, Split split, const std::string& to, int64_t wanted) {
  TEC_ASSIGN_OR_RETURN(const std::unique_ptr<Dataset> dataset, OpenDataset(from, split));
  if (!dataset->labelled()) {
    return absl::InvalidArgumentError(absl::StrCat(from, ": images without labels; one folder a class is needed"));
  }
  for (const std::string& name : dataset->classes()) TEC_RETURN_IF_ERROR(MakeDirectories(absl::StrCat(to, "/", name)));
  const std::vector<int64_t> chosen = Choose(*dataset, wanted);
  std::string bytes;
  for (const int64_t i : chosen) {
    const std::string name = dataset->name(i);
    const absl::Status read = dataset->Read(i, &bytes);
    if (!read.ok()) return Annotate(read, absl::StrCat(from, ", ", name));
    const std::string path = absl::StrCat(to, "/", dataset->classes()[dataset->label(i)], "/", i,
                                          std::filesystem::path(name).extension().string());
    std::ofstream file(path, std::ios::binary | std::ios::trunc);
    file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    file.close();
    if (!file) return absl::ResourceExhaustedError(absl::StrCat("cannot write ", path));
  }
  return static_cast<int64_t>(chosen.size());
}

}  // namespace

absl::StatusOr<SubsetSizes> CopySubset(const std::string& from, const std::string& to, const SubsetSizes& wanted) {
  const std::string record = absl::StrCat(to, "/", kRecord);
  const nlohmann::ordered_json request = {{"from", std::filesystem::absolute(from).string()},
                                          {"train_images", wanted.train_images},
                                          {"held_out_images", wanted.held_out_images}};
  const absl::StatusOr<std::string> before = ReadFile(record);
  if (before.ok()) {
    const auto request_as_written = nlohmann::ordered_json::parse(DumpJson(request));
    const nlohmann::ordered_json done = nlohmann::ordered_json::parse(*before, nullptr, /*allow_exceptions=*/false);
    if (!done.is_object() || done.value("wanted", nlohmann::ordered_json()) != request_as_written) {
      return absl::InvalidArgumentError(absl::StrCat(to, " holds other pictures than are asked for now (", record,
                                                     " says which); choose another --output_dir"));
    }
    return SubsetSizes{done.value("train_images", int64_t{0}), done.value("held_out_images", int64_t{0})};
  }
  SubsetSizes sizes;
  TEC_ASSIGN_OR_RETURN(sizes.train_images, CopyPart(from, Split::kTrain, to + "/train", wanted.train_images));
  TEC_ASSIGN_OR_RETURN(sizes.held_out_images, CopyPart(from, Split::kHeldOut, to + "/val", wanted.held_out_images));
  const nlohmann::ordered_json done = {
      {"wanted", request}, {"train_images", sizes.train_images}, {"held_out_images", sizes.held_out_images}};
  TEC_RETURN_IF_ERROR(WriteFile(record, absl::StrCat(DumpJson(done, 2), "\n")));
  return sizes;
}

}  // namespace tec
