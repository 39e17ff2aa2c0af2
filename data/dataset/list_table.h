// Lists that are tables: which columns hold the path, the label and the part of the data set.

#ifndef TEC_DATA_DATASET_LIST_TABLE_H_
#define TEC_DATA_DATASET_LIST_TABLE_H_

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "data/dataset/dataset.h"

namespace tec {

struct ListTable {
  char separator = ',';  // Zero: a header above lines that are no table.
  size_t path = 0;       // Columns, from 0.
  std::optional<size_t> label;
  std::optional<size_t> part;      // Such as "split" or "is_train".
  std::vector<size_t> unused;      // Columns that say in other ways for what a picture is meant: "fold".
  std::vector<std::string> names;  // Of the columns; empty without a header.

  bool has_header() const { return !names.empty(); }
};

// The table that the first line of a list begins; nullopt if it is a path, and perhaps a label after a blank or tab.
std::optional<ListTable> FindListTable(absl::string_view line);

// Without the blanks of any kind at its ends: pages and word processors leave such.
absl::string_view StripWideBlanks(absl::string_view text);

// Whether a line of a list is blank or a comment.
bool SaysNothing(absl::string_view line);

// The fields of a line of it as it stands in the list, without the blanks at their ends; but the path keeps those that
// are no ASCII, as a file may be called so. InvalidArgument for a quote that does not end, and for fewer fields than
// are needed or more than there are columns: a name with a separator in it would be taken for two.
absl::StatusOr<std::vector<std::string>> FieldsOf(absl::string_view line, const ListTable& table);

// "train", "val" or "test" for what stands in the column `name`; empty: nothing known.
std::string PartOf(absl::string_view name, absl::string_view field);

// Which part of `table`, a list whose lines behind the header are `text`, `split` is; empty: all of it, because the
// table knows no parts or `split` is kWhole. `*unused`: names of the columns that may say which pictures are meant and
// are not obeyed, with commas; empty: none. NotFound for held-out pictures where there are none.
absl::StatusOr<std::string> PartOfList(absl::string_view text, char line_end, const ListTable& table, Split split,
                                       std::string* unused);

bool IsWholeNumber(absl::string_view text);

// Takes a line off the front of `text`, without its end.
absl::string_view TakeLine(absl::string_view* text, char line_end);

}  // namespace tec

#endif  // TEC_DATA_DATASET_LIST_TABLE_H_
