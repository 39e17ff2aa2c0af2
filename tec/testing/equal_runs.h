// Two runs that must have trained the same, such as one with one rank and one with several: the numbers of every update
// and the weights at the end.

#ifndef TEC_TESTING_EQUAL_RUNS_H_
#define TEC_TESTING_EQUAL_RUNS_H_

#include <string>
#include <vector>

namespace tec::testing {

struct RunTolerance {
  // Of losses and gradient norms. Sums in another order: the rounding of float32, 6e-8, a few times over.
  double relative = 1e-5;
  // Of weights. AdamW divides by the root of the second moment, so that an element whose gradient is itself rounding
  // moves by the rate in either direction.
  double weight = 1e-4;
};

// "" or what differs, each a line: in metrics.jsonl the number of updates, and of each update the keys ("loss_fea") and
// grad_norm; in the file `checkpoint` of both folders every tensor of the model. The biases of the keys, a part
// of every qkv.bias and qk.bias, are left out: a softmax does not see them, their gradient is rounding alone.
std::string DifferenceOfRuns(const std::string& folder, const std::string& other, const std::string& checkpoint,
                             const std::vector<std::string>& keys, const RunTolerance& tolerance = {});

}  // namespace tec::testing

#endif  // TEC_TESTING_EQUAL_RUNS_H_
