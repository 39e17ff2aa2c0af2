#include "tec/base/version.h"

namespace tec {

const char kVersion[] = TEC_VERSION;

}  // namespace tec
