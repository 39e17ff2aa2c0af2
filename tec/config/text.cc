#include "tec/config/text.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <memory>
#include <tuple>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/io/tokenizer.h"
#include "google/protobuf/io/zero_copy_stream_impl_lite.h"
#include "google/protobuf/text_format.h"
#include "tec/base/file.h"
#include "tec/base/nearest_name.h"

namespace tec {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::EnumDescriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;
using google::protobuf::TextFormat;

constexpr int kRecursionLimit = 100;
constexpr size_t kLargestFile = 1 << 20;

std::string Folded(absl::string_view word) { return absl::StrReplaceAll(absl::AsciiStrToLower(word), {{"-", "_"}}); }

// `message` or one of the messages in it, by full name.
const Descriptor* FindMessage(const Descriptor* message, absl::string_view name) {
  if (message->full_name() == name) return message;
  for (int i = 0; i < message->field_count(); ++i) {
    if (message->field(i)->message_type() == nullptr) continue;
    if (const Descriptor* found = FindMessage(message->field(i)->message_type(), name)) return found;
  }
  return nullptr;
}

// The enum of the first field called `field` in `message` or in the messages in it.
const EnumDescriptor* FindEnum(const Descriptor* message, absl::string_view field) {
  for (int i = 0; i < message->field_count(); ++i) {
    const FieldDescriptor* candidate = message->field(i);
    if (candidate->name() == field && candidate->enum_type() != nullptr) return candidate->enum_type();
    if (candidate->message_type() == nullptr) continue;
    if (const EnumDescriptor* found = FindEnum(candidate->message_type(), field)) return found;
  }
  return nullptr;
}

// Cuts `prefix`, a quoted word and what follows it up to the next quote off `text`.
bool TakeQuoted(absl::string_view* text, absl::string_view prefix, absl::string_view* word) {
  absl::string_view rest = *text;
  if (!absl::ConsumePrefix(&rest, prefix)) return false;
  const size_t quote = rest.find('"');
  if (quote == absl::string_view::npos) return false;
  *word = rest.substr(0, quote);
  *text = rest.substr(quote + 1);
  return true;
}

// Adds the nearest name to the two messages of protobuf's parser that call for one; others stay as they are.
std::string WithSuggestion(const std::string& message, const Descriptor* root) {
  absl::string_view rest = message, first, second;
  if (TakeQuoted(&rest, "Message type \"", &first) && TakeQuoted(&rest, " has no field named \"", &second)) {
    const Descriptor* type = FindMessage(root, first);
    if (type == nullptr) return message;
    std::vector<std::string> names;
    for (int i = 0; i < type->field_count(); ++i) names.push_back(type->field(i)->name());
    const std::string nearest = DidYouMean(second, names);
    return absl::StrCat(type->name(), " has no field named \"", second, "\"",
                        nearest.empty() ? absl::StrCat("; it has ", absl::StrJoin(names, ", ")) : nearest);
  }
  rest = message;
  if (TakeQuoted(&rest, "Unknown enumeration value of \"", &first) && TakeQuoted(&rest, " for field \"", &second)) {
    const EnumDescriptor* type = FindEnum(root, second);
    if (type == nullptr) return message;
    std::vector<std::string> names;
    for (int i = 1; i < type->value_count(); ++i) names.push_back(type->value(i)->name());
    const std::string nearest = DidYouMean(first, names);
    return absl::StrCat("\"", first, "\" is no value of ", second,
                        nearest.empty() ? absl::StrCat("; it may be ", absl::StrJoin(names, ", ")) : nearest);
  }
  return message;
}

// Where the token before the one at (line, column) begins. The parser notices an unknown name when it stands at the
// next token.
std::pair<int, int> TokenBefore(const std::string& text, int line, int column) {
  class : public google::protobuf::io::ErrorCollector {
    void AddError(int, int, const std::string&) override {}
  } ignore;
  google::protobuf::io::ArrayInputStream stream(text.data(), static_cast<int>(text.size()));
  google::protobuf::io::Tokenizer tokenizer(&stream, &ignore);
  // As the text format's parser sets it.
  tokenizer.set_comment_style(google::protobuf::io::Tokenizer::SH_COMMENT_STYLE);
  tokenizer.set_allow_f_after_float(true);
  tokenizer.set_require_space_after_number(false);
  tokenizer.set_allow_multiline_strings(true);
  bool more = tokenizer.Next();
  while (more && (tokenizer.current().line < line ||
                  (tokenizer.current().line == line && tokenizer.current().column < column))) {
    more = tokenizer.Next();
  }
  return {tokenizer.previous().line, tokenizer.previous().column};
}

class Collector : public google::protobuf::io::ErrorCollector {
 public:
  Collector(const std::string& file, const std::string& text, const Descriptor* root)
      : file_(file), text_(text), root_(root) {}

