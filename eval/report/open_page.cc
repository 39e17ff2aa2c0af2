#include "eval/report/open_page.h"

#include <unistd.h>

#include <cstdio>

#include "tec/base/logging.h"

namespace tec {

void OpenPage(const std::string& path) {
  std::fflush(nullptr);
  execlp("xdg-open", "xdg-open", path.c_str(), nullptr);
  TEC_LOG(WARNING) << "--open: there is no xdg-open here; open " << path << " yourself";
}

}  // namespace tec
