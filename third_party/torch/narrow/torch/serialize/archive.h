// Stands before LibTorch's header of this name, which torch/nn/module.h includes for two names in its declarations. The
// original brings TorchScript's headers with it: 5 s a file of compiling for nothing. Who writes or reads such archives
// includes torch/serialize/input-archive.h or output-archive.h.
#pragma once

namespace torch::serialize {
class InputArchive;
class OutputArchive;
}  // namespace torch::serialize
