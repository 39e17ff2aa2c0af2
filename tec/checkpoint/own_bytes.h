// Bytes that are their views' alone, as those of a copy from a GPU are: what is kept while training goes on needs no
// second copy of them.
//
//   view.owner = OwnBytes::Owner(std::move(buffer));   // nobody else has or changes the buffer
//   if (OwnBytes::Has(view)) ...

#ifndef TEC_CHECKPOINT_OWN_BYTES_H_
#define TEC_CHECKPOINT_OWN_BYTES_H_

#include <memory>
#include <utility>

#include "tec/checkpoint/tensor_view.h"

namespace tec {

// It is the owner's deleter that tells, so that a view stays as it is.
class OwnBytes {
 public:
  template <typename T>
  static std::shared_ptr<const T> Owner(T holder) {
    return std::shared_ptr<const T>(new T(std::move(holder)), Deleter());
  }
  static bool Has(const TensorView& view) { return std::get_deleter<Deleter>(view.owner) != nullptr; }

 private:
  struct Deleter {
    template <typename T>
    void operator()(const T* holder) const {
      delete holder;
    }
  };
};

}  // namespace tec

#endif  // TEC_CHECKPOINT_OWN_BYTES_H_
