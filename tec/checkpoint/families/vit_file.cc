#include "tec/checkpoint/families/vit_file.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "tec/base/nearest_name.h"
#include "tec/base/printable.h"
#include "tec/base/status.h"
#include "tec/checkpoint/elements.h"
#include "tec/checkpoint/families/own_encoder.h"
#include "tec/checkpoint/families/usual_heads.h"
#include "tec/checkpoint/state_dict_file.h"

namespace tec {
namespace {

absl::Status Invalid(absl::string_view message) { return absl::InvalidArgumentError(message); }

// Names out of the file are in the message.
absl::Status Naming(const std::string& path, const absl::Status& status) {
  return Annotate(absl::Status(status.code(), Printable(status.message())), path);
}

bool Contains(const std::vector<std::string>& list, const std::string& item) {
  return std::find(list.begin(), list.end(), item) != list.end();
}

absl::StatusOr<const Family*> FamilyOf(const std::string& name) {
  const Family* family = FindFamily(name);
  if (family != nullptr) return family;
  const std::string nearest = NearestName(name, FamilyNames());
  return Invalid(absl::StrCat("unknown family \"", name, "\"",
                              nearest.empty() ? "." : absl::StrCat("; did you mean ", nearest, "?"), " Known are ",
                              absl::StrJoin(FamilyNames(), ", ")));
}

// Which entry of the top level holds the encoder, "" for the file itself.
absl::StatusOr<std::string> ChooseEntry(const Value& root, const VitRequest& request, const Family* family) {
  std::vector<std::string> entries = TensorEntries(root);
  if (Contains(entries, request.entry)) return request.entry;
  if (family != nullptr) {
    // A family of teachers does not take the student, nor the other way round.
    entries.erase(std::remove_if(entries.begin(), entries.end(),
                                 [family](const std::string& entry) {
                                   return (entry == "student" || entry == "teacher") &&
                                          !Contains(family->entries, entry);
                                 }),
                  entries.end());
    if (const std::vector<std::string> all = TensorEntries(root); entries.empty() && !all.empty()) {
      return Invalid(absl::StrCat("no entry \"", absl::StrJoin(family->entries, "\" or \""), "\", which family ",
                                  family->name, " takes; the file has ", absl::StrJoin(all, ", ")));
    }
  }
  std::vector<std::string> preferred;
  if (family != nullptr) preferred = family->entries;
  // The order of TEC's code.
  preferred.insert(preferred.end(), {"model", "state_dict", "student"});
  for (const std::string& entry : preferred) {
    if (Contains(entries, entry)) return entry;
  }
  if (entries.size() <= 1) return entries.empty() ? "" : entries[0];
  std::vector<std::string> encoders;
  for (const std::string& entry : entries) {
    const absl::StatusOr<StateDictFile> tensors = SelectStateDict(root, entry);
    if (tensors.ok() && RecogniseFamily(tensors->tensors).ok()) encoders.push_back(entry);
  }
  if (encoders.size() == 1) return encoders[0];
  return Invalid(absl::StrCat("several entries hold weights: say --entry=",
                              absl::StrJoin(encoders.empty() ? entries : encoders, " or --entry=")));
}

// Where nothing is said of them: the published models'.
void AssumeHeads(const Family& family, VitTraits* traits) {
  for (const auto& [width, heads] : family.published_heads) {
    if (width != traits->width) continue;
    if (heads == 0) return;
    traits->heads = heads;
    traits->assumed.push_back(
        absl::StrCat(heads, " heads (those of the published models of family ", family.name, " of width ", width, ")"));
    return;
  }
  traits->heads = UsualHeads(traits->width);
  if (traits->heads == 0) return;
  traits->assumed.push_back(
      absl::StrCat(traits->heads, " heads (the usual number for width ", traits->width, "; --heads says another)"));
}

// `source`: of traits->heads, if there are any.
absl::Status SettleHeads(const Family& family, int64_t asked, const std::string& source, VitTraits* traits) {
  if (asked > 0 && traits->heads > 0 && asked != traits->heads) {
    return Invalid(absl::StrCat("--heads=", asked, ", but ", source, " says ", traits->heads, ": leave the flag out"));
  }
  if (asked > 0) traits->heads = asked;
  for (const auto& [width, heads] : family.published_heads) {
    if (asked > 0 && width == traits->width && heads != 0 && heads != asked) {
      traits->assumed.push_back(absl::StrCat(asked, " heads as asked for (the published models of family ", family.name,
                                             " of width ", width, " have ", heads, ")"));
    }
  }
  if (traits->heads == 0) AssumeHeads(family, traits);
  if (traits->heads < 0 || (traits->heads > 0 && traits->width % traits->heads != 0)) {
    return Invalid(
        absl::StrCat(traits->heads, " attention heads do not divide the width ", traits->width, ": --heads must"));
  }
  return absl::OkStatus();
}

absl::Status CheckFinite(const VitPlan& plan) {
  for (const PlannedTensor& planned : plan.tensors) {
    for (size_t i = 0; i < planned.sources.size(); ++i) {
      TEC_RETURN_IF_ERROR(CheckFinite(planned.from[i], planned.sources[i]));
    }
    // A product of what is finite need not be.
    if (planned.sources.size() > 1) {
      TEC_RETURN_IF_ERROR(CheckFinite(absl::StrJoin(planned.from, " with "), planned.read()));
    }
  }
  return absl::OkStatus();
}

std::string NameOf(Activation activation) {
  switch (activation) {
    case Activation::kGelu:
      return "GELU";
    case Activation::kGeluTanh:
      return "GELU by tanh";
    case Activation::kQuickGelu:
      return "QuickGELU";
    case Activation::kSwiGlu:
      return "a gate by SiLU";
  }
  return "";
}

// What no tensor and no config.json tells: the family's. `said`: the user has said which family it is.
void AssumeNumbers(const Family& family, const VitConfig* config, bool said, VitTraits* traits) {
  // This project's own are always the same.
  if (family.name == TecFamily().name) return;
  const bool named = config != nullptr && !config->architecture.empty();
  const bool activation_told =
      config != nullptr && (config->activation.has_value() || traits->activation == Activation::kSwiGlu);
  if (!activation_told && !(said && family.must_be_said)) traits->assumed.push_back(NameOf(traits->activation));
  if (!named && (config == nullptr || !config->norm_epsilon.has_value())) {
    traits->assumed.push_back(absl::StrCat("norms with epsilon ", traits->norm_epsilon));
  }
}

// Of families that differ in nothing else the user's word says the activation.
absl::Status CheckActivation(const Family& family, const VitConfig& config) {
  if (!family.must_be_said || AgreeOnActivation(config, family)) return absl::OkStatus();
  return Invalid(absl::StrCat("--family=", family.name, " has ", NameOf(family.activation), ", but ", config.path,
                              " says ", NameOf(*config.activation), ": leave the flag out"));
}

// The plan with what config.json and the request say, and where the former is to be mentioned.
absl::StatusOr<VitPlan> Settle(const Family& family, const StateDict& tensors, VitHints hints,
                               const VitRequest& request, const std::string& path) {
  const VitConfig* config = hints.config;
  TEC_ASSIGN_OR_RETURN(VitPlan plan, PlanVit(family, tensors, hints));
  VitTraits& traits = plan.traits;
  std::string source = traits.rotary.has_value() ? "rope_embed.periods" : "the relative position table";
  if (config != nullptr) {
    if (traits.heads == 0) source = config->path;
    if (request.family == family.name) TEC_RETURN_IF_ERROR(CheckActivation(family, *config));
    VitConfig of_file = *config;
    // Those are its usual images, and the table is for any.
    if (family.resampled_positions) of_file.image_height = of_file.image_width = 0;
    TEC_RETURN_IF_ERROR(TakeConfig(of_file, path, &traits));
  }
  AssumeNumbers(family, config, request.family == family.name, &traits);
  TEC_RETURN_IF_ERROR(SettleHeads(family, request.heads, source, &traits));
  TEC_RETURN_IF_ERROR(ArrangeRotary(&plan));
  TEC_RETURN_IF_ERROR(CheckFinite(plan));
  return plan;
}

// Without what wraps modules inside of an encoder (compiled, checkpointed or sharded blocks): those parts of a name
// that come after a number. Any before the encoder are of its prefix.
std::string WithoutWrappers(absl::string_view name) {
  std::vector<absl::string_view> kept;
  bool inside = false;
  for (absl::string_view part : absl::StrSplit(name, '.')) {
    int64_t number;
    inside = inside || absl::SimpleAtoi(part, &number);
    const bool wrapper = part == "_orig_mod" || part == "_fsdp_wrapped_module" || part == "_checkpoint_wrapped_module";
    if (!inside || !wrapper) kept.push_back(part);
  }
  return absl::StrJoin(kept, ".");
}

absl::StatusOr<StateDict> Unwrapped(const StateDict& tensors) {
  StateDict unwrapped;
  for (const auto& [name, tensor] : tensors) TEC_RETURN_IF_ERROR(unwrapped.Add(WithoutWrappers(name), tensor));
  return unwrapped;
}

// The file's own, timm's config.json, what else stands beside the file, or what the family's published models have.
absl::StatusOr<ImageStatistics> StatisticsOf(const Family& family, const VitFile& file, const VitConfig* config) {
  const size_t channels = file.plan.traits.channels;
  if (!file.plan.mean.empty()) {
    return ImageStatistics{file.plan.mean, file.plan.std, file.path + ", whose model normalises pixels itself"};
  }
  if (config != nullptr && config->mean.size() == channels && config->std.size() == channels) {
    return ImageStatistics{config->mean, config->std, config->path};
  }
  absl::StatusOr<ImageStatistics> beside = ReadImageStatisticsBeside(file.path);
  // What stands beside other files than the hub's may be anybody's.
  if (!beside.ok() && !family.model_types.empty()) return beside.status();
  if (beside.ok() && beside->mean.size() == channels) return *std::move(beside);
  if (family.published_mean.size() == channels) {
    return ImageStatistics{family.published_mean, family.published_std,
                           absl::StrCat("assumed, as in the published models of family ", family.name)};
  }
  return ImageStatistics();
}

// The same of a checkpoint of ours that says what it is: all that the request may do is agree.
absl::StatusOr<VitPlan> SettleOwn(const OwnEncoder& encoder, const StateDictFile& file, const VitRequest& request) {
  const VitTraits& traits = encoder.traits;
  const auto against = [](const std::string& flag, const std::string& own) {
    return Invalid(absl::StrCat(flag, ", but the checkpoint says ", own, ": leave the flag out"));
  };
  if (!request.family.empty() && request.family != encoder.family) {
    return against("--family=" + request.family, encoder.family);
  }
  if (request.heads > 0 && request.heads != traits.heads) {
    return against(absl::StrCat("--heads=", request.heads), absl::StrCat(traits.heads));
  }
  if (request.grid_rows > 0 && (request.grid_rows != traits.grid || request.grid_columns != traits.grid)) {
    return against(absl::StrCat("--grid=", request.grid_rows, "x", request.grid_columns),
                   absl::StrCat(traits.grid, "x", traits.grid));
  }
  if (!request.entry.empty() && request.entry != file.top_level) {
    return Invalid(absl::StrCat("no entry \"", request.entry, "\"; the checkpoint has ", file.top_level,
                                file.other_entries.empty() ? "" : ", ", absl::StrJoin(file.other_entries, ", ")));
  }
  TEC_ASSIGN_OR_RETURN(VitPlan plan, PlanOwnEncoder(encoder, file.tensors, request.keep_token_mlp));
  TEC_RETURN_IF_ERROR(CheckFinite(plan));
  return plan;
}

}  // namespace

absl::Status ParseGrid(const std::string& text, VitRequest* request) {
  if (text.empty()) return absl::OkStatus();
  const std::vector<std::string> parts = absl::StrSplit(text, 'x');
  const bool numbers = parts.size() <= 2 && absl::SimpleAtoi(parts[0], &request->grid_rows) &&
                       absl::SimpleAtoi(parts.back(), &request->grid_columns);
  constexpr int64_t kMost = 1 << 12;
  if (numbers && request->grid_rows > 0 && request->grid_columns > 0 && request->grid_rows <= kMost &&
      request->grid_columns <= kMost) {
    return absl::OkStatus();
  }
  return Invalid(absl::StrCat("--grid=", text, " is no number of patches such as 14 or 14x14 (rows x columns)"));
}

absl::StatusOr<VitFile> ReadVitFile(const std::string& path, const VitRequest& request) {
  const Family* family = nullptr;
  if (!request.family.empty()) {
    TEC_ASSIGN_OR_RETURN(family, FamilyOf(request.family));
  }
  std::optional<absl::StatusOr<OwnEncoder>> own;
  const auto choose = [&](const Value& root) {
    if (const Value* record = FindEncoderRecord(root)) own = EncoderOfRecord(*record);
    return ChooseEntry(root, request, own ? nullptr : family);
  };
  TEC_ASSIGN_OR_RETURN(StateDictFile file, ReadStateDictBy(path, choose));
  if (own) {
    if (!own->ok()) return Naming(file.path, own->status());
    absl::StatusOr<VitPlan> plan = SettleOwn(**own, file, request);
    if (!plan.ok()) return Naming(file.path, plan.status());
    VitFile result;
    result.plan = *std::move(plan);
    result.path = file.path;
    result.container = file.container;
    result.entry = file.top_level;
    result.description = absl::StrCat(file.path, ": ", file.container, ", entry ", Printable(file.top_level), ", ",
                                      result.plan.Report(), "; as the checkpoint itself says");
    return result;
  }
  absl::StatusOr<StateDict> unwrapped = Unwrapped(file.tensors);
  if (!unwrapped.ok()) return Naming(file.path, unwrapped.status());
  file.tensors = *std::move(unwrapped);
  VitHints hints;
  if (request.entry != file.top_level) hints.entry = request.entry;
  hints.grid_rows = request.grid_rows;
  hints.grid_columns = request.grid_columns;
  hints.keep_token_mlp = request.keep_token_mlp;

  const absl::StatusOr<std::optional<VitConfig>> config = ReadVitConfigBeside(file.path);
  const VitConfig* found = config.ok() && config->has_value() ? &**config : nullptr;
  if (family == nullptr) {
    const absl::StatusOr<const Family*> recognised = RecogniseFamily(file.tensors, {hints.entry, found});
    if (!recognised.ok()) return Naming(file.path, recognised.status());
    family = *recognised;
  } else if (found != nullptr) {
    TEC_RETURN_IF_ERROR(CheckKind(*found, *family));
  }
  // What stands beside other files than the hub's may be anybody's.
  if (!config.ok() && !family->model_types.empty()) return config.status();
  if (absl::IsFailedPrecondition(config.status())) return Invalid(config.status().message());
  if (found != nullptr && Concerns(*found, *family)) hints.config = found;

  absl::StatusOr<VitPlan> plan = Settle(*family, file.tensors, hints, request, file.path);
  if (!plan.ok()) return Naming(file.path, plan.status());
  VitFile result;
  result.plan = *std::move(plan);
  result.path = file.path;
  result.container = file.container;
  result.entry = file.top_level;
  TEC_ASSIGN_OR_RETURN(result.statistics, StatisticsOf(*family, result, found));
  result.description =
      absl::StrCat(file.path, ": ", file.container,
                   file.top_level.empty() ? "" : ", entry " + Printable(file.top_level), ", ", result.plan.Report());
  if (hints.config != nullptr) {
    absl::StrAppend(&result.description, "; agrees with ", hints.config->path);
  } else if (found != nullptr) {
    absl::StrAppend(&result.description, "; ", found->path, " is not looked at: it is of other names than these");
  } else if (!config.ok()) {
    absl::StrAppend(&result.description, "; what stands beside it is not looked at: ", config.status().message());
  }
  std::vector<std::string> others = result.plan.other_prefixes;
  for (const std::string& entry : file.other_entries) others.push_back(entry);
  if (!others.empty()) {
    absl::StrAppend(&result.description, "; the file has further weights, which --entry can choose: ",
                    Printable(absl::StrJoin(others, ", ")));
  }
  return result;
}

absl::Status CheckHeadsKnown(const VitFile& file) {
  if (file.plan.traits.heads > 0) return absl::OkStatus();
  return Invalid(absl::StrCat(file.path, " does not tell the number of attention heads, and neither do the published ",
                              "models of family ", file.plan.family, " of width ", file.plan.traits.width,
                              ": give --heads"));
}

}  // namespace tec
