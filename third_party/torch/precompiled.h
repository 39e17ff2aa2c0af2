// What nearly every file with tensors includes, parsed once for all of them (precompiled.bzl). A file still includes
// what it uses; nothing but LibTorch's and the standard library's headers stands here, since those are the dependencies
// that all these files have in common. More is not better: each file pays for the templates that a header leaves to be
// instantiated (custom_function.h: 4 s a file).
#ifndef TEC_THIRD_PARTY_TORCH_PRECOMPILED_H_
#define TEC_THIRD_PARTY_TORCH_PRECOMPILED_H_

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "ATen/ATen.h"
#include "torch/nn/module.h"

#endif  // TEC_THIRD_PARTY_TORCH_PRECOMPILED_H_
