// The steps of PlanVit, each a part of the model.

#ifndef TEC_CHECKPOINT_FAMILIES_PLAN_STEPS_H_
#define TEC_CHECKPOINT_FAMILIES_PLAN_STEPS_H_

#include <cstdint>
#include <set>

#include "tec/checkpoint/families/plan_builder.h"
#include "tec/checkpoint/families/vit_plan.h"

namespace tec {

inline constexpr char kSharedRelativeTable[] = "rel_pos_bias.relative_position_bias_table";

// Fills in the traits that tensors tell by their shape or by being there; gives the numbers of the blocks.
std::set<int64_t> FindTraits(PlanBuilder& builder);

// traits.grid of a model whose positions are for any: as asked for, of the config, or of the published models' images,
// at most `most` a side; 0, and noted, if nothing fits. Sets traits.interpolates_positions.
void PlanGridOfImages(const VitHints& hints, int64_t most, PlanBuilder& builder);

// cls_token, reg_token and pos_embed; traits.grid and traits.registers.
void PlanTokens(const VitHints& hints, PlanBuilder& builder);

// The same of a family with resampled_positions, and how the model normalises pixels.
void PlanResampledTokens(const VitHints& hints, PlanBuilder& builder);

// norm.*, or of a file without it whether that is the model's own way: traits.no_norm, noted where it is a guess.
void PlanFinalNorm(const VitHints& hints, PlanBuilder& builder);

// The rotary positions, of which the file may have the periods; traits.rotary and, with them, traits.heads.
void PlanRotary(const VitHints& hints, PlanBuilder& builder);

// attn_pool.*, where the file has a pool of one learned token; traits.pool_hidden.
void PlanPool(PlanBuilder& builder);

// The tensors of a block; `block`: "blocks.3.".
void PlanBlock(const std::string& block, PlanBuilder& builder);

}  // namespace tec

#endif  // TEC_CHECKPOINT_FAMILIES_PLAN_STEPS_H_
