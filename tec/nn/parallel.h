// at::parallel_for for this project's own kernels. Without -fopenmp it compiles all the same and is a plain loop on one
// thread, so a file that includes this stands in a target with `parallel = True` (//tools/build_defs:tec.bzl), or it
// does not compile; the lint asks that nothing else includes ATen/Parallel.h for it.

#ifndef TEC_NN_PARALLEL_H_
#define TEC_NN_PARALLEL_H_

#ifndef _OPENMP
#error "at::parallel_for would be a plain loop: give the target `parallel = True`"
#endif

#include "ATen/Parallel.h"

#endif  // TEC_NN_PARALLEL_H_
