#include "tec/run/precision.h"

namespace tec {

c10::ScalarType ComputeType(config::Precision precision) {
  switch (precision) {
    case config::BFLOAT16:
      return c10::kBFloat16;
    case config::FLOAT16:
      return c10::kHalf;
    default:
      return c10::kFloat;
  }
}

}  // namespace tec
