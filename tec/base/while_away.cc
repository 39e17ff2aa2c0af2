#include "tec/base/while_away.h"

#include <sys/stat.h>

#include <chrono>
#include <thread>

#include "tec/base/logging.h"
#include "tec/base/system_error.h"

namespace tec {

bool MayBeAway(const absl::Status& status, const std::string& folder) {
  if (status.ok()) return false;
  if (absl::IsNotFound(status) || IsOfAway(ErrnoOf(status))) return true;
  struct stat info;
  return stat(folder.c_str(), &info) != 0 || !S_ISDIR(info.st_mode);
}

absl::Status RetryWhileAway(const std::string& folder, const std::function<absl::Status()>& body) {
  absl::Status status = body();
  for (const int milliseconds : {100, 400, 1000, 2000, 2000}) {
    if (!MayBeAway(status, folder)) break;
    TEC_LOG(WARNING) << status.message() << "; trying again in " << milliseconds / 1000.0 << " s";
    std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
    status = body();
  }
  return status;
}

}  // namespace tec
