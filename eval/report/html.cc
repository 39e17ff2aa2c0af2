#include "eval/report/html.h"

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "tec/base/printable.h"

namespace tec {
namespace {

// The policy is for readers: whatever stood in the page by mistake, nothing is fetched or run.
constexpr char kHead[] = R"(<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<style>
:root { --text: #1c1e21; --back: #ffffff; --soft: #f3f4f6; --line: #d5d8dd; --mark: #0b57d0; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e4e6ea; --back: #16181c; --soft: #22252b; --line: #3a3f47; --mark: #8ab4f8; }
}
body { margin: 0 auto; max-width: 76rem; padding: 0 1rem 3rem; font: 16px/1.5 system-ui, sans-serif;
  color: var(--text); background: var(--back); }
h1 { font-size: 1.6rem; margin: 1.5rem 0 .3rem; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2rem 0 .6rem; border-bottom: 1px solid var(--line); }
p, li { overflow-wrap: anywhere; }
nav a { margin-right: .9rem; } a { color: var(--mark); }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); gap: 1rem; }
figure { margin: 0; } figure.chart { background: var(--soft); border-radius: .4rem; padding: .4rem; }
figure svg { width: 100%; height: auto; display: block; }
figcaption { font-size: .85rem; } figcaption span { margin-right: .8rem; white-space: nowrap; }
figcaption i { display: inline-block; width: 1.1em; height: .25em; margin-right: .35em; vertical-align: middle; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; }
th, td { text-align: left; padding: .2rem .7rem .2rem 0; border-bottom: 1px solid var(--line);
  vertical-align: top; overflow-wrap: break-word; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
.pictures { display: flex; flex-wrap: wrap; gap: .5rem; margin: .8rem 0; align-items: flex-end; }
.pictures figure { width: 7.5rem; } .pictures img { width: 100%; image-rendering: pixelated; display: block; }
figure.wide { margin: .5rem 0; } figure.wide img { max-width: 100%; image-rendering: pixelated; display: block; }
.pictures figcaption { font-size: .7rem; line-height: 1.2; overflow-wrap: anywhere; }
.warning { border-left: .3rem solid #d93025; padding: .2rem .7rem; background: var(--soft); }
code { font-size: .85em; overflow-wrap: anywhere; }
</style>
)";

}  // namespace

std::string HtmlText(absl::string_view text) {
  return absl::StrReplaceAll(ToUtf8(Printable(text)),
                             {{"&", "&amp;"}, {"<", "&lt;"}, {">", "&gt;"}, {"\"", "&quot;"}, {"'", "&#39;"}});
}

std::string DataUri(absl::string_view mime_type, absl::string_view bytes) {
  return absl::StrCat("data:", mime_type, ";base64,", absl::Base64Escape(bytes));
}

std::string HtmlTable(const std::vector<std::vector<std::string>>& rows) {
  std::string html = "<div class=\"scroll\"><table>\n";
  for (size_t i = 0; i < rows.size(); ++i) {
    html += "<tr>";
    for (const std::string& cell : rows[i]) absl::StrAppend(&html, i == 0 ? "<th>" : "<td>", cell);
    html += "\n";
  }
  return html + "</table></div>\n";
}

std::string HtmlPage(absl::string_view title, absl::string_view body) {
  return absl::StrCat(kHead, "<title>", HtmlText(title), "</title></head><body>\n<h1>", HtmlText(title), "</h1>\n",
                      body, "</body></html>\n");
}

}  // namespace tec
