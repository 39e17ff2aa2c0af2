#include "eval/testing/operation_counter.h"

namespace tec::testing {

OperationCounter::OperationCounter() {
  file_operations::SetFaultHook([this](Operation operation) {
    const std::lock_guard<std::mutex> lock(mutex_);
    ++(std::this_thread::get_id() == thread_ ? here_ : beside_)[operation];
    return 0;
  });
}

OperationCounter::~OperationCounter() { file_operations::SetFaultHook(nullptr); }

int OperationCounter::Here(Operation operation) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return here_[operation];
}

int OperationCounter::Beside(Operation operation) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return beside_[operation];
}

}  // namespace tec::testing
