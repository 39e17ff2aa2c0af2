// What the results of a plan's stages come to: the verdict, the end of a chain, the table.

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "eval/reproduce/report.h"

namespace tec {
namespace {

// Percent, far below one image of any test set: 84.5 - 84.7 is a little less than -0.2 in binary.
constexpr double kRounding = 1e-9;

// Results by (kind, encoder, seed).
class Results {
 public:
  explicit Results(const std::vector<StageResult>& results) {
    for (const StageResult& result : results) by_[{result.kind, result.encoder, result.seed}] = result.top1;
  }
  std::optional<double> Find(ResultKind kind, const std::string& encoder, int64_t seed) const {
    const auto found = by_.find({kind, encoder, seed});
    return found == by_.end() ? std::nullopt : std::optional<double>(found->second);
  }

 private:
  std::map<std::tuple<ResultKind, std::string, int64_t>, double> by_;
};

std::set<int64_t> SeedsOf(const ReproducePlan& plan) {
  std::set<int64_t> seeds;
  for (const Stage& stage : plan.stages) seeds.insert(stage.seed);
  return seeds;
}

Verdict JudgePaper(const ReproducePlan& plan, const std::vector<StageResult>& results) {
  const config::Row& row = plan.row;
  for (const StageResult& result : results) {
    if (result.kind != ResultKind::kFinetuneLog) continue;
    const double difference = result.top1 - row.top1();
    const bool reproduced = difference >= -row.tolerance() - kRounding;
    return {reproduced,
            absl::StrFormat(
                "%s: %.2f %% top-1 after finetuning, published %.1f (%+.2f; tolerance %.1f).",
                reproduced ? (difference > row.tolerance() + kRounding ? "Above the published result" : "Reproduced")
                           : "Not reproduced",
                result.top1, row.top1(), difference, row.tolerance())};
  }
  return {std::nullopt, "Not finished: no finetuning result yet."};
}

Verdict JudgeMini(const ReproducePlan& plan, const std::vector<StageResult>& results) {
  const Results found(results);
  bool above = true;
  for (const int64_t seed : SeedsOf(plan)) {
    for (const ResultKind kind : {ResultKind::kKnnJson, ResultKind::kFinetuneLog}) {
      const std::optional<double> base = found.Find(kind, "base", seed), tec = found.Find(kind, "tec", seed);
      if (!base || !tec) return {std::nullopt, "Not finished: stages are missing."};
      above = above && *tec > *base;
    }
  }
  return {above, above ? "The new model is above its base model in kNN and in finetuning for every seed."
                       : "The new model is not above its base model in both kNN and finetuning for every seed."};
}

// Percentage points.
double StandardError(double top1, int64_t images) {
  const double p = top1 / 100;
  return 100 * std::sqrt(p * (1 - p) / static_cast<double>(std::max<int64_t>(1, images)));
}

std::string EncoderOfLink(int64_t link) { return absl::StrCat("stage-", link); }

Verdict JudgeChain(const ReproducePlan& plan, const std::vector<StageResult>& results) {
  const Results found(results);
  bool above = true;
  std::string text;
  for (const int64_t seed : SeedsOf(plan)) {
    const std::optional<double> base = found.Find(ResultKind::kKnnJson, EncoderOfLink(0), seed);
    std::optional<double> last = base;
    int64_t link = 1;
    for (; link < plan.options.stages; ++link) {
      const std::optional<double> next = found.Find(ResultKind::kKnnJson, EncoderOfLink(link), seed);
      if (!next) break;
      last = next;
    }
    if (!base) return {std::nullopt, "Not finished: stages are missing."};
    if (link < plan.options.stages) {
      Stage following;
      following.seed = seed;
      following.link = link;
      if (LeftOut(following, results, plan.options.held_out_images).empty()) {
        return {std::nullopt, "Not finished: stages are missing."};
      }
    }
    above = above && *last > *base;
    absl::StrAppendFormat(&text, "Seed %d: kNN %.2f %% of the base model, %.2f %% after %d of %d new models. ", seed,
                          *base, *last, link - 1, plan.options.stages - 1);
  }
  absl::StrAppend(&text,
                  "Of chains it is known that they help where all models see the same data; what a base model knows of "
                  "data that is not shown again is lost on the way.");
  return {above, text};
}

std::string Percent(std::optional<double> value) { return value ? absl::StrFormat("%.2f", *value) : "-"; }

}  // namespace

Verdict Judge(const ReproducePlan& plan, const std::vector<StageResult>& results) {
  if (plan.options.scale == Scale::kPaper) return JudgePaper(plan, results);
  return plan.options.stages > 0 ? JudgeChain(plan, results) : JudgeMini(plan, results);
}

std::string LeftOut(const Stage& stage, const std::vector<StageResult>& results, int64_t held_out_images) {
  const Results found(results);
  for (int64_t link = 1; link < stage.link; ++link) {
    const std::optional<double> before = found.Find(ResultKind::kKnnJson, EncoderOfLink(link - 1), stage.seed);
    const std::optional<double> now = found.Find(ResultKind::kKnnJson, EncoderOfLink(link), stage.seed);
    if (!before || !now) return "";
    const double error = StandardError(*now, held_out_images);
    if (*now - *before > error) continue;
    return absl::StrFormat(
        "kNN of %s, %.2f %%, is not above %.2f %% of the one before by more than its standard error %.2f",
        EncoderOfLink(link), *now, *before, error);
  }
  return "";
}

std::string FormatResults(const ReproducePlan& plan, const std::vector<StageResult>& results) {
  const Results found(results);
  const std::set<int64_t> seeds = SeedsOf(plan);
  std::vector<MiniEncoder> encoders = {{"tec", "new model (TEC)"}};
  if (plan.options.scale == Scale::kMini) {
    encoders = plan.options.stages > 0 ? ChainEncoders(plan.options) : MiniEncoders();
  }
  const bool chain = plan.options.stages > 0;
  std::string text =
      absl::StrFormat("| %-30s | seed | kNN top-1 |%s finetuned top-1 |\n|%s|-----:|----------:|%s----------------:|\n",
                      "encoder", chain ? " linear top-1 |" : "", std::string(32, '-'), chain ? "-------------:|" : "");
  for (const MiniEncoder& encoder : encoders) {
    double knn_total = 0, finetuned_total = 0;
    int64_t knn_count = 0, finetuned_count = 0;
    for (const int64_t seed : seeds) {
      const std::optional<double> knn = found.Find(ResultKind::kKnnJson, encoder.name, seed);
      const std::optional<double> finetuned = found.Find(ResultKind::kFinetuneLog, encoder.name, seed);
      const std::optional<double> linear = found.Find(ResultKind::kLinearJson, encoder.name, seed);
      absl::StrAppendFormat(&text, "| %-30s | %4d | %9s |%s %15s |\n", encoder.what, seed, Percent(knn),
                            chain ? absl::StrFormat(" %12s |", Percent(linear)) : "", Percent(finetuned));
      if (knn) knn_total += *knn, ++knn_count;
      if (finetuned) finetuned_total += *finetuned, ++finetuned_count;
    }
    if (seeds.size() < 2 || chain) continue;
    const auto mean = [&](double total, int64_t count) {
      return Percent(count == static_cast<int64_t>(seeds.size()) ? std::optional<double>(total / count) : std::nullopt);
    };
    absl::StrAppendFormat(&text, "| %-30s | mean | %9s | %15s |\n", encoder.what, mean(knn_total, knn_count),
                          mean(finetuned_total, finetuned_count));
  }
  return text;
}

}  // namespace tec