  // Line and column count from 0; line -1 is an error of the file as a whole.
  void AddError(int line, int column, const std::string& message) override {
    const std::string problem = WithSuggestion(message, root_);
    if (line < 0) {
      problems_.push_back(absl::StrCat(file_, ": ", problem));
      return;
    }
    if (problem != message) std::tie(line, column) = TokenBefore(text_, line, column);
    problems_.push_back(absl::StrCat(file_, ":", line + 1, ":", column + 1, ": ", problem));
  }
  void AddWarning(int line, int column, const std::string& message) override { AddError(line, column, message); }

  std::string problems() const { return absl::StrJoin(problems_, "\n"); }

 private:
  const std::string& file_;
  const std::string& text_;
  const Descriptor* root_;
  std::vector<std::string> problems_;
};

}  // namespace

std::string Nearest(absl::string_view word, const std::vector<std::string>& candidates) {
  const std::string folded = Folded(word);
  std::string nearest;
  size_t fewest = std::max<size_t>(2, word.size() / 3) + 1;
  for (const std::string& candidate : candidates) {
    const size_t edits = EditDistance(folded, Folded(candidate));
    // A word of two letters is two edits from every other.
    if (edits < fewest && edits < folded.size()) {
      fewest = edits;
      nearest = candidate;
    }
  }
  return nearest;
}

std::string DidYouMean(absl::string_view word, const std::vector<std::string>& candidates) {
  const std::string nearest = Nearest(word, candidates);
  return nearest.empty() ? "" : absl::StrCat("; did you mean \"", nearest, "\"?");
}

absl::Status ParseText(const std::string& text, const std::string& file, Message* message) {
  if (text.size() > kLargestFile) {
    return absl::InvalidArgumentError(absl::StrCat(file, ": larger than ", kLargestFile, " bytes: not a config file"));
  }
  Collector collector(file, text, message->GetDescriptor());
  TextFormat::Parser parser;
  parser.SetRecursionLimit(kRecursionLimit);
  parser.RecordErrorsTo(&collector);
  if (parser.ParseFromString(text, message)) return absl::OkStatus();
  const std::string problems = collector.problems();
  return absl::InvalidArgumentError(problems.empty() ? absl::StrCat(file, ": not a text protobuf") : problems);
}

absl::StatusOr<std::string> ReadConfigFile(const std::string& path) {
  struct stat info;
  if (stat(path.c_str(), &info) != 0) return ErrnoToStatus(errno, "read", path);
  if (S_ISDIR(info.st_mode)) return absl::InvalidArgumentError(absl::StrCat(path, " is a folder, not a config file"));
  // A pipe may never say anything.
  if (!S_ISREG(info.st_mode)) {
    return absl::InvalidArgumentError(absl::StrCat(path, " is no regular file; write the settings to one"));
  }
  std::ifstream stream(path, std::ios::binary);
  if (!stream) return ErrnoToStatus(errno, "open", path);
  // Not ReadFile: no more than a config file may have is read.
  std::string text(kLargestFile + 1, '\0');
  stream.read(&text[0], static_cast<std::streamsize>(text.size()));
  if (stream.bad()) return ErrnoToStatus(errno, "read", path);
  text.resize(static_cast<size_t>(stream.gcount()));
  if (text.size() > kLargestFile) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": larger than ", kLargestFile, " bytes: not a config file"));
  }
  return text;
}

void MergeOver(const Message& over, Message* base) {
  const Reflection* reflection = over.GetReflection();
  std::vector<const FieldDescriptor*> fields;
  reflection->ListFields(over, &fields);
  const std::unique_ptr<Message> rest(over.New());
  rest->CopyFrom(over);
  for (const FieldDescriptor* field : fields) {
    if (field->is_repeated()) {
      reflection->ClearField(base, field);
    } else if (field->message_type() != nullptr) {
      MergeOver(reflection->GetMessage(over, field), reflection->MutableMessage(base, field));
      reflection->ClearField(rest.get(), field);
    }
  }
  base->MergeFrom(*rest);
}

std::string MessageToText(const Message& message) {
  std::string text;
  TextFormat::PrintToString(message, &text);
  return absl::StrCat("# proto-file: ", message.GetDescriptor()->file()->name(),
                      "\n# proto-message: ", message.GetDescriptor()->full_name(), "\n\n", text);
}

}  // namespace tec
