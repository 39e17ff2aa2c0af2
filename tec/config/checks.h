// What the two kinds of runs, pretraining and finetuning, share in filling in and checking their settings.

#ifndef TEC_CONFIG_CHECKS_H_
#define TEC_CONFIG_CHECKS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "google/protobuf/message.h"
#include "tec/config/config.h"
#include "tec/config/experiment.pb.h"

namespace tec::config_internal {

// Collects what is wrong, to be told all at once.
class Problems {
 public:
  void Add(std::string problem) { problems_.push_back(std::move(problem)); }
  void AddIf(bool wrong, std::string problem) {
    if (wrong) Add(std::move(problem));
  }
  // `field` is a whole number in [least, most].
  void Range(absl::string_view field, int64_t value, int64_t least, int64_t most);
  // `field` is in [least, most]; a NaN is left to NotFinite, which finds all of them.
  void Range(absl::string_view field, double value, double least, double most);
  // Every floating-point field anywhere in `message` is finite.
  void NotFinite(const google::protobuf::Message& message, const std::string& prefix = "");
  // What `other` lists, each with `prefix` before it.
  void Append(absl::string_view prefix, const Problems& other);
  // OK, or InvalidArgument: the problem on one line, or their number and one line each.
  absl::Status ToStatus(absl::string_view what) const;

 private:
  std::vector<std::string> problems_;
};

// Each checks one part; `path` is what the part is called.
void CheckEncoder(const std::string& path, const config::Vit& vit, bool sincos_positions, Problems* problems);
void CheckData(const config::Data& data, Paths paths, Problems* problems);
void CheckOptimizer(const config::Optimizer& optimizer, Problems* problems);
void CheckSchedule(const config::Schedule& schedule, Problems* problems);
void CheckCheckpointing(const config::Checkpointing& checkpointing, Problems* problems);
void CheckLogging(const config::Logging& logging, Problems* problems);
void CheckRuntime(const config::Runtime& runtime, Problems* problems);

// The shape of a named encoder: "tiny_patch16", "base_patch16", "huge_patch14", ...; null if there is none.
struct NamedEncoder {
  const char* name;
  int64_t patch_size, width, depth, heads;
};
const std::vector<NamedEncoder>& NamedEncoders();
const NamedEncoder* FindEncoder(absl::string_view name);

// Fills in what is unset.
void FillEncoder(const NamedEncoder& named, config::Vit* vit);
void FillRun(const Machine& machine, config::Logging* logging, config::Runtime* runtime);

// The text of an embedded name (its file is experiments/<name>.textproto) or of a file, whose path is taken from where
// the user stands (tec/base/path.h).
struct Source {
  std::string name;  // For an embedded one its name, for a file its name without folders and ".textproto".
  std::string file;  // For messages.
  std::string text;
};
absl::StatusOr<Source> FindSource(const std::string& name_or_file);

// Whether the text declares itself with a line "# proto-message: <full_name>"; true without any such line if
// `otherwise`.
bool Declares(const std::string& text, absl::string_view full_name, bool otherwise);

// Reads into `settings`, a config::Experiment or config::Finetune, what `text` says: it is one, or a row of the table
// (row.proto) with one in it. InvalidArgument if it declares itself as something else, where `what` is needed.
absl::Status ParseSettings(const std::string& text, const std::string& file, absl::string_view what,
                           google::protobuf::Message* settings);

}  // namespace tec::config_internal

#endif  // TEC_CONFIG_CHECKS_H_
