#include "tec/checkpoint/mutation.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "tec/base/logging.h"
#include "tec/base/random.h"
#include "tec/checkpoint/elements.h"
#include "tec/checkpoint/families/vit_plan.h"
#include "tec/checkpoint/mapped_file.h"
#include "tec/checkpoint/pth.h"
#include "tec/checkpoint/safetensors.h"
#include "tec/checkpoint/state_dict_file.h"
#include "tec/checkpoint/zip_file.h"

namespace tec {
namespace {

constexpr size_t kStructureBytes = 1500;

bool UseTensors(const StateDict& tensors) {
  float sum = 0;
  for (const auto& [name, tensor] : tensors) {
    if (tensor.NumElements() > 1 << 20) continue;
    for (float value : FloatsOf(tensor)) sum += value;
  }
  // Keeps the loop above.
  volatile float kept = sum;
  static_cast<void>(kept);
  const absl::StatusOr<const Family*> family = RecogniseFamily(tensors);
  if (family.ok()) {
    const absl::StatusOr<VitPlan> plan = PlanVit(**family, tensors);
    if (plan.ok()) {
      for (const PlannedTensor& planned : plan->tensors) {
        for (const TensorView& source : planned.sources) CheckFinite(planned.name, source).IgnoreError();
      }
    }
  }
  return true;
}

}  // namespace

std::string MutatedFile(absl::string_view file, uint64_t seed, uint64_t stream, uint64_t number) {
  RandomStream random(RandomKey{seed, RandomPurpose::kSplit, stream, number});
  std::string bytes(file);
  for (int edits = 1 + random.UniformInt(4); edits > 0; --edits) {
    const size_t reach = random.Bernoulli(0.7) ? std::min(bytes.size(), kStructureBytes) : bytes.size();
    const size_t at = random.UniformInt(reach);
    switch (random.UniformInt(4)) {
      case 0:
        bytes[at] ^= 1 << random.UniformInt(8);
        break;
      case 1:
        bytes[at] = random.NextUint32();
        break;
      case 2:
        bytes.erase(at, random.UniformInt(8));
        break;
      default:
        bytes.insert(at, bytes.substr(random.UniformInt(bytes.size()), random.UniformInt(16)));
    }
    if (bytes.empty()) bytes = "x";
  }
  return bytes;
}

std::string MutatedPickle(absl::string_view file, uint64_t seed, uint64_t stream, uint64_t number) {
  const absl::StatusOr<ZipReader> zip = ZipReader::Open(MappedFile::FromBytes(std::string(file)));
  if (!zip.ok()) return "";
  RandomStream random(RandomKey{seed, RandomPurpose::kSplit, stream, number});
  std::string out;
  ZipWriter writer(&out, "r");
  for (const ZipEntry& entry : zip->entries()) {
    const std::string name = entry.name.substr(entry.name.find('/') + 1);
    std::string data(entry.data);
    if (name == "data.pkl" && !data.empty()) {
      for (int edits = 1 + random.UniformInt(3); edits > 0; --edits) {
        const size_t at = random.UniformInt(data.size());
        if (random.Bernoulli(0.5)) {
          data[at] = random.NextUint32();
        } else {
          data.insert(at, data.substr(random.UniformInt(data.size()), random.UniformInt(12)));
        }
      }
    }
    TEC_CHECK_OK(writer.Add(name, data));
  }
  TEC_CHECK_OK(writer.Finish());
  return out;
}

std::string FileAround(absl::string_view pickle) {
  std::string out;
  ZipWriter writer(&out, "r");
  TEC_CHECK_OK(writer.Add("data.pkl", pickle));
  TEC_CHECK_OK(writer.Add("byteorder", "little"));
  TEC_CHECK_OK(writer.Add("data/0", std::string(32, 'x')));
  TEC_CHECK_OK(writer.Add("version", "3\n"));
  TEC_CHECK_OK(writer.Finish());
  return out;
}

bool ReadAnything(std::string bytes, FileKind kind) {
  const std::shared_ptr<const MappedFile> file = MappedFile::FromBytes(std::move(bytes));
  bool accepted = false;
  if (kind == FileKind::kAny || kind == FileKind::kJson) {
    accepted = ParseShardIndex(file->bytes()).ok();
    accepted |= ParseVitConfig(file->bytes()).ok();
  }
  if (kind == FileKind::kJson) return accepted;
  if (kind != FileKind::kPth) {
    const absl::StatusOr<Safetensors> read = ParseSafetensors(file);
    if (read.ok()) accepted = UseTensors(read->tensors);
  }
  if (kind != FileKind::kSafetensors) {
    const absl::StatusOr<Value> root = ParsePth(file);
    if (!root.ok()) return accepted;
    const absl::StatusOr<StateDict> all = FlattenTensors(*root);
    if (all.ok()) accepted = UseTensors(*all);
    const absl::StatusOr<StateDictFile> chosen = SelectStateDict(*root, "");
    if (chosen.ok()) accepted = UseTensors(chosen->tensors);
  }
  return accepted;
}

}  // namespace tec
