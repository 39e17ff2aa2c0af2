// The kernels of FeatureLoss and RelationLosses: on the CPU (loss_cpu.cc) and on CUDA (losses.cu), behind a header that
// knows neither LibTorch nor CUDA. `type`, kFloat or kDouble, is that of every tensor but the predictions.

#ifndef TEC_LOSSES_LOSS_KERNELS_H_
#define TEC_LOSSES_LOSS_KERNELS_H_

#include <cstdint>

#include "tec/nn/kernel_types.h"

namespace tec {

// For each patch with mask m: error = m * mean over c of (prediction - standardised target)^2, where the standardised
// target is (target - mean[n, c]) / sqrt(variance[n, c] + epsilon).
struct FeatureLossForward {
  Element type, prediction_type;
  int64_t images, patches, width;
  double epsilon;
  int64_t skip;                 // Tokens of a prediction before its patches.
  const void* prediction;       // [images, skip + patches, width]
  const void* target;           // [images, patches, width]
  const void *mean, *variance;  // [images, width]
  const void* mask;             // [images, patches]
  void* scratch;                // [kCpuColumnParts or kCudaColumnParts, 2]
  void* sums;                   // [2]: of the errors over the sum of the masks, which is the loss; of the masks.
};

struct FeatureLossBackward {
  FeatureLossForward forward;  // scratch plays no part.
  const void* d_loss;          // 0-dim
  void* d_prediction;          // Like prediction, zero for skipped tokens and kept patches.
};

// For each row: with p = softmax(target / tau), cross-entropy -sum p log softmax(logits) and entropy -sum p log p.
struct RelationLossForward {
  Element type, logits_type;
  int64_t rows, width;
  double tau;
  const void *logits, *target;  // [rows, width]
  void* scratch;                // [kCpuColumnParts or kCudaColumnParts, 2]
  void* means;                  // [2]: of the cross-entropies, of the entropies.
};

// d_logits = (softmax(logits) - p) d_loss / rows.
struct RelationLossBackward {
  RelationLossForward forward;
  const void* d_loss;  // 0-dim
  void* d_logits;      // Like logits.
};

void RunFeatureLoss(const FeatureLossForward& arguments);
void RunFeatureLossBackward(const FeatureLossBackward& arguments);
void RunRelationLoss(const RelationLossForward& arguments);
void RunRelationLossBackward(const RelationLossBackward& arguments);

// Enqueue on `stream` (a cudaStream_t) of the current device. Null, or CUDA's message if a launch failed.
const char* LaunchFeatureLoss(const FeatureLossForward& arguments, void* stream);
const char* LaunchFeatureLossBackward(const FeatureLossBackward& arguments, void* stream);
const char* LaunchRelationLoss(const RelationLossForward& arguments, void* stream);
const char* LaunchRelationLossBackward(const RelationLossBackward& arguments, void* stream);

}  // namespace tec

#endif  // TEC_LOSSES_LOSS_KERNELS_H_
