#include "data/dataset/patient_read.h"

#include <chrono>
#include <iterator>
#include <thread>

#include "absl/strings/str_cat.h"
#include "tec/base/system_error.h"

namespace tec {

absl::Status ReadPatiently(const Dataset& dataset, int64_t index, std::string* bytes) {
  constexpr int kPauses[] = {10, 100, 500, 2000};  // Milliseconds.
  absl::Status read = dataset.Read(index, bytes);
  for (const int pause : kPauses) {
    if (!MayPass(ErrnoOf(read))) return read;
    std::this_thread::sleep_for(std::chrono::milliseconds(pause));
    read = dataset.Read(index, bytes);
  }
  if (!MayPass(ErrnoOf(read))) return read;
  return absl::UnavailableError(absl::StrCat("the system does not let pictures be read, ", std::size(kPauses),
                                             " tries later neither: ", read.message()));
}

}  // namespace tec
