// C-RADIO's tokens and positions: one tensor of class tokens and registers, a table for the largest images that is
// resampled for all others, and the mean and deviation by which the model itself normalises pixels.

#include <algorithm>
#include <cmath>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tec/checkpoint/elements.h"
#include "tec/checkpoint/families/plan_steps.h"

namespace tec {
namespace {

using Part = PlanBuilder::Part;

// Rows of [side * side, width] at the places of grid x grid patches, bilinear, after a zero row: [1, 1 + grid^2,
// width]. As RADIO's vit_patch_generator.py does it in evaluation, for images of any size that are square:
// interpolate(..., align_corners=False, mode='bilinear'), of which the numbers here are, too, in float32.
TensorView Resampled(const TensorView& table, int64_t side, int64_t grid, int64_t width) {
  const std::vector<float> rows = FloatsOf(table);
  std::vector<float> all((1 + grid * grid) * width);
  struct Place {
    int64_t below, above;
    float share;  // Of `above`.
  };
  std::vector<Place> places(grid);
  const float scale = static_cast<float>(side) / static_cast<float>(grid);
  for (int64_t i = 0; i < grid; ++i) {
    const float at = std::max(0.0f, scale * (static_cast<float>(i) + 0.5f) - 0.5f);
    const int64_t below = std::min(static_cast<int64_t>(at), side - 1);
    places[i] = {below, std::min(below + 1, side - 1), at - static_cast<float>(below)};
  }
  for (int64_t y = 0; y < grid; ++y) {
    for (int64_t x = 0; x < grid; ++x) {
      const Place row = places[y], column = places[x];
      const float* corners[] = {
          &rows[(row.below * side + column.below) * width], &rows[(row.below * side + column.above) * width],
          &rows[(row.above * side + column.below) * width], &rows[(row.above * side + column.above) * width]};
      float* out = &all[(1 + y * grid + x) * width];
      for (int64_t c = 0; c < width; ++c) {
        const float upper = (1 - column.share) * corners[0][c] + column.share * corners[1][c];
        const float lower = (1 - column.share) * corners[2][c] + column.share * corners[3][c];
        out[c] = (1 - row.share) * upper + row.share * lower;
      }
    }
  }
  return TensorView::FromFloats({1, 1 + grid * grid, width}, all);
}

void PlanPositions(const VitHints& hints, PlanBuilder& builder) {
  VitTraits& traits = builder.traits();
  const Part* table = builder.Find("pos_embed");
  if (table == nullptr) return builder.AddMissing("pos_embed");
  const Shape& shape = table->tensor.shape;
  const int64_t width = traits.width, rows = shape.size() < 2 ? 0 : shape[shape.size() - 2];
  const int64_t side = std::llround(std::sqrt(static_cast<double>(rows)));
  builder.Use("pos_embed", shape);
  if (shape.size() != 3 || shape[0] != 1 || shape[2] != width || side < 1 || side * side != rows) {
    return builder.AddProblem(absl::StrCat(table->name, " has shape ", ShapeText(shape), ", not [1, rows, ", width,
                                           "] with the rows of a square of patches"));
  }
  if (const VitConfig* config = hints.config; config != nullptr && config->table_pixels > 0 && traits.patch_size > 0 &&
                                              config->table_pixels / traits.patch_size != side) {
    builder.AddProblem(absl::StrCat(table->name, " is for ", side, " x ", side, " patches, ", config->path, " says ",
                                    config->table_pixels, " pixels. Move it away if it is of another model"));
  }
  PlanGridOfImages(hints, side, builder);
  if (traits.grid == 0) return;
  const int64_t grid = traits.grid;
  const TensorView source = table->tensor;
  const auto positions_at = [source, side, width](int64_t of) { return Resampled(source, side, of, width); };
  builder.Add("pos_embed", {1, 1 + grid * grid, width}, {table}, [positions_at, grid] { return positions_at(grid); });
  builder.plan().positions_at = positions_at;
}

// RADIO made of DINOv2's model (DinoWrapper), which takes its first token for the summary, and all but the first five
// for patches.
bool IsDinov2(PlanBuilder& builder) { return absl::EndsWith(builder.plan().prefix, "inner."); }

// The first of the rows that the file says are the model's summary, else the first of all, is cls_token.
int64_t ClassRow(int64_t rows, PlanBuilder& builder) {
  const Part* summary = builder.Find(kSummaryRows);
  if (summary == nullptr) return 0;
  builder.MarkUsed(kSummaryRows);
  if (IsDinov2(builder)) return 0;
  const TensorView& tensor = summary->tensor;
  const std::vector<int64_t> named = tensor.dtype == DType::kInt64 ? tensor.Values<int64_t>() : std::vector<int64_t>();
  const int64_t row = named.empty() ? -1 : named[0];
  if (row >= 0 && row < rows) return row;
  builder.AddProblem(absl::StrCat(summary->name, " names token ", row, " of ", rows));
  return 0;
}

void PlanTokenRows(const VitHints& hints, PlanBuilder& builder) {
  VitTraits& traits = builder.traits();
  const Part* tokens = builder.Find(kTokenRows);
  if (tokens == nullptr) return builder.AddMissing(kTokenRows);
  const int64_t width = traits.width, rows = tokens->tensor.shape.empty() ? 0 : tokens->tensor.shape[0];
  if (rows < 1) return builder.AddProblem(absl::StrCat(tokens->name, " has no rows"));
  tokens = builder.Use(kTokenRows, {rows, width});
  if (tokens == nullptr) return;
  traits.registers = rows - 1;
  constexpr int64_t kTokensOfDinov2 = 5;
  if (IsDinov2(builder) && rows != kTokensOfDinov2) {
    builder.AddProblem(absl::StrCat(tokens->name, " has ", rows,
                                    " tokens, where the model of DINOv2 that these names are ", "of counts ",
                                    kTokensOfDinov2, " before the patches"));
  }
  if (hints.config != nullptr && hints.config->token_rows > 0 && hints.config->token_rows != rows) {
    builder.AddProblem(absl::StrCat(tokens->name, " has ", rows, " tokens, ", hints.config->path, " says ",
                                    hints.config->token_rows, ". Move it away if it is of another model"));
  }
  const int64_t first = ClassRow(rows, builder);
  const TensorView source = tokens->tensor;
  builder.Add("cls_token", {1, 1, width}, {tokens}, [source, first, width] {
    const std::vector<float> all = FloatsOf(source);
    return TensorView::FromFloats({1, 1, width}, {all.begin() + first * width, all.begin() + (first + 1) * width});
  });
  if (rows == 1) return;
  builder.Add("reg_token", {1, rows - 1, width}, {tokens}, [source, first, rows, width] {
    std::vector<float> others = FloatsOf(source);
    others.erase(others.begin() + first * width, others.begin() + (first + 1) * width);
    return TensorView::FromFloats({1, rows - 1, width}, others);
  });
}

void TakePixelStatistics(PlanBuilder& builder) {
  VitPlan& plan = builder.plan();
  for (const auto& [name, numbers] : {std::pair(kPixelMean, &plan.mean), {kPixelStd, &plan.std}}) {
    if (builder.Find(name) == nullptr) continue;
    const Part* part = builder.Use(name, {plan.traits.channels, 1, 1});
    if (part != nullptr) *numbers = FloatsOf(part->tensor);
  }
  const auto usable = [](float number) { return std::isfinite(number) && number > 0; };
  if (plan.mean.size() != plan.std.size() || !std::all_of(plan.std.begin(), plan.std.end(), usable)) {
    builder.AddProblem("the mean and deviation by which the model normalises pixels are no pair of such");
  }
}

}  // namespace

void PlanResampledTokens(const VitHints& hints, PlanBuilder& builder) {
  TakePixelStatistics(builder);
  PlanTokenRows(hints, builder);
  PlanPositions(hints, builder);
  VitTraits& traits = builder.traits();
  // Its models of this size may scale their norms by the block's number, of which no tensor tells (scaled_ln).
  if (traits.width == 1536 && !traits.final_norm && hints.config == nullptr) {
    traits.assumed.push_back("norms that are not scaled by the depth (scaled_ln)");
  }
}

}  // namespace tec
