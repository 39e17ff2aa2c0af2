#include "tec/dist/replicas.h"

#include <algorithm>
#include <map>

#include "ATen/TensorOperators.h"
#include "ATen/core/Tensor.h"
#include "ATen/ops/stack.h"
#include "ATen/ops/zeros.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "c10/core/GradMode.h"
#include "tec/base/fingerprint.h"
#include "tec/base/status.h"
#include "tec/dist/socket.h"

namespace tec {
namespace {

constexpr size_t kNamed = 8;

std::string Some(std::vector<std::string> lines, const char* separator) {
  const size_t more = lines.size() > kNamed ? lines.size() - kNamed : 0;
  lines.resize(lines.size() - more);
  return absl::StrCat(absl::StrJoin(lines, separator), more > 0 ? absl::StrCat(separator, more, " more") : "");
}

std::string RankNames(const std::vector<int>& ranks) {
  return absl::StrCat(ranks.size() == 1 ? "rank " : "ranks ", absl::StrJoin(ranks, ", "));
}

}  // namespace

absl::Status CompareFacts(ProcessGroup& group, const RankFacts& facts) {
  if (group.world_size() == 1) return absl::OkStatus();
  PayloadWriter writer;
  for (const auto& [name, value] : facts) writer.Text(name).Text(value);
  // Rank 0's alone travel to all.
  TEC_ASSIGN_OR_RETURN(const std::string first, group.BroadcastText(writer.payload()));
  std::vector<std::string> differences;
  std::map<std::string, std::string> expected;
  PayloadReader reader(first);
  while (true) {
    const std::string name = reader.Text(), value = reader.Text();
    if (!reader.ok()) break;
    expected[name] = value;
  }
  for (const auto& [name, value] : facts) {
    const auto found = expected.find(name);
    if (found == expected.end()) {
      differences.push_back(absl::StrCat(name, " is ", value, " here, nothing on rank 0"));
    } else if (found->second != value) {
      differences.push_back(absl::StrCat(name, " is ", value, " here, ", found->second, " on rank 0"));
    }
    if (found != expected.end()) expected.erase(found);
  }
  for (const auto& [name, value] : expected) {
    differences.push_back(absl::StrCat(name, " is nothing here, ", value, " on rank 0"));
  }
  return group.Agree(differences.empty()
                         ? absl::OkStatus()
                         : absl::InvalidArgumentError(absl::StrCat("what decides a run must be the same on all ranks: ",
                                                                   Some(differences, "; "))),
                     "comparing settings and data");
}

absl::Status SendReplicas(ProcessGroup& group, const ReplicatedTensors& tensors) {
  if (group.world_size() == 1) return absl::OkStatus();
  c10::NoGradGuard no_grad;
  std::vector<at::Tensor> dense, all;
  for (const auto& [name, tensor] : tensors) {
    all.push_back(tensor.detach());
    dense.push_back(all.back().contiguous());
  }
  TEC_RETURN_IF_ERROR(group.Broadcast(dense, "sending rank 0's state"));
  for (size_t i = 0; i < all.size(); ++i) {
    if (!all[i].is_contiguous()) all[i].copy_(dense[i]);
  }
  return absl::OkStatus();
}

at::Tensor TensorChecksum(const at::Tensor& tensor) {
  c10::NoGradGuard no_grad;
  at::Tensor flat = tensor.detach().contiguous().view({-1});
  switch (flat.element_size()) {
    case 8:
      flat = flat.view(at::kLong);
      break;
    case 4:
      flat = flat.view(at::kInt);
      break;
    case 2:
      flat = flat.view(at::kShort);
      break;
    default:
      flat = flat.view(at::kByte);
  }
  // Integers that wrap around: no order of the sum changes it. The squares tell changes apart that cancel in a plain
  // sum, such as one unit in the last place up here and down there.
  const at::Tensor bits = flat.to(at::kLong);
  return bits.sum() * 0x9E3779B1 + (bits * bits).sum();
}

absl::Status CompareReplicas(ProcessGroup& group, const ReplicatedTensors& tensors, const std::string& when) {
  if (group.world_size() == 1 || tensors.empty()) return absl::OkStatus();
  std::vector<at::Tensor> sums;
  for (const auto& [name, tensor] : tensors) sums.push_back(TensorChecksum(tensor));
  const at::Tensor all = at::stack(sums).cpu().contiguous();
  const std::string mine(reinterpret_cast<const char*>(all.const_data_ptr<int64_t>()), all.nbytes());
  // One number a rank where all is well.
  const auto same = [](const std::vector<std::string>& texts) {
    return std::all_of(texts.begin(), texts.end(), [&](const std::string& text) { return text == texts[0]; });
  };
  TEC_ASSIGN_OR_RETURN(const auto digests,
                       group.Gather(absl::StrCat(Fingerprint().Add(mine).value()), "comparing the ranks' state"));
  if (same(digests)) return absl::OkStatus();
  TEC_ASSIGN_OR_RETURN(const auto texts, group.Gather(mine, "looking for what differs"));
  std::vector<std::string> lines;
  for (size_t i = 0; i < tensors.size(); ++i) {
    std::vector<int> others;
    for (int rank = 1; rank < group.world_size(); ++rank) {
      const absl::string_view sum(texts[rank]), first(texts[0]);
      if (sum.substr(8 * i, 8) != first.substr(8 * i, 8)) others.push_back(rank);
    }
    if (!others.empty()) lines.push_back(absl::StrCat(tensors[i].first, " on ", RankNames(others)));
  }
  return absl::DataLossError(absl::StrCat("the ranks' copies of the state differ ", when, ": ", Some(lines, ", "),
                                          " from rank 0's. A fault of a processor or its memory, or ranks on different "
                                          "kinds of machines; go on from the newest checkpoint, without the machine"));
}

}  // namespace tec
