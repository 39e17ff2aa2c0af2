#include "tec/config/flag_parser.h"

#include <algorithm>
#include <cstdint>
#include <map>

#include "absl/flags/commandlineflag.h"
#include "absl/flags/reflection.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "google/protobuf/descriptor.h"
#include "tec/base/logging.h"
#include "tec/base/status.h"
#include "tec/config/text.h"

namespace tec {
namespace {

using google::protobuf::EnumValueDescriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

constexpr size_t kHelpWidth = 100;
constexpr size_t kHelpIndent = 8;

absl::CommandLineFlag& FindFlag(const std::string& name) {
  absl::CommandLineFlag* flag = absl::FindCommandLineFlag(name);
  TEC_CHECK(flag != nullptr) << "no ABSL_FLAG " << name;
  return *flag;
}

bool IsSwitch(const absl::CommandLineFlag& flag) { return flag.IsOfType<bool>(); }

absl::Status SetFlag(absl::CommandLineFlag& flag, const std::string& value) {
  std::string error;
  if (flag.ParseFrom(value, &error)) return absl::OkStatus();
  const char* expected = flag.IsOfType<int64_t>()  ? "a whole number"
                         : flag.IsOfType<double>() ? "a number"
                         : IsSwitch(flag)          ? "true or false"
                                                   : "a valid value";
  return absl::InvalidArgumentError(absl::StrCat("--", flag.Name(), "=", value, ": \"", value, "\" is not ", expected));
}

// What others call a number's type, as it is called here; else `name`.
std::string FullName(const std::string& name) {
  static const auto* names = new std::map<std::string, std::string>{
      {"bf16", "bfloat16"}, {"fp16", "float16"}, {"f16", "float16"}, {"half", "float16"},
      {"amp", "float16"},   {"fp32", "float32"}, {"f32", "float32"}, {"full", "float32"}};
  const auto found = names->find(absl::AsciiStrToLower(name));
  return found == names->end() ? name : found->second;
}

// Sets the field that `path` ("a.b.c") leads to.
absl::Status SetField(const std::string& flag, const std::string& path, const std::string& value, Message* message) {
  const std::vector<std::string> names = absl::StrSplit(path, '.');
  for (size_t i = 0; i < names.size(); ++i) {
    const FieldDescriptor* field = message->GetDescriptor()->FindFieldByName(names[i]);
    TEC_CHECK(field != nullptr) << "--" << flag << ": no field " << path;
    const Reflection* reflection = message->GetReflection();
    if (i + 1 < names.size()) {
      message = reflection->MutableMessage(message, field);
      continue;
    }
    if (field->is_repeated()) {
      TEC_CHECK(field->cpp_type() == FieldDescriptor::CPPTYPE_DOUBLE) << path;
      reflection->ClearField(message, field);
      for (absl::string_view part : absl::StrSplit(value, absl::ByAnyChar(", "), absl::SkipEmpty())) {
        double number;
        if (!absl::SimpleAtod(part, &number)) {
          return absl::InvalidArgumentError(absl::StrCat("--", flag, ": \"", part, "\" is not a number"));
        }
        reflection->AddDouble(message, field, number);
      }
      continue;
    }
    switch (field->cpp_type()) {
      case FieldDescriptor::CPPTYPE_BOOL:
        reflection->SetBool(message, field, value == "true");
        break;
      case FieldDescriptor::CPPTYPE_INT64: {
        int64_t number;
        TEC_CHECK(absl::SimpleAtoi(value, &number)) << "--" << flag << " " << value;
        reflection->SetInt64(message, field, number);
        break;
      }
      case FieldDescriptor::CPPTYPE_DOUBLE: {
        double number;
        TEC_CHECK(absl::SimpleAtod(value, &number)) << "--" << flag << " " << value;
        reflection->SetDouble(message, field, number);
        break;
      }
      case FieldDescriptor::CPPTYPE_STRING:
        reflection->SetString(message, field, value);
        break;
      case FieldDescriptor::CPPTYPE_ENUM: {
        if (value.empty()) {  // The default of --precision: to be chosen.
          reflection->ClearField(message, field);
          break;
        }
        const EnumValueDescriptor* chosen = field->enum_type()->FindValueByName(absl::AsciiStrToUpper(value));
        if (chosen == nullptr || chosen->number() == 0) {
          std::vector<std::string> known;
          for (int k = 1; k < field->enum_type()->value_count(); ++k) {
            known.push_back(absl::AsciiStrToLower(field->enum_type()->value(k)->name()));
          }
          return absl::InvalidArgumentError(absl::StrCat("--", flag, "=", value, ": unknown value",
                                                         DidYouMean(FullName(value), known),
                                                         " (known: ", absl::StrJoin(known, ", "), ")"));
        }
        reflection->SetEnum(message, field, chosen);
        break;
      }
      default:
        TEC_LOG(FATAL) << "--" << flag << ": no flag sets a field of the type of " << path;
    }
  }
  return absl::OkStatus();
}

// `text` in lines of at most kHelpWidth, each after kHelpIndent spaces.
std::string Wrapped(absl::string_view text) {
  std::string wrapped, line;
  const auto end_line = [&] {
    if (!line.empty()) absl::StrAppend(&wrapped, std::string(kHelpIndent, ' '), line, "\n");
    line.clear();
  };
  for (absl::string_view word : absl::StrSplit(text, ' ', absl::SkipEmpty())) {
    if (kHelpIndent + line.size() + 1 + word.size() > kHelpWidth) end_line();
    absl::StrAppend(&line, line.empty() ? "" : " ", word);
  }
  end_line();
  return wrapped;
}

}  // namespace

bool ParsedFlags::Given(absl::string_view name) const {
  return std::find(given.begin(), given.end(), name) != given.end();
}

absl::StatusOr<ParsedFlags> ParseFlags(int argc, const char* const* argv, const std::vector<FlagGroup>& groups,
                                       std::vector<std::string>* words) {
  std::map<std::string, const FlagSpec*> specs;
  std::vector<std::string> dashed;  // For suggestions.
  for (const FlagGroup& group : groups) {
    for (const FlagSpec& spec : group.flags) {
      TEC_CHECK(specs.emplace(spec.name, &spec).second) << "--" << spec.name << " is listed twice";
      dashed.push_back("--" + spec.name);
      absl::CommandLineFlag& flag = FindFlag(spec.name);
      TEC_RETURN_IF_ERROR(SetFlag(flag, flag.DefaultValue()));
    }
  }
  dashed.push_back("--help");

  ParsedFlags parsed;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    absl::string_view name = argument;
    if (!absl::ConsumePrefix(&name, "-") || name.empty()) {
      if (words != nullptr) {
        words->push_back(argument);
        continue;
      }
      return absl::InvalidArgumentError(absl::StrCat("stray argument \"", argument,
                                                     "\"; flags are written --flag value or --flag=value, switches "
                                                     "--switch or --switch=false (--help lists them)"));
    }
    absl::ConsumePrefix(&name, "-");
    bool has_value = false;
    std::string value;
    if (const size_t equals = name.find('='); equals != absl::string_view::npos) {
      has_value = true;
      value = std::string(name.substr(equals + 1));
      name = name.substr(0, equals);
    }
    if (name == "help" || name == "h") {
      parsed.help = true;
      continue;
    }
    auto found = specs.find(std::string(name));
    if (found == specs.end() && !has_value && absl::ConsumePrefix(&name, "no")) {
      found = specs.find(std::string(name));
      if (found != specs.end() && !IsSwitch(FindFlag(found->first))) found = specs.end();
      has_value = true;
      value = "false";
    }
    if (found == specs.end()) {
      const std::string written = argument.substr(0, argument.find('='));
      return absl::InvalidArgumentError(
          absl::StrCat("unknown flag ", written, DidYouMean(written, dashed), " (--help lists all flags)"));
    }
    const FlagSpec& spec = *found->second;
    absl::CommandLineFlag& flag = FindFlag(spec.name);
    if (!has_value && IsSwitch(flag)) {
      value = "true";
    } else if (!has_value) {
      if (i + spec.values >= argc) {
        return absl::InvalidArgumentError(absl::StrCat(
            "--", spec.name, " needs ", spec.values == 1 ? "a value" : absl::StrCat(spec.values, " values")));
      }
      value = absl::StrJoin(argv + i + 1, argv + i + 1 + spec.values, ",");
      i += spec.values;
    }
    TEC_RETURN_IF_ERROR(SetFlag(flag, value));
    parsed.given.erase(std::remove(parsed.given.begin(), parsed.given.end(), spec.name), parsed.given.end());
    parsed.given.push_back(spec.name);
  }
  return parsed;
}

