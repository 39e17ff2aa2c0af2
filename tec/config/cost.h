// What a run costs before it is run: multiply-adds of an image, from the sizes in the experiment alone.

#ifndef TEC_CONFIG_COST_H_
#define TEC_CONFIG_COST_H_

#include <string>

#include "tec/config/experiment.pb.h"
#include "tec/config/finetune.pb.h"

namespace tec {

// FLOPs of one image through one training step of a resolved experiment: what the method asks for, not what the code
// happens to do. Two a multiply-add; matrix products alone; backward twice the forward, but for the patch embedding,
// whose input needs no gradient; the base model forward only. 84.7e9 for ViT-B/16 with TEC, 275.9e9 for ViT-L/16.
double TrainingFlopsPerImage(const config::Experiment& resolved);
double TrainingFlopsPerImage(const config::Finetune& resolved);

// FLOPs of one image forward through an encoder that sees all its patches, as evaluations do, without the few of a
// classifier: 35.1e9 for ViT-B/16, 123.1e9 for ViT-L/16. Of a resolved experiment.
double EncoderFlopsPerImage(const config::Vit& vit, const config::Data& data);

// Numbers in such an encoder, its table of positions included: 86e6 for ViT-B/16.
double EncoderParameters(const config::Vit& vit, const config::Data& data);

// For people, before a pretraining run: FLOPs and bytes of each base model and of what learns from it, and of all.
std::string DescribeCost(const config::Experiment& resolved);

// Numbers in the model that is trained: 118,342,144 for ViT-B/16 with --mlp_token and --pred_att, without the frozen
// position tables. A checkpoint holds each three times in float32: itself and AdamW's two moments.
double TrainedParameters(const config::Experiment& resolved);
double TrainedParameters(const config::Finetune& resolved);

}  // namespace tec

#endif  // TEC_CONFIG_COST_H_
