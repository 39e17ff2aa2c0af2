#include "tec/train/sleeping_threads.h"

#include <stdlib.h>
#include <unistd.h>

namespace tec {

void LetWaitingThreadsSleep(char** argv) {
  if (getenv("GOMP_SPINCOUNT") != nullptr || getenv("OMP_WAIT_POLICY") != nullptr) return;
  if (setenv("GOMP_SPINCOUNT", "0", /*overwrite=*/0) == 0) execv("/proc/self/exe", argv);
}

}  // namespace tec
