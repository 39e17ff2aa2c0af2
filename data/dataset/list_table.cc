#include "data/dataset/list_table.h"

#include <algorithm>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "data/dataset/names.h"

namespace tec {
namespace {

constexpr absl::string_view kPaths =
    "path paths file files filename filenames file_name file_names filepath filepaths file_path file_paths image "
    "images "
    "image_path image_paths image_file image_filename image_name imagepath img img_path img_name picture pictures "
    "photo photos";
constexpr absl::string_view kNames = "image_id img_id id name";  // Where nothing better is there.
constexpr absl::string_view kLabels =
    "label labels class classes class_id class_name class_idx class_index class_label label_id label_idx label_name "
    "target targets category categories category_id category_name y";
constexpr absl::string_view kParts = "split splits set subset data_set dataset partition part usage";
constexpr absl::string_view kIsTrain = "is_train is_training istrain";
// "train" alone may say that a railway train is to be seen, as tables of classes have it.
constexpr absl::string_view kFolds = "fold folds kfold is_val is_valid is_validation is_test train training";

bool IsOneOf(absl::string_view word, absl::string_view words) {
  // "data set" and "data-set", too.
  std::string lower = absl::AsciiStrToLower(word);
  std::replace_if(
      lower.begin(), lower.end(), [](char c) { return c == ' ' || c == '-'; }, '_');
  return absl::StrContains(absl::StrCat(" ", words, " "), absl::StrCat(" ", lower, " "));
}

// Characters of several bytes that are as blank as a blank, at the beginning of `text`; 0: none.
size_t WideBlank(absl::string_view text) {
  constexpr absl::string_view kBlanks[] = {"\u00A0", "\u1680", "\u2000", "\u2001", "\u2002", "\u2003", "\u2004",
                                           "\u2005", "\u2006", "\u2007", "\u2008", "\u2009", "\u200A", "\u200B",
                                           "\u202F", "\u205F", "\u2060", "\u3000", "\uFEFF"};
  if (text.empty() || absl::ascii_isprint(text[0])) return 0;
  for (const absl::string_view blank : kBlanks) {
    if (absl::StartsWith(text, blank)) return blank.size();
  }
  return 0;
}

// Fields of a line, apart by `separator`; quotes keep what is in them together, two stand for one. False for a quote
// that does not end.
bool SplitFields(absl::string_view line, char separator, std::vector<std::string>* fields) {
  fields->assign(1, "");
  for (size_t i = 0; i < line.size(); ++i) {
    std::string& field = fields->back();
    if (line[i] == separator) {
      fields->emplace_back();
    } else if (line[i] == '"' && StripWideBlanks(field).empty()) {
      field.clear();
      for (++i;; ++i) {
        if (i >= line.size()) return false;
        if (line[i] != '"') {
          field += line[i];
        } else if (i + 1 < line.size() && line[i + 1] == '"') {
          field += line[i++];
        } else {
          break;
        }
      }
    } else {
      field += line[i];
    }
  }
  for (std::string& field : *fields) field = std::string(absl::StripAsciiWhitespace(field));
  return true;
}

std::optional<size_t> FindColumn(const std::vector<std::string>& names, absl::string_view words) {
  const auto found = std::find_if(names.begin(), names.end(), [&](const auto& name) { return IsOneOf(name, words); });
  return found == names.end() ? std::nullopt : std::optional<size_t>(found - names.begin());
}

}  // namespace

absl::string_view StripWideBlanks(absl::string_view text) {
  for (bool more = true; more && !text.empty();) {
    const absl::string_view before = text;
    text = absl::StripAsciiWhitespace(text);
    text.remove_prefix(WideBlank(text));
    for (const size_t size : {2, 3}) {
      if (text.size() >= size && WideBlank(text.substr(text.size() - size)) == size) text.remove_suffix(size);
    }
    more = text.size() < before.size();
  }
  return text;
}

bool SaysNothing(absl::string_view line) {
  const absl::string_view bare = StripWideBlanks(line);
  return bare.empty() || line[0] == '#' || (WideBlank(line) > 0 && bare[0] == '#');
}

bool IsWholeNumber(absl::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789") == absl::string_view::npos;
}

absl::string_view TakeLine(absl::string_view* text, char line_end) {
  const size_t end = std::min(text->find(line_end), text->size());
  const absl::string_view line = text->substr(0, end);
  text->remove_prefix(std::min(end + 1, text->size()));
  return line;
}

std::optional<ListTable> FindListTable(absl::string_view line) {
  for (const char separator : {',', ';', '\t', '|'}) {
    std::vector<std::string> fields;
    if (!absl::StrContains(line, separator) || !SplitFields(line, separator, &fields)) continue;
    for (std::string& field : fields) field = std::string(StripWideBlanks(field));
    ListTable table;
    table.separator = separator;
    std::optional<size_t> path = FindColumn(fields, kPaths);
    if (!path) path = FindColumn(fields, kNames);
    if (path) {
      table.path = *path;
      table.label = FindColumn(fields, kLabels);
      table.part = FindColumn(fields, kIsTrain);
      if (!table.part) table.part = FindColumn(fields, kParts);
      for (size_t i = 0; i < fields.size(); ++i) {
        if (IsOneOf(fields[i], kFolds) || (IsOneOf(fields[i], kParts) && i != table.part)) table.unused.push_back(i);
      }
      table.names = std::move(fields);
      return table;
    }
    // Without a header: a picture and a number.
    if (separator != '\t' && separator != '|' && fields.size() == 2 && IsPictureName(fields[0], false) &&
        IsWholeNumber(fields[1])) {
      table.label = 1;
      return table;
    }
  }
  // "path label", and lines like that; a column alone.
  const std::vector<std::string> words = absl::StrSplit(line, absl::ByAnyChar(" \t"), absl::SkipWhitespace());
  const bool labelled = words.size() == 2 && IsOneOf(words[1], kLabels);
  if ((words.size() == 1 || labelled) && IsOneOf(words[0], kPaths)) {
    ListTable table;
    table.separator = '\0';
    table.names = words;
    return table;
  }
  return std::nullopt;
}

absl::StatusOr<std::vector<std::string>> FieldsOf(absl::string_view line, const ListTable& table) {
  std::vector<std::string> fields;
  if (!SplitFields(line, table.separator, &fields)) return absl::InvalidArgumentError("a quote that does not end");
  const size_t needed = std::max({table.path, table.label.value_or(0), table.part.value_or(0)}) + 1;
  if (fields.size() < needed) return absl::InvalidArgumentError("too few columns");
  for (size_t i = 0; i < fields.size(); ++i) {
    if (i != table.path) fields[i] = std::string(StripWideBlanks(fields[i]));
  }
  const size_t columns = table.has_header() ? table.names.size() : needed;
  while (fields.size() > columns && fields.back().empty()) fields.pop_back();  // Separators at the end.
  if (fields.size() > columns) {
    return absl::InvalidArgumentError(absl::StrCat("more columns than the first line's ", columns, ": a name with a \"",
                                                   std::string(1, table.separator), "\" in it needs quotes around it"));
  }
  return fields;
}

std::string PartOf(absl::string_view name, absl::string_view field) {
  if (IsOneOf(name, kIsTrain)) {
    if (IsOneOf(field, "1 true yes t y 1.0")) return "train";
    return IsOneOf(field, "0 false no f n 0.0") ? "test" : "";
  }
  if (IsOneOf(field, "train training")) return "train";
  if (IsOneOf(field, "val valid validation dev")) return "val";
  return IsOneOf(field, "test testing") ? "test" : "";
}

absl::StatusOr<std::string> PartOfList(absl::string_view text, char line_end, const ListTable& table, Split split,
                                       std::string* unused) {
  std::set<std::string> parts;
  while (table.part && !text.empty()) {
    const absl::string_view line = TakeLine(&text, line_end);
    if (SaysNothing(line)) continue;
    const auto fields = FieldsOf(line, table);
    if (!fields.ok()) continue;  // Which line it is, is said when it is read.
    parts.insert(PartOf(table.names[*table.part], (*fields)[*table.part]));
  }
  // A list of one part is what its user gave it for.
  const bool split_up = parts.size() > 1 && parts.count("") == 0 && parts.count("train") > 0;
  std::vector<std::string> names;
  for (const size_t column : table.unused) names.push_back(table.names[column]);
  if (parts.count("") > 0 || (split_up && split == Split::kWhole)) names.push_back(table.names[*table.part]);
  *unused = absl::StrJoin(names, ", ");
  if (split == Split::kHeldOut && !split_up) {
    return absl::NotFoundError(
        "no column, such as split, that says train of some pictures and val or test of others; or give a folder with "
        "val/ or test/, or files called so (val.txt)");
  }
  if (!split_up || split == Split::kWhole) return "";
  return split == Split::kTrain ? "train" : parts.count("val") > 0 ? "val" : "test";
}

}  // namespace tec
