// Where every setting's default is merged with what a file or a name says, for every kind of run.

#ifndef TEC_CONFIG_DEFAULTS_H_
#define TEC_CONFIG_DEFAULTS_H_

#include <string>

#include "absl/status/statusor.h"
#include "google/protobuf/message.h"
#include "tec/base/status.h"
#include "tec/config/checks.h"
#include "tec/config/text.h"

namespace tec::config_internal {

// Sets in `settings` the defaults that all kinds of runs share, and over them those of the text `own`, which must be
// sound: a kind has there what it alone has, and what it has another value for.
void SetDefaults(const char* own, google::protobuf::Message* settings);

// Settings: config::Experiment, config::Finetune.
template <typename Settings>
class Defaults {
 public:
  // kind: for messages, "pretraining".
  Defaults(const char* own, std::string kind) : kind_(std::move(kind)) { SetDefaults(own, &settings_); }

  const Settings& settings() const { return settings_; }

  // The defaults, replaced by what `over` has.
  Settings Under(const Settings& over) const {
    Settings result = settings_;
    MergeOver(over, &result);
    return result;
  }
  // By what a text has; `file` is what messages call it (ParseSettings).
  absl::StatusOr<Settings> Parse(const std::string& text, const std::string& file) const {
    Settings over;
    TEC_RETURN_IF_ERROR(ParseSettings(text, file, kind_, &over));
    return Under(over);
  }
  // By what an embedded name or a file has, which gives its own name where the text has none.
  absl::StatusOr<Settings> Load(const std::string& name_or_file) const {
    TEC_ASSIGN_OR_RETURN(const Source source, FindSource(name_or_file));
    TEC_ASSIGN_OR_RETURN(Settings settings, Parse(source.text, source.file));
    if (settings.name().empty()) settings.set_name(source.name);
    return settings;
  }

 private:
  std::string kind_;
  Settings settings_;
};

}  // namespace tec::config_internal

#endif  // TEC_CONFIG_DEFAULTS_H_
