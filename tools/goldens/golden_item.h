// What a check of stored numbers works with: the files of a directory in the format of tec/testing/goldens/README.md,
// read with a record of what was read, and the comparisons made so far.
//
//   absl::Status CheckMasking(GoldenItem& item) {
//     TEC_ASSIGN_OR_RETURN(GoldenTensors * file, item.Tensors("masking.safetensors"));
//     TEC_ASSIGN_OR_RETURN(const TensorView noise, file->Input("noise", DType::kFloat32, {-1, -1}));
//     item.Compare(*file, "mask", mask, GoldenTolerance::Bits());
//   }
//
// A file that lacks what a check needs is an error of the check, which becomes a row that failed; so does whatever a
// check throws (nlohmann::json and LibTorch do), and every tensor or JSON entry that it left unread.
//
// No LibTorch; torch_item.h has the same for at::Tensor.

#ifndef TEC_TOOLS_GOLDENS_GOLDEN_ITEM_H_
#define TEC_TOOLS_GOLDENS_GOLDEN_ITEM_H_

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"
#include "tec/checkpoint/safetensors.h"
#include "tools/goldens/comparison.h"

namespace tec {

// One .safetensors file.
class GoldenTensors {
 public:
  static absl::StatusOr<std::unique_ptr<GoldenTensors>> Read(const std::string& path, const std::string& file);

  const std::string& file() const { return file_; }
  bool Has(const std::string& name) const { return content_.tensors.Find(name) != nullptr; }
  // Names that begin with `prefix`, sorted. Does not count as reading.
  std::vector<std::string> Names(const std::string& prefix = "") const;

  // A tensor that goes into a computation. NotFound if it is not there; InvalidArgument if it has another type or shape
  // (-1: any size) or holds a NaN. The error names it.
  absl::StatusOr<TensorView> Input(const std::string& name);
  absl::StatusOr<TensorView> Input(const std::string& name, DType dtype, const std::vector<int64_t>& shape);
  // A tensor to compare with, or nullptr.
  const TensorView* Expected(const std::string& name);
  // A metadata value, parsed as JSON. NotFound or InvalidArgument name it.
  absl::StatusOr<nlohmann::json> Metadata(const std::string& key) const;
  bool HasMetadata(const std::string& key) const { return content_.metadata.count(key) != 0; }

  std::vector<std::string> Unread() const;
  const Safetensors& content() const { return content_; }

 private:
  friend class GoldenItem;
  std::string file_;
  Safetensors content_;
  std::set<std::string> read_;
  std::map<std::string, TensorView> computed_;  // For RecordTo().
};

// One .json file with an object at the top.
class GoldenJson {
 public:
  static absl::StatusOr<std::unique_ptr<GoldenJson>> Read(const std::string& path, const std::string& file);

  const std::string& file() const { return file_; }
  bool Has(const std::string& key) const { return content_.contains(key); }
  // A top-level entry; nlohmann::json throws if it is not there.
  const nlohmann::json& operator[](const std::string& key);
  // Entries that only explain.
  void Documentation(const std::vector<std::string>& keys);
  std::vector<std::string> Keys() const;
  // All of it; does not count as reading.
  const nlohmann::json& content() const { return content_; }

  std::vector<std::string> Unread() const;

 private:
  friend class GoldenItem;
  std::string file_;
  nlohmann::json content_, computed_;
  std::set<std::string> read_;
};

struct GoldenOptions {
  // Models compute under autocast to bfloat16 on the CPU. Their losses are then compared to kDirectionScalar and other
  // results by direction (kBfloat16Direction); what is no model's is compared as ever.
  bool bfloat16 = false;
  // Lines like "full_large: the new model, 12 s" on standard error.
  bool progress = false;
  // Keep what was computed, for RecordTo().
  bool record = false;
};

inline constexpr double kBfloat16Direction = 0.02;

class GoldenItem {
 public:
  GoldenItem(std::string directory, std::string name, const GoldenOptions& options = {});

  const std::string& name() const { return name_; }
  bool bfloat16() const { return options_.bfloat16; }
  // The tolerance of what a model computes: Absolute(bound), in bfloat16 that of a direction.
  GoldenTolerance Model(double bound) const;
  void Progress(const std::string& what) const;

  // Files, by their path in the directory. Whatever is asked for counts as understood.
  bool HasFile(const std::string& file) const;
  std::string Path(const std::string& file);
  // Opened once. NotFound if it is not there; InvalidArgument if it is damaged.
  absl::StatusOr<GoldenTensors*> Tensors(const std::string& file);
  absl::StatusOr<GoldenJson*> Json(const std::string& file);
  // A file that another check compares and this one takes inputs from: it may leave tensors unread.
  absl::StatusOr<GoldenTensors*> Inputs(const std::string& file);
  // Files that the check would not open by itself, or that only explain.
  void Understood(const std::string& file) { files_.insert(file); }
  const std::set<std::string>& files() const { return files_; }

  // Comparisons: one row each.
  void Compare(GoldenTensors& file, const std::string& name, const TensorView& actual, const GoldenTolerance& tolerance,
               const GoldenSkip& skip = nullptr);
  // The number at a JSON pointer, "/schedules/0/lr".
  void CompareNumber(GoldenJson& file, const std::string& pointer, double actual, const GoldenTolerance& tolerance);
  void CompareJson(GoldenJson& file, const std::string& pointer, const nlohmann::json& actual);
  // Something that is no distance: fine or not, and why not.
  void Expect(const std::string& quantity, bool good, const std::string& what_is_wrong);
  void Fail(const std::string& quantity, const std::string& what_is_wrong) { Expect(quantity, false, what_is_wrong); }
  // The rows that follow belong to a group (GoldenRow::group); "" ends it.
  void Group(const std::string& group) { group_ = group; }

  const std::vector<GoldenRow>& rows() const { return rows_; }
  // Adds a row for an error of the check, or for everything that it left unread.
  void Finish(const absl::Status& status);

  // Writes the files that were opened to `directory`, with computed numbers in the place of those compared.
  absl::Status RecordTo(const std::string& directory) const;

 private:
  void Add(const std::string& quantity, GoldenRow row);

  std::string directory_, name_;
  GoldenOptions options_;
  std::string group_;
  double started_;
  std::set<std::string> files_, inputs_;
  std::map<std::string, std::unique_ptr<GoldenTensors>> tensors_;
  std::map<std::string, std::unique_ptr<GoldenJson>> json_;
  std::vector<GoldenRow> rows_;
};

using GoldenCheck = absl::Status (*)(GoldenItem&);

// check(item) and item.Finish(): catches what it throws.
void RunGoldenCheck(GoldenCheck check, GoldenItem& item);

}  // namespace tec

#endif  // TEC_TOOLS_GOLDENS_GOLDEN_ITEM_H_
