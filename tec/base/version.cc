#include "tec/base/version.h"

namespace tec {

const char* const kVersion = TEC_VERSION;

}  // namespace tec
