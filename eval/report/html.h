// HTML from outside text and bytes. A page made with these needs no other file, no script and no network.

#ifndef TEC_EVAL_REPORT_HTML_H_
#define TEC_EVAL_REPORT_HTML_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace tec {

// `text` as it is to be read, in an element or in a quoted attribute: &, <, >, " and ' as entities, control characters
// and bytes that are not UTF-8 as \xNN.
std::string HtmlText(absl::string_view text);

// "data:image/png;base64,...".
std::string DataUri(absl::string_view mime_type, absl::string_view bytes);

// A table; the first row is its head. Cells are HTML: use HtmlText for what is not.
std::string HtmlTable(const std::vector<std::vector<std::string>>& rows);

// A whole page: light or dark as the reader's system is, readable on a telephone. `title` is text, `body` HTML.
std::string HtmlPage(absl::string_view title, absl::string_view body);

}  // namespace tec

#endif  // TEC_EVAL_REPORT_HTML_H_
