// Showing a page to whoever sits in front of the machine.

#ifndef TEC_EVAL_REPORT_OPEN_PAGE_H_
#define TEC_EVAL_REPORT_OPEN_PAGE_H_

#include <string>

namespace tec {

// Has xdg-open show the page at `path` in the desktop's browser. What it cannot show is a warning: a program's exit
// code is its own.
void OpenPage(const std::string& path);

}  // namespace tec

#endif  // TEC_EVAL_REPORT_OPEN_PAGE_H_
