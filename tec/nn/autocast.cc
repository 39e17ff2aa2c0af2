#include "tec/nn/autocast.h"

#include "ATen/autocast_mode.h"
#include "tec/base/logging.h"

namespace tec {

AutocastGuard::AutocastGuard(c10::DeviceType device, c10::ScalarType dtype)
    : device_(device),
      was_enabled_(at::autocast::is_autocast_enabled(device)),
      previous_dtype_(at::autocast::get_autocast_dtype(device)) {
  TEC_CHECK(dtype == c10::kFloat || dtype == c10::kBFloat16 || (dtype == c10::kHalf && device == c10::kCUDA))
      << "no autocast to " << c10::toString(dtype) << " on " << c10::DeviceTypeName(device);
  at::autocast::increment_nesting();
  at::autocast::set_autocast_enabled(device, dtype != c10::kFloat);
  if (dtype != c10::kFloat) at::autocast::set_autocast_dtype(device, dtype);
}

AutocastGuard::~AutocastGuard() {
  at::autocast::set_autocast_enabled(device_, was_enabled_);
  at::autocast::set_autocast_dtype(device_, previous_dtype_);
  if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
}

at::ScalarType ProductType(const at::Tensor& like) {
  const c10::DeviceType device = like.device().type();
  const bool cast =
      at::autocast::is_autocast_enabled(device) && like.is_floating_point() && like.scalar_type() != at::kDouble;
  return cast ? at::autocast::get_autocast_dtype(device) : like.scalar_type();
}

}  // namespace tec
