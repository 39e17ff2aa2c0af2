// Which thread writes files: a run saves its checkpoints beside the thread that trains.

#ifndef TEC_EVAL_TESTING_OPERATION_COUNTER_H_
#define TEC_EVAL_TESTING_OPERATION_COUNTER_H_

#include <map>
#include <mutex>
#include <thread>

#include "tec/base/file_operations.h"

namespace tec::testing {

// Counts file operations while it lives; one at a time, made and destroyed while no other thread works on files.
class OperationCounter {
 public:
  using Operation = file_operations::Operation;

  OperationCounter();
  ~OperationCounter();
  OperationCounter(const OperationCounter&) = delete;
  OperationCounter& operator=(const OperationCounter&) = delete;

  // By the thread that made this, and by all others.
  int Here(Operation operation) const;
  int Beside(Operation operation) const;

 private:
  const std::thread::id thread_ = std::this_thread::get_id();
  mutable std::mutex mutex_;
  mutable std::map<Operation, int> here_, beside_;
};

}  // namespace tec::testing

#endif  // TEC_EVAL_TESTING_OPERATION_COUNTER_H_
