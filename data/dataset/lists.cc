#include "data/dataset/lists.h"

#include <unistd.h>

#include <algorithm>
#include <map>
#include <optional>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "data/dataset/foreign.h"
#include "data/dataset/list_table.h"
#include "data/dataset/names.h"
#include "data/dataset/samples.h"
#include "tec/base/logging.h"
#include "tec/base/printable.h"
#include "tec/base/status.h"

namespace tec {
namespace {

constexpr absl::string_view kUtf8Mark("\xEF\xBB\xBF", 3);

// "UTF-16", if the text is in it (or UTF-32); empty for anything else.
std::string WideEncoding(absl::string_view text) {
  const auto starts = [text](const char* mark, size_t size) {
    return absl::StartsWith(text, absl::string_view(mark, size));
  };
  if (starts("\xFF\xFE\0\0", 4) || starts("\0\0\xFE\xFF", 4)) return "UTF-32";
  if (starts("\xFF\xFE", 2) || starts("\xFE\xFF", 2)) return "UTF-16";
  // Without a mark: every other byte of letters is zero.
  const absl::string_view start = text.substr(0, 64);
  if (start.size() < 8) return "";
  int64_t zeros[2] = {0, 0};
  for (size_t i = 0; i < start.size(); ++i) zeros[i % 2] += start[i] == '\0';
  const auto half = static_cast<int64_t>(start.size() / 2);
  const bool wide = std::max(zeros[0], zeros[1]) * 10 > half * 9 && std::min(zeros[0], zeros[1]) == 0;
  return wide ? "UTF-16" : "";
}

struct Line {
  std::string path, label;  // The label as it is written; empty: none.
};

// A line of a list that is no table: a path, or the path, a tab or a blank and a whole number.
absl::StatusOr<Line> ParseLine(absl::string_view text) {
  Line line;
  absl::string_view rest;
  if (absl::StartsWith(text, "\"")) {
    size_t end = 1;
    for (; end < text.size() && (text[end] != '"' || (end + 1 < text.size() && text[end + 1] == '"')); ++end) {
      line.path += text[end];
      if (text[end] == '"') ++end;
    }
    if (end >= text.size()) return absl::InvalidArgumentError("a quote that does not end");
    rest = text.substr(end + 1);
    if (!rest.empty() && rest[0] != ' ' && rest[0] != '\t') {
      return absl::InvalidArgumentError("something other than a blank or tab after the quoted path");
    }
    line.label = std::string(absl::StripAsciiWhitespace(rest));
    return line;
  }
  const size_t tab = text.rfind('\t'), blank = text.rfind(' ');
  absl::string_view path = text;
  if (tab != absl::string_view::npos) {
    path = text.substr(0, tab);
    line.label = std::string(absl::StripAsciiWhitespace(text.substr(tab + 1)));
  } else if (blank != absl::string_view::npos && IsWholeNumber(text.substr(blank + 1))) {
    path = text.substr(0, blank);
    line.label = std::string(text.substr(blank + 1));
  }
  line.path = std::string(absl::StripAsciiWhitespace(path));
  return line;
}

// Whether the list at `list` finds a file called so.
bool IsThere(const std::string& list, const std::string& name) {
  const size_t slash = list.rfind('/');
  const std::string folder = slash == std::string::npos ? "" : list.substr(0, slash + 1);
  return access((absl::StartsWith(name, "/") ? name : folder + name).c_str(), F_OK) == 0;
}

// `text` without the blanks of several bytes at its ends, unless the list finds a file that is called so.
absl::string_view WithoutWideBlanks(const std::string& list, absl::string_view text) {
  const absl::string_view bare = StripWideBlanks(text);
  return bare.size() == absl::StripAsciiWhitespace(text).size() || IsThere(list, std::string(text)) ? text : bare;
}

// Where the name of a picture ends in `text` and something follows that belongs to no name; npos: nowhere.
size_t EndOfPicture(absl::string_view text) {
  for (size_t dot = text.find('.'); dot != absl::string_view::npos; dot = text.find('.', dot + 1)) {
    for (size_t end = dot + 4; end <= dot + 5 && end < text.size(); ++end) {
      const char next = text[end];
      if (IsPictureName(text.substr(0, end), false) && !absl::ascii_isalnum(next) &&
          !absl::StrContains("._-/\\(", next)) {
        return end;
      }
    }
  }
  return absl::string_view::npos;
}

// What a line is that means a picture and something else, or no picture, in another way than lists have it; empty for
// one that may be what it says. Files may be called anything: one that is there is none of these.
std::string Misread(const std::string& list, const std::string& name, const std::string& label) {
  if (const std::string what = ForeignAddress(name); !what.empty()) return absl::StrCat(name, " is ", what);
  const bool json = absl::StartsWith(name, "{") || absl::StartsWith(name, "[");
  const bool quoted = name.size() > 1 && name.front() == '\'' && name.back() == '\'';
  const size_t end = EndOfPicture(name), blank = name.find_first_of(" ,;\t");
  const bool label_first = blank != std::string::npos && IsWholeNumber(absl::string_view(name).substr(0, blank));
  if (!(json || quoted || end != std::string::npos || label_first) || IsThere(list, name)) return "";
  if (json) return "JSON: write a table, whose first line is path,label";
  if (quoted) return absl::StrCat("single quotes: write ", name, " without them, or between double ones");
  if (end != std::string::npos) {
    const absl::string_view rest = absl::StripLeadingAsciiWhitespace(absl::string_view(name).substr(end));
    if (label.empty() && IsWholeNumber(rest)) {
      return absl::StrCat("quotes around a path and its label: write \"", name.substr(0, end), "\" ", rest);
    }
    return absl::StrCat(
        "after the picture ", name.substr(0, end), " stands \"", rest, label.empty() ? "" : " ", label,
        "\": what may follow is a blank or tab and one whole number from 0, the label; for anything else, "
        "as classes by name, write a table, whose first line is path,label");
  }
  if (!IsThere(list, name.substr(blank + 1))) return "";
  return absl::StrCat("the label stands before the picture ", name.substr(blank + 1),
                      ": a line is a path, then its label");
}

// The suffix of pictures with which the list finds a file that is not there without; empty: none.
std::string MissingSuffix(const std::string& list, const std::string& name) {
  if (IsPictureName(name, false) || IsThere(list, name)) return "";
  for (const absl::string_view suffix : kPictureExtensions) {
    for (const std::string& written : {std::string(suffix), absl::AsciiStrToUpper(suffix)}) {
      if (IsThere(list, name + written)) return written;
    }
  }
  return IsThere(list, name + ".JPEG") ? ".JPEG" : "";
}

}  // namespace

absl::StatusOr<Catalogue> CatalogueList(absl::string_view text, const std::string& path, Split split, bool labels,
                                        Scan* scan) {
  if (const std::string encoding = WideEncoding(text); !encoding.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, " is text in ", encoding, ": save it as UTF-8 (iconv -f ", encoding, " -t UTF-8)"));
  }
  if (absl::StartsWith(text, kUtf8Mark)) text.remove_prefix(kUtf8Mark.size());
  // The first Macintosh ended lines so, and some spreadsheets do.
  const char line_end = !absl::StrContains(text, '\n') && absl::StrContains(text, '\r') ? '\r' : '\n';
  Catalogue catalogue;
  if (absl::EndsWith(text, "\x1A")) text.remove_suffix(1);  // The end of a text, once, in DOS.
  std::optional<ListTable> table;
  std::string part, first_line;          // The part that is read, empty: all.
  std::map<std::string, int32_t> names;  // Of classes, where labels are no numbers.
  std::vector<std::string> label_of;     // Of each picture, as written.
  bool numbers = true, backslashes = false;
  std::string suffix;  // That its paths lack.
  int32_t largest = -1;
  int64_t line_number = 0, labelled_line = 0, unlabelled_line = 0, odd_line = 0;
  while (!text.empty()) {
    ++line_number;
    const absl::string_view whole = TakeLine(&text, line_end);
    const auto error = [&](absl::string_view what) {
      return absl::InvalidArgumentError(absl::StrCat(path, ":", line_number, ": ", what));
    };
    if (SaysNothing(whole)) continue;
    const absl::string_view line = WithoutWideBlanks(path, absl::StripTrailingAsciiWhitespace(whole));
    if (line.find('\0') != absl::string_view::npos) return error("a zero byte: this is no list of files");
    if (odd_line == 0 && ToUtf8(line) != line) odd_line = line_number;
    const bool first = first_line.empty();
    if (first) {
      first_line = std::string(line);
      table = FindListTable(line);
      if (split == Split::kHeldOut || (table && table->has_header())) {
        std::string unused;
        absl::StatusOr<std::string> found = PartOfList(text, line_end, table.value_or(ListTable()), split, &unused);
        TEC_RETURN_IF_ERROR(Annotate(found.status(), absl::StrCat("no held-out pictures in ", path)));
        part = *std::move(found);
        std::string taken = "the pictures of all its lines";
        if (!part.empty()) {
          taken = absl::StrCat("the pictures whose column ", Printable(table->names[*table->part]), " says ", part);
          TEC_LOG(INFO) << path << ": " << taken;
        }
        if (!unused.empty()) {
          TEC_LOG(WARNING) << path << ": " << taken << " are taken, whatever stands in its column " << Printable(unused)
                           << (part.empty() && split != Split::kWhole
                                   ? "; a column split may say train, val or test of each"
                                   : "");
        }
      }
    }
    if (first && table && table->has_header()) {
      TEC_LOG(INFO) << path << ": its first line is taken for the names of columns: " << Printable(line);
      if (!table->label && table->separator != '\0') {
        catalogue.why_unlabelled =
            absl::StrCat("none of its columns (", Printable(line), ") is called label, class, category or target");
      }
      continue;
    }
    Line parsed;
    if (table && table->separator != '\0') {
      const auto fields = FieldsOf(whole, *table);
      if (!fields.ok()) return error(fields.status().message());
      if (!part.empty() && PartOf(table->names[*table->part], (*fields)[*table->part]) != part) continue;
      parsed.path = (*fields)[table->path];
      if (table->label) parsed.label = (*fields)[*table->label];
    } else {
      const absl::StatusOr<Line> one = ParseLine(line);
      if (!one.ok()) return error(one.status().message());
      parsed = *one;
    }
    parsed.path = std::string(WithoutWideBlanks(path, parsed.path));
    if (parsed.path.empty()) return error("no path before the label");
    if (absl::StrContains(parsed.path, '\\')) {
      const std::string slashes = absl::StrReplaceAll(parsed.path, {{"\\", "/"}});
      if (!backslashes && !IsThere(path, parsed.path) && IsThere(path, slashes)) {
        TEC_LOG(INFO) << path << ": its backslashes are taken for slashes, as Windows has them: " << parsed.path;
        backslashes = true;
      }
      if (backslashes) parsed.path = slashes;
    }
    if (std::string what = Misread(path, parsed.path, parsed.label); !what.empty()) {
      if (catalogue.size() == 1 && line_number == 2 && !IsThere(path, std::string(catalogue.name(0)))) {
        absl::StrAppend(&what, "; its first line, \"", first_line, "\", names no column that is known");
      }
      return error(Printable(what));
    }
    if (catalogue.size() == 0) {
      suffix = MissingSuffix(path, parsed.path);
      if (!suffix.empty()) {
        TEC_LOG(INFO) << path << ": " << suffix << " is added to its names, which have no such suffix: " << parsed.path;
      }
    }
    if (!suffix.empty() && !IsPictureName(parsed.path, false)) parsed.path += suffix;
    int32_t label = -1;
    // As programs write whole numbers in a column that lacks some.
    if (const size_t dot = parsed.label.find('.'); dot != std::string::npos &&
                                                   parsed.label.find_first_not_of('0', dot + 1) == std::string::npos &&
                                                   IsWholeNumber(absl::string_view(parsed.label).substr(0, dot))) {
      parsed.label.resize(dot);
    }
    if (!parsed.label.empty()) {
      if (IsWholeNumber(parsed.label)) {
        if (!absl::SimpleAtoi(parsed.label, &label) || label >= kMaxClasses) {
          return error(absl::StrCat("label ", parsed.label, " is not below ", kMaxClasses));
        }
      } else if (table && table->has_header()) {
        if (parsed.label[0] == '-' && IsWholeNumber(absl::string_view(parsed.label).substr(1))) {
          return error(absl::StrCat("label ", parsed.label, " is negative: labels are whole numbers from 0, or names"));
        }
        numbers = false;
        label = 0;
      } else {
        return error(absl::StrCat("label \"", Printable(parsed.label), "\" is not a whole number from 0"));
      }
    }
    const size_t slash = parsed.path.rfind('/');
    if (scan->LeavesOut(parsed.path, absl::string_view(parsed.path).substr(slash == std::string::npos ? 0 : slash + 1),
                        false)) {
      continue;
    }
    (label >= 0 ? labelled_line : unlabelled_line) = line_number;
    if (labels && labelled_line > 0 && unlabelled_line > 0) {
      return error(absl::StrCat("line ", labelled_line, " has a label and line ", unlabelled_line,
                                " has none: all lines need one, or none"));
    }
    largest = std::max(largest, label);
    catalogue.Add(parsed.path, labels ? label : -1);
    if (labels && table && table->has_header() && label >= 0) label_of.push_back(parsed.label);
  }
  if (odd_line > 0) {
    TEC_LOG(WARNING) << path << ":" << odd_line
                     << ": no UTF-8: if files are not found, their names have another encoding than the list; "
                        "iconv -f LATIN1 -t UTF-8 is the usual cure";
  }
  if (catalogue.size() == 0) {
    return absl::NotFoundError(absl::StrCat("no pictures in ", path, ": looked for a list file, one path a line"));
  }
  if (!labels) return catalogue;
  if (const absl::Status status = CheckLargestLabel(largest, catalogue.size()); numbers && !status.ok()) {
    return Annotate(status, path);
  }
  if (!numbers) {
    // Numbered in the bytewise order of their names, as class folders are.
    for (const std::string& name : label_of) names.emplace(name, 0);
    for (auto& [name, number] : names) {
      number = static_cast<int32_t>(catalogue.classes.size());
      catalogue.classes.push_back(name);
    }
    for (size_t i = 0; i < label_of.size(); ++i) catalogue.labels[i] = names[label_of[i]];
    return catalogue;
  }
  for (int32_t i = 0; i <= largest; ++i) catalogue.classes.push_back(absl::StrCat(i));
  if (const std::string empty = EmptyClasses(catalogue); !empty.empty()) TEC_LOG(WARNING) << path << ": " << empty;
  return catalogue;
}

}  // namespace tec