absl::Status ApplyFlags(const ParsedFlags& parsed, const std::vector<FlagGroup>& groups, Message* message) {
  for (const std::string& name : parsed.given) {
    for (const FlagGroup& group : groups) {
      for (const FlagSpec& spec : group.flags) {
        if (spec.name != name || spec.field.empty()) continue;
        std::string value = FindFlag(name).CurrentValue();
        if (spec.negated) value = value == "true" ? "false" : "true";
        TEC_RETURN_IF_ERROR(SetField(name, spec.field, value, message));
      }
    }
  }
  return absl::OkStatus();
}

std::string DescribeFlags(const std::vector<FlagGroup>& groups) {
  std::string text;
  for (const FlagGroup& group : groups) {
    absl::StrAppend(&text, "\n", group.title, "\n");
    for (const FlagSpec& spec : group.flags) {
      const absl::CommandLineFlag& flag = FindFlag(spec.name);
      const std::string standard = flag.DefaultValue();
      absl::StrAppend(&text, "  --", spec.name);
      if (!IsSwitch(flag)) absl::StrAppend(&text, "=", standard.empty() ? "\"\"" : standard);
      if (IsSwitch(flag)) absl::StrAppend(&text, standard == "true" ? "  (on)" : "  (off)");
      absl::StrAppend(&text, "\n", Wrapped(flag.Help()));
    }
  }
  return text;
}

}  // namespace tec
