#include "eval/report/open_page.h"

#include <errno.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>

#include "tec/base/logging.h"

namespace tec {

void OpenPage(const std::string& path) {
  if (access(path.c_str(), R_OK) != 0) {
    TEC_LOG(WARNING) << "--open: there is no page at " << path;
    return;
  }
  std::fflush(nullptr);
  std::string program = "xdg-open", page = path;
  char* arguments[] = {&program[0], &page[0], nullptr};
  pid_t child = 0;
  if (posix_spawnp(&child, arguments[0], nullptr, nullptr, arguments, environ) != 0) {
    TEC_LOG(WARNING) << "--open: there is no xdg-open here; open " << path << " yourself";
    return;
  }
  // It ends as soon as a browser has the page, or, where that is one for terminals, with it.
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    TEC_LOG(WARNING) << "--open: xdg-open could not show the page; open " << path << " yourself";
  }
}

}  // namespace tec
