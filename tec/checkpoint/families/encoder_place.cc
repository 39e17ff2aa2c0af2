#include "tec/checkpoint/families/encoder_place.h"

#include <algorithm>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "tec/base/printable.h"
#include "tec/base/status.h"

namespace tec {
namespace {

absl::Status Invalid(absl::string_view message) { return absl::InvalidArgumentError(message); }

bool Contains(const std::vector<std::string>& list, absl::string_view item) {
  return std::find(list.begin(), list.end(), item) != list.end();
}

std::vector<std::string> PartsOf(absl::string_view prefix) { return absl::StrSplit(prefix, '.', absl::SkipEmpty()); }

// The longest start, whole parts, that all names share.
std::string CommonPrefix(const StateDict& tensors) {
  if (tensors.empty()) return "";
  absl::string_view common = tensors.entries()[0].first;
  for (const auto& [name, tensor] : tensors) {
    size_t same = 0;
    while (same < common.size() && same < name.size() && common[same] == name[same]) ++same;
    common = common.substr(0, same);
  }
  const size_t dot = common.rfind('.');
  return dot == absl::string_view::npos ? "" : std::string(common.substr(0, dot + 1));
}

bool HasMarks(const Family& family, const StateDict& tensors, const std::string& prefix, const std::string& wrapper) {
  const bool foreign = std::any_of(tensors.begin(), tensors.end(), [&](const StateDict::Entry& entry) {
    absl::string_view own = entry.first;
    return absl::ConsumePrefix(&own, prefix) && FitsAny(own, family.absent);
  });
  if (foreign) return false;
  return std::all_of(family.marks.begin(), family.marks.end(), [&](const std::string& mark) {
    const std::vector<std::string> alternatives = absl::StrSplit(mark, '|');
    return std::any_of(tensors.begin(), tensors.end(), [&](const StateDict::Entry& entry) {
      absl::string_view own = entry.first, outer = entry.first;
      if (absl::ConsumePrefix(&own, prefix) && FitsAny(own, alternatives)) return true;
      return absl::ConsumePrefix(&outer, wrapper) && FitsAny(outer, alternatives);
    });
  });
}

// What stands before the first mark, wherever the last part of it may be the family's.
std::vector<std::string> Prefixes(const Family& family, const StateDict& tensors) {
  std::set<std::string> prefixes;
  for (const auto& [name, tensor] : tensors) {
    absl::string_view prefix = name;
    if (!absl::ConsumeSuffix(&prefix, family.marks[0]) || (!prefix.empty() && prefix.back() != '.')) continue;
    const std::vector<std::string> parts = PartsOf(prefix);
    if (!family.under.empty() && (parts.empty() || !Contains(family.under, parts.back()))) continue;
    prefixes.insert(std::string(prefix));
  }
  return {prefixes.begin(), prefixes.end()};
}

std::string WrapperOf(const std::string& prefix, const std::string& common) {
  return absl::StartsWith(prefix, common) ? common : absl::StartsWith(common, prefix) ? prefix : "";
}

std::vector<std::string> MarkedPlaces(const Family& family, const StateDict& tensors, const std::string& common) {
  std::vector<std::string> places;
  for (const std::string& prefix : Prefixes(family, tensors)) {
    if (HasMarks(family, tensors, prefix, WrapperOf(prefix, common))) places.push_back(prefix);
  }
  return places;
}

// Of encoders that are known and not read: a tensor that tells them, and why.
absl::Status WhyNot(const StateDict& tensors) {
  struct Known {
    absl::string_view name, why;
  };
  for (const Known& known :
       {Known{"rope.freqs",
              "a ViT with learned rotary frequencies (timm's vit_*_rope_mixed_*), which are not supported"},
        Known{"blocks.0.attn.rel_pos.mlp.fc1.weight",
              "a ViT whose relative positions come from an MLP (timm's vit_relpos_*), which is not supported"},
        Known{"blocks.0.attn.rel_pos_h", "SAM's image encoder (attention in windows), which is not supported"}}) {
    for (const auto& [name, tensor] : tensors) {
      if (absl::EndsWith(name, known.name)) return Invalid(absl::StrCat("this is ", known.why));
    }
  }
  return absl::OkStatus();
}

// Whether the config tells the family from others of the same names.
bool Says(const VitConfig& config, const Family& family) {
  if (!Concerns(config, family)) return false;
  if (config.architecture.empty() && config.model_type.empty()) return false;
  return AgreeOnActivation(config, family);
}

}  // namespace

absl::StatusOr<EncoderPlace> FindEncoder(const Family& family, const StateDict& tensors, absl::string_view entry) {
  const std::string common = CommonPrefix(tensors);
  std::vector<std::string> places = MarkedPlaces(family, tensors, common);
  if (places.empty()) places = Prefixes(family, tensors);
  EncoderPlace result;
  const auto with = [&places](absl::string_view part) {
    std::vector<std::string> chosen;
    for (const std::string& place : places) {
      if (Contains(PartsOf(place), part)) chosen.push_back(place);
    }
    return chosen;
  };
  std::vector<std::string> chosen = places;
  if (!entry.empty()) {
    chosen = with(entry);
    if (chosen.empty()) {
      return Invalid(absl::StrCat(
          "no entry \"", entry, "\" at the file's top level or before the names of an encoder",
          places.empty() ? "" : absl::StrCat("; there are encoders under \"", absl::StrJoin(places, "\", \""), "\"")));
    }
  }
  for (const std::string& preferred : family.entries) {
    if (chosen.size() <= 1) break;
    if (const std::vector<std::string> matching = with(preferred); matching.size() == 1) chosen = matching;
  }
  if (chosen.size() > 1) {
    std::set<std::string> words;
    for (const std::string& place : chosen) {
      for (const std::string& part : PartsOf(place)) {
        if (with(part).size() == 1) words.insert(part);
      }
    }
    return Invalid(absl::StrCat("the file holds ", chosen.size(), " encoders, under \"",
                                absl::StrJoin(chosen, "\", \""),
                                "\": say --entry=", words.empty() ? "ENTRY" : absl::StrJoin(words, " or --entry=")));
  }
  if (!chosen.empty()) result.prefix = chosen[0];
  result.wrapper = WrapperOf(result.prefix, common);
  for (const std::string& place : places) {
    if (place != result.prefix) result.others.push_back(place);
  }
  return result;
}

absl::StatusOr<const Family*> RecogniseFamily(const StateDict& tensors, const Clues& clues) {
  const std::string common = CommonPrefix(tensors);
  const auto fits = [&](const Family& family) {
    const std::vector<std::string> places = MarkedPlaces(family, tensors, common);
    return std::any_of(places.begin(), places.end(), [&clues](const std::string& place) {
      return clues.entry.empty() || Contains(PartsOf(place), clues.entry);
    });
  };
  TEC_RETURN_IF_ERROR(WhyNot(tensors));
  absl::Status of_another_model;
  std::vector<const Family*> alike;  // Which something has to say.
  for (const Family& family : Families()) {
    if (!fits(family)) continue;
    if (clues.config != nullptr) {
      if (absl::Status kind = CheckKind(*clues.config, family); !kind.ok()) {
        of_another_model.Update(kind);
        continue;
      }
    }
    if (!family.must_be_said) {
      if (alike.empty()) return &family;
      break;
    }
    if (clues.config != nullptr && Says(*clues.config, family)) return &family;
    alike.push_back(&family);
  }
  if (!alike.empty()) {
    std::vector<std::string> choices;
    for (const Family* family : alike)
      choices.push_back(absl::StrCat("--family=", family->name, " (", family->what, ")"));
    return Invalid(absl::StrCat("the tensors do not tell what these names are of: say ", absl::StrJoin(choices, " or "),
                                alike.size() == 1 ? ", if it is that" : ""));
  }
  TEC_RETURN_IF_ERROR(of_another_model);
  for (const Family& family : Families()) {
    if (clues.entry.empty() || MarkedPlaces(family, tensors, common).empty()) continue;
    TEC_RETURN_IF_ERROR(FindEncoder(family, tensors, clues.entry).status());
  }
  std::vector<std::string> some;
  for (const auto& [name, tensor] : tensors) {
    if (some.size() == 8) {
      some.push_back("...");
      break;
    }
    some.push_back(name);
  }
  return Invalid(absl::StrCat("no vision transformer of a known family (", absl::StrJoin(FamilyNames(), ", "), ")",
                              common.empty() ? "" : absl::StrCat(" under the common prefix \"", common, "\""),
                              ": the tensors are ", absl::StrJoin(some, ", ")));
}

bool Concerns(const VitConfig& config, const Family& family) {
  return config.architecture.empty() != family.model_types.empty();
}

bool AgreeOnActivation(const VitConfig& config, const Family& family) {
  // What gates a gated MLP is told by its shape.
  if (!config.activation.has_value() || family.activation == Activation::kSwiGlu) return true;
  // OpenCLIP's GELU may be by tanh, which its config says (act_kwargs).
  const bool by_tanh = config.architecture == kOpenClipTower && *config.activation == Activation::kGeluTanh;
  return *config.activation == family.activation || (by_tanh && family.activation == Activation::kGelu);
}

absl::Status CheckKind(const VitConfig& config, const Family& family) {
  if (!Concerns(config, family)) return absl::OkStatus();
  const auto has_one_of = [&config](const std::vector<std::string>& parts) {
    return std::any_of(parts.begin(), parts.end(),
                       [&config](const std::string& part) { return absl::StrContains(config.architecture, part); });
  };
  const bool has_parts = (family.architecture_parts.empty() || has_one_of(family.architecture_parts)) &&
                         !has_one_of(family.other_architecture_parts);
  const bool fits =
      config.architecture.empty()
          ? config.model_type.empty() || Contains(family.model_types, config.model_type)
          : (family.architectures.empty() || FitsAny(config.architecture, family.architectures)) && has_parts;
  if (fits) return absl::OkStatus();
  return Invalid(absl::StrCat("the names are those of family ", family.name, ", but ", config.path, " is of ",
                              config.architecture.empty()
                                  ? absl::StrCat("model_type \"", Printable(config.model_type))
                                  : absl::StrCat("architecture \"", Printable(config.architecture)),
                              "\". Move it away if it is of another model"));
}

bool IsHead(absl::string_view name) {
  static const auto* words = new std::set<std::string>{
      "head",       "heads",      "classifier", "classifiers", "fc",        "decoder", "predictor", "projector",
      "projectors", "projection", "prototype",  "prototypes",  "pooler",    "pool",    "text",      "logit",
      "logits",     "mask",       "lm",         "loss",        "criterion", "queue"};
  const absl::string_view first = name.substr(0, name.find('.'));
  for (absl::string_view word : absl::StrSplit(first, '_')) {
    if (words->count(absl::AsciiStrToLower(word)) != 0) return true;
  }
  return false;
}

}  // namespace tec
