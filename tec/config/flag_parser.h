// From a command line to the fields of a message.
//
// The flags themselves are Abseil's (ABSL_FLAG). The walk over the command line is ours, by Abseil's reflection,
// because absl::ParseCommandLine ends the process on a mistake, does not tell which flags were given, and has no flag
// with two values.

#ifndef TEC_CONFIG_FLAG_PARSER_H_
#define TEC_CONFIG_FLAG_PARSER_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "google/protobuf/message.h"

namespace tec {

struct FlagSpec {
  std::string name;
  std::string field = "";  // "optimizer.batch_size": the field it sets; empty: the caller does something with it.
  bool negated = false;    // A switch that sets its field to false.
  int values = 1;          // Arguments that `--flag value ...` takes.
};

struct FlagGroup {
  std::string title;
  std::vector<FlagSpec> flags;
};

struct ParsedFlags {
  bool help = false;
  std::vector<std::string> given;  // Each once, in the order of the last time it was given.

  bool Given(absl::string_view name) const;
};

// Sets the flags of `groups` to what the command line says, the others of them to their defaults. Understands
// `--flag value`, `--flag=value`, one dash for two, `--switch`, `--noswitch` and `--switch=false`; later wins. Errors:
// InvalidArgument for an unknown flag (with the nearest), a flag without or with a wrong value, a stray argument.
// With `words`, arguments that are neither flags nor their values go there instead.
absl::StatusOr<ParsedFlags> ParseFlags(int argc, const char* const* argv, const std::vector<FlagGroup>& groups,
                                       std::vector<std::string>* words = nullptr);

// Puts the values of the given flags into their fields of `message`. Errors: InvalidArgument for an unknown name of an
// enum's value (with the nearest).
absl::Status ApplyFlags(const ParsedFlags& parsed, const std::vector<FlagGroup>& groups,
                        google::protobuf::Message* message);

// The flags by group: name, default, help, wrapped at 100 columns.
std::string DescribeFlags(const std::vector<FlagGroup>& groups);

}  // namespace tec

#endif  // TEC_CONFIG_FLAG_PARSER_H_
