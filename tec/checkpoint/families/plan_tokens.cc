#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tec/checkpoint/elements.h"
#include "tec/checkpoint/families/plan_steps.h"
#include "tec/checkpoint/token_mlp.h"

namespace tec {
namespace {

using Part = PlanBuilder::Part;

// The g for which count = g * g, or 0.
int64_t SquareRoot(int64_t count) {
  const int64_t root = count < 1 ? 0 : std::llround(std::sqrt(static_cast<double>(count)));
  return root * root == count ? root : 0;
}

// Of a position table: rows that are not patches' (-1: nothing fits), and patches a side.
struct Layout {
  int64_t token_rows = -1, grid = 0;
};

// The pictures that ViTs with LayerScale and a table without [CLS] row are published for (DeiT III, DINOv2).
bool IsPublishedSize(int64_t pixels) {
  for (const int64_t size : {224, 256, 384, 448, 512, 518}) {
    if (pixels == size) return true;
  }
  return false;
}

constexpr char kSquareAlone[] =
    "only square grids are supported. In timm, model.set_input_size((224, 224)), or another square, brings the table "
    "of a model with these weights to one; save its state_dict()";

class TokenPlanner {
 public:
  TokenPlanner(const VitHints& hints, PlanBuilder& builder)
      : hints_(hints),
        builder_(builder),
        traits_(builder.traits()),
        positions_(builder.Find("pos_embed")),
        distilled_(builder.Find("dist_token")),
        registers_(builder.Find("reg_token")) {}

  void Plan() {
    if (registers_ != nullptr) {
      const Shape& shape = registers_->tensor.shape;
      traits_.registers = shape.size() == 3 ? shape[1] : 1;
    } else if (distilled_ != nullptr) {
      traits_.registers = 1;
    }
    traits_.absolute_positions = positions_ != nullptr;
    if (positions_ != nullptr) {
      FindLayout();
    } else if (traits_.relative_positions) {
      CheckRelativeGrid();
    } else if (traits_.rotary.has_value()) {
      PlanGridOfImages(hints_, std::numeric_limits<int64_t>::max(), builder_);
    }
    PlanClass();
    PlanRegisters();
    PlanPositions();
  }

 private:
  int64_t ClassRows() const { return traits_.class_token ? 1 : 0; }

  int64_t Rows() const {
    const Shape& shape = positions_->tensor.shape;
    return shape.size() < 2 ? 0 : shape[shape.size() - 2];
  }

  // The numbers of rows that tokens may have before those of the patches, the usual one first.
  std::vector<int64_t> TokenRows() const {
    if (distilled_ != nullptr) return {2};
    std::vector<int64_t> rows = {1, 0};
    if (!traits_.class_token) rows = {0};
    if (registers_ != nullptr) rows.push_back(ClassRows() + traits_.registers);
    return rows;
  }

  void FindLayout() {
    const int64_t width = traits_.width, rows = Rows();
    const Shape& shape = positions_->tensor.shape;
    builder_.Use("pos_embed", shape);
    if (shape.size() < 2 || shape.size() > 3 || (shape.size() == 3 && shape[0] != 1) || shape.back() != width) {
      builder_.AddProblem(
          absl::StrCat(positions_->name, " has shape ", ShapeText(shape), ", not [1, rows, ", width, "]"));
      return;
    }
    if (hints_.grid_rows > 0) {
      TellLayout(hints_.grid_rows, hints_.grid_columns, "--grid", rows);
    } else if (hints_.config != nullptr && hints_.config->image_height > 0 && traits_.patch_size > 0) {
      TellLayout(hints_.config->image_height / traits_.patch_size, hints_.config->image_width / traits_.patch_size,
                 hints_.config->path, rows);
    } else {
      GuessLayout(rows);
    }
    if (layout_.token_rows < 0) return;
    if (traits_.relative_positions && traits_.grid != layout_.grid) {
      builder_.AddProblem(absl::StrCat(positions_->name, " is for ", layout_.grid, " x ", layout_.grid,
                                       " patches, the relative positions for ", traits_.grid, " x ", traits_.grid));
    }
    traits_.grid = layout_.grid;
    if (traits_.rotary.has_value() && traits_.rotary->span_of_table) {
      traits_.rotary->span = static_cast<double>(traits_.grid);
    }
  }

  // Of a model with relative positions alone, whose table may have as many rows for another grid. (TakeConfig compares
  // with a config.json.)
  void CheckRelativeGrid() {
    const int64_t rows = hints_.grid_rows, columns = hints_.grid_columns, grid = traits_.grid;
    if (rows > 0 && (rows != grid || columns != grid)) {
      builder_.AddProblem(absl::StrCat("the relative positions are for ", grid, " x ", grid,
                                       " patches, or a grid that is no square; --grid says ", rows, " x ", columns,
                                       rows == columns ? "" : absl::StrCat(": ", kSquareAlone)));
    } else if (rows == 0 && (hints_.config == nullptr || hints_.config->image_height == 0)) {
      traits_.assumed.push_back(absl::StrCat("a square grid of ", grid, " x ", grid, " patches"));
    }
  }

