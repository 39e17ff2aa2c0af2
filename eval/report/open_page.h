// Showing a page to whoever sits in front of the machine.

#ifndef TEC_EVAL_REPORT_OPEN_PAGE_H_
#define TEC_EVAL_REPORT_OPEN_PAGE_H_

#include <string>

namespace tec {

// The last thing that a program does: becomes xdg-open, which shows the page at `path` in the desktop's browser.
// Returns, after a warning, only where there is no such program.
void OpenPage(const std::string& path);

}  // namespace tec

#endif  // TEC_EVAL_REPORT_OPEN_PAGE_H_
