#include "tec/checkpoint/families/usual_heads.h"

namespace tec {

int64_t UsualHeads(int64_t width) {
  switch (width) {
    case 192:
    case 256:
    case 320:
    case 384:
    case 512:
    case 640:
    case 768:
    case 832:
    case 896:
    case 1024:
    case 1536:
      return width / 64;
    case 1152:
    case 1280:
    case 1408:
    case 1664:
      return 16;
    default:
      return 0;
  }
}

}  // namespace tec