  // `who` says that the table is for so many patches.
  void TellLayout(int64_t grid_rows, int64_t grid_columns, const std::string& who, int64_t rows) {
    const std::vector<int64_t> token_rows = TokenRows();
    const int64_t rest = rows - grid_rows * grid_columns;
    if (std::find(token_rows.begin(), token_rows.end(), rest) == token_rows.end()) {
      builder_.AddProblem(absl::StrCat(positions_->name, " has ", rows, " rows, ", who, " says ", grid_rows, " x ",
                                       grid_columns, " patches, which with rows for ",
                                       absl::StrJoin(token_rows, " or "), " tokens would be others"));
    } else if (grid_rows != grid_columns) {
      builder_.AddProblem(absl::StrCat(positions_->name, " is for ", grid_rows, " x ", grid_columns, " patches (", who,
                                       "): ", kSquareAlone));
    } else {
      layout_ = {rest, grid_rows};
    }
  }

  void GuessLayout(int64_t rows) {
    const Shape& shape = positions_->tensor.shape;
    std::vector<Layout> fitting;
    for (int64_t tokens : TokenRows()) {
      if (const int64_t grid = SquareRoot(rows - tokens); grid > 0) fitting.push_back({tokens, grid});
    }
    if (fitting.empty()) {
      builder_.AddProblem(absl::StrCat(positions_->name, " has shape ", ShapeText(shape),
                                       ", not rows for a square grid of patches and for ",
                                       absl::StrJoin(TokenRows(), " or "), " tokens; other grids are not supported"));
      return;
    }
    const Layout& layout = fitting[0];
    const bool sized =
        builder_.Find("blocks.0.ls1.gamma") != nullptr && IsPublishedSize(layout.grid * traits_.patch_size);
    const bool no_rows = layout.token_rows == 0 && builder_.Find("cls_token") != nullptr;
    // Tokens without rows of their own: all of these rows could be of fewer patches and of them.
    if (fitting.size() > 1 || (layout.token_rows == 0 && TokenRows().size() > 1 && !sized)) {
      // n n = (n - 1)(n + 1) + 1: a square number of rows may also be [CLS] and patches of no square grid.
      const std::string square = absl::StrCat(layout.grid, "x", layout.grid);
      builder_.AddProblem(absl::StrCat(positions_->name, " has ", rows, " rows, which may be ", square,
                                       " patches with rows for ", layout.token_rows, " tokens or others, such as ",
                                       fitting.size() > 1 ? absl::StrCat(fitting[1].grid, "x", fitting[1].grid,
                                                                         " with rows for ", fitting[1].token_rows)
                                                          : Oblong(rows, TokenRows()),
                                       ": say --grid=", square, " if it is that"));
      return;
    }
    layout_ = layout;
    traits_.assumed.push_back(absl::StrCat("a square grid of ", layout.grid, " x ", layout.grid, " patches",
                                           no_rows ? " and no position of [CLS]" : ""));
  }

  // Of a square number of rows another reading: patches in no square, and rows for tokens.
  static std::string Oblong(int64_t rows, const std::vector<int64_t>& token_rows) {
    for (const int64_t tokens : token_rows) {
      const int64_t patches = rows - tokens;
      for (int64_t side = std::llround(std::sqrt(static_cast<double>(patches))); tokens > 0 && side > 1; --side) {
        if (patches % side == 0) {
          return absl::StrCat(side, "x", patches / side, " with rows for ", tokens, tokens == 1 ? " token" : " tokens");
        }
      }
    }
    return "those of a grid that is no square";
  }

  void PlanClass() {
    if (!traits_.class_token) return;
    const int64_t width = traits_.width;
    const Shape token = {1, 1, width};
    const Part* fc1 = builder_.Find("cls_token_mlp.fc1.weight");
    if (fc1 == nullptr && builder_.Find("cls_token_mlp.fc1.bias") == nullptr) {
      builder_.Take("cls_token", token);
      return;
    }
    // int(width * mlp_ratio) in the reference.
    const int64_t hidden = fc1 != nullptr && !fc1->tensor.shape.empty() ? fc1->tensor.shape[0] : 4 * width;
    const std::pair<const char*, Shape> own[] = {{"cls_token_mlp.fc1.weight", {hidden, width}},
                                                 {"cls_token_mlp.fc1.bias", {hidden}},
                                                 {"cls_token_mlp.fc2.weight", {width, hidden}},
                                                 {"cls_token_mlp.fc2.bias", {width}}};
    if (hints_.keep_token_mlp) {
      builder_.Take("cls_token", token);
      for (const auto& [name, shape] : own) builder_.Take(name, shape);
      return;
    }
    const Part* plain = builder_.Use("cls_token", token);
    std::vector<const Part*> mlp;
    for (const auto& [name, shape] : own) mlp.push_back(builder_.Use(name, shape));
    if (plain == nullptr || std::find(mlp.begin(), mlp.end(), nullptr) != mlp.end()) return;
    const TokenMlp parts = {plain->tensor, mlp[0]->tensor, mlp[1]->tensor, mlp[2]->tensor, mlp[3]->tensor};
    builder_.Add("cls_token", token, {plain, mlp[0], mlp[1], mlp[2], mlp[3]}, [parts] { return *FoldTokenMlp(parts); });
  }

