// The type that a run's matrix products are computed in.

#ifndef TEC_RUN_PRECISION_H_
#define TEC_RUN_PRECISION_H_

#include "c10/core/ScalarType.h"
#include "tec/config/experiment.pb.h"

namespace tec {

c10::ScalarType ComputeType(config::Precision precision);

}  // namespace tec

#endif  // TEC_RUN_PRECISION_H_
