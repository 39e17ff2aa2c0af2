// Stands before LibTorch's header of this name, which torch/nn/module.h includes for two names in its declarations. The
// original brings TorchScript's headers with it: 5 s a file of compiling for nothing. Who writes or reads such archives
// includes torch/serialize/input-archive.h or output-archive.h.
#ifndef TEC_THIRD_PARTY_TORCH_NARROW_TORCH_SERIALIZE_ARCHIVE_H_
#define TEC_THIRD_PARTY_TORCH_NARROW_TORCH_SERIALIZE_ARCHIVE_H_

namespace torch::serialize {
class InputArchive;
class OutputArchive;
}  // namespace torch::serialize

#endif  // TEC_THIRD_PARTY_TORCH_NARROW_TORCH_SERIALIZE_ARCHIVE_H_
