#include "tec/checkpoint/families/usual_heads.h"

namespace tec {

int64_t UsualHeads(int64_t width) {
  switch (width) {
    case 192:
      return 3;
    case 384:
      return 6;
    case 768:
      return 12;
    case 1024:
    case 1280:
    case 1408:
    case 1664:
      return 16;
    case 1536:
      return 24;
    default:
      return 0;
  }
}

}  // namespace tec