  // Registers and distillation token, with the rows of the table that are theirs.
  void PlanRegisters() {
    const int64_t count = traits_.registers, width = traits_.width;
    // Hugging Face writes none of them as a tensor without elements.
    if (count == 0 && registers_ != nullptr) builder_.Use("reg_token", {1, 0, width});
    if (count == 0) return;
    const Shape shape = {1, count, width};
    const char* name = registers_ != nullptr ? "reg_token" : "dist_token";
    const int64_t before = ClassRows();
    if (layout_.token_rows != before + count) {
      builder_.Take("reg_token", shape, name);
      return;
    }
    const Part* tokens = builder_.Use(name, shape);
    if (tokens == nullptr) return;
    const TensorView own = tokens->tensor, table = positions_->tensor;
    builder_.Add("reg_token", shape, {tokens, positions_}, [own, table, shape, width, before] {
      std::vector<float> sum = FloatsOf(own);
      const std::vector<float> rows = FloatsOf(table);
      for (size_t i = 0; i < sum.size(); ++i) sum[i] += rows[before * width + i];
      return TensorView::FromFloats(shape, sum);
    });
  }

  void PlanPositions() {
    const int64_t width = traits_.width, patches = traits_.grid * traits_.grid, token_rows = layout_.token_rows;
    const Shape shape = {1, 1 + patches, width};
    if (positions_ == nullptr && (traits_.relative_positions || traits_.rotary.has_value())) {
      builder_.Constant("pos_embed", shape);
    } else if (positions_ == nullptr) {
      builder_.AddMissing("pos_embed");
    } else if (token_rows == 1 && traits_.class_token) {
      builder_.Take("pos_embed", shape);
    } else if (token_rows >= 0) {
      const TensorView table = positions_->tensor;
      const bool class_row = token_rows > 0 && traits_.class_token;
      builder_.Add("pos_embed", shape, {positions_}, [table, shape, token_rows, class_row, width, patches] {
        const std::vector<float> rows = FloatsOf(table);
        std::vector<float> all((1 + patches) * width);
        if (class_row) std::copy(rows.begin(), rows.begin() + width, all.begin());
        std::copy(rows.begin() + token_rows * width, rows.end(), all.begin() + width);
        return TensorView::FromFloats(shape, all);
      });
    }
  }

  const VitHints& hints_;
  PlanBuilder& builder_;
  VitTraits& traits_;
  const Part *positions_, *distilled_, *registers_;
  Layout layout_;
};

}  // namespace

void PlanGridOfImages(const VitHints& hints, int64_t most, PlanBuilder& builder) {
  VitTraits& traits = builder.traits();
  traits.interpolates_positions = true;
  traits.grid = 0;
  if (traits.patch_size < 1) return;
  int64_t rows = hints.grid_rows, columns = hints.grid_columns;
  std::string who = "--grid";
  if (rows == 0 && hints.config != nullptr && hints.config->image_height > 0) {
    rows = hints.config->image_height / traits.patch_size;
    columns = hints.config->image_width / traits.patch_size;
    who = hints.config->path;
  }
  if (rows == 0) {
    rows = columns = std::min(most, builder.family().published_size / traits.patch_size);
    const int64_t pixels = rows * traits.patch_size;
    if (rows > 0)
      traits.assumed.push_back(absl::StrCat("images of ", pixels, " x ", pixels, " pixels (it takes others too)"));
    who = absl::StrCat("the published models' size, ", builder.family().published_size, " pixels,");
  }
  if (rows != columns || rows < 1) {
    builder.AddProblem(absl::StrCat("patch_embed.proj.weight has patches of ", traits.patch_size, " pixels, of which ",
                                    who, " wants ", rows, " x ", columns, ": ", kSquareAlone));
    return;
  }
  traits.grid = rows;
}

void PlanTokens(const VitHints& hints, PlanBuilder& builder) {
  if (builder.family().resampled_positions) return PlanResampledTokens(hints, builder);
  TokenPlanner(hints, builder).Plan();
}

}  // namespace tec
