#include "tec/checkpoint/families/family.h"

#include <algorithm>

#include "absl/strings/ascii.h"

namespace tec {
namespace {

// What the pattern's '#' and '*' stand for in `name`; nullopt if it does not fit.
struct Match {
  absl::string_view block, rest;
};

std::optional<Match> Fit(absl::string_view pattern, absl::string_view name) {
  Match match;
  while (!pattern.empty()) {
    const char wanted = pattern.front();
    pattern.remove_prefix(1);
    if (wanted == '*') {
      match.rest = name;
      return match;
    }
    if (wanted == '#' || wanted == '%') {
      size_t digits = 0;
      while (digits < name.size() && absl::ascii_isdigit(name[digits])) ++digits;
      // No leading zeros: two names must not mean the same block.
      if (digits == 0 || digits > 4 || (digits > 1 && name[0] == '0')) return std::nullopt;
      if (wanted == '#') match.block = name.substr(0, digits);
      name.remove_prefix(digits);
    } else {
      if (name.empty() || name.front() != wanted) return std::nullopt;
      name.remove_prefix(1);
    }
  }
  if (!name.empty()) return std::nullopt;
  return match;
}

}  // namespace

std::optional<std::string> Renamed(absl::string_view name, const std::vector<NameRule>& rules) {
  for (const NameRule& rule : rules) {
    const std::optional<Match> match = Fit(rule.from, name);
    if (!match.has_value()) continue;
    std::string renamed;
    for (char c : rule.to) {
      if (c == '#') {
        renamed.append(match->block.data(), match->block.size());
      } else if (c == '*') {
        renamed.append(match->rest.data(), match->rest.size());
      } else {
        renamed += c;
      }
    }
    return renamed;
  }
  return std::nullopt;
}

bool FitsAny(absl::string_view name, const std::vector<std::string>& patterns) {
  for (const std::string& pattern : patterns) {
    if (Fit(pattern, name).has_value()) return true;
  }
  return false;
}

std::vector<NameRule> PlainNames() {
  std::vector<NameRule> rules;
  for (const char* name :
       {"cls_token", "pos_embed", "patch_embed.proj.*", "blocks.#.norm1.*", "blocks.#.attn.qkv.*",
        "blocks.#.attn.proj.*", "blocks.#.norm2.*", "blocks.#.mlp.fc1.*", "blocks.#.mlp.fc2.*", "norm.*"}) {
    rules.push_back({name, name});
  }
  return rules;
}

std::vector<NameRule> PlainNamesWithoutPositions() {
  std::vector<NameRule> rules = PlainNames();
  rules.erase(std::remove_if(rules.begin(), rules.end(), [](const NameRule& rule) { return rule.from == "pos_embed"; }),
              rules.end());
  return rules;
}

std::vector<NameRule> HuggingFaceBlockNames(const std::string& block) {
  std::vector<NameRule> rules;
  for (const auto& [theirs, own] : {std::pair("norm1.*", "norm1.*"),
                                    {"attention.q_proj.*", "attn.q.*"},
                                    {"attention.k_proj.*", "attn.k.*"},
                                    {"attention.v_proj.*", "attn.v.*"},
                                    {"attention.o_proj.*", "attn.proj.*"},
                                    {"layer_scale1.lambda1", "ls1.gamma"},
                                    {"norm2.*", "norm2.*"},
                                    {"mlp.gate_proj.*", "mlp.gate.*"},
                                    {"mlp.up_proj.*", "mlp.up.*"},
                                    {"mlp.down_proj.*", "mlp.fc2.*"},
                                    {"layer_scale2.lambda1", "ls2.gamma"}}) {
    rules.push_back({block + theirs, std::string("blocks.#.") + own});
  }
  return rules;
}

void TakePlainArchitectures(Family* family) {
  family->architectures = {"vit_*", "deit*", "test_vit*", "flexivit_*", "eva_large_*"};
  family->other_architecture_parts = {"clip",   "siglip", "_gap_", "_rpn_",   "relpos",   "_rope",
                                      "vit_pe", "dinov3", "sam",   "lingbot", "test_vit3"};
}

const std::vector<Family>& Families() {
  // A family stands before those whose marks its files have too.
  static const auto* families = new std::vector<Family>{
      TecFamily(),
      MaeFamily(),
      IbotFamily(),
      IbotTeacherFamily(),
      DinoFamily(),
      DinoTeacherFamily(),
      Dinov3Family(),
      TimmDinov3Family(),
      Dinov2Family(),
      BeitFamily(),
      Beit3Family(),
      EvaFamily(),
      Eva02Family(),
      Eva02EnormousFamily(),
      TimmRopeFamily(),
      TimmRopeNoClassFamily(),
      MocoV3Family(),
      DeitFamily(),
      TimmClipFamily(),
      TimmOpenClipFamily(),
      TimmPeFamily(),
      TimmPeGiganticFamily(),
      TimmFamily(),
      TimmAimv2Family(),
      TimmSiglipFamily(),
      TimmNoClassFamily(),
      IjepaFamily(),
      MmpretrainFamily(),
      RadioFamily(),
      HuggingFaceMaeFamily(),
      HuggingFaceDeitFamily(),
      HuggingFaceVitFamily(),
      HuggingFaceDinov2Family(),
      HuggingFaceDinov3Family(),
      HuggingFaceBeitFamily(),
      HuggingFaceClipFamily(),
      HuggingFaceOpenClipFamily(),
      HuggingFaceSiglipFamily(),
      HuggingFaceIjepaFamily(),
      HuggingFaceAimv2Family(),
      HuggingFaceRadioFamily(),
      ClipFamily(),
      OpenClipFamily(),
  };
  return *families;
}

const Family* FindFamily(absl::string_view name) {
  for (const Family& family : Families()) {
    if (family.name == name) return &family;
  }
  return nullptr;
}

std::vector<std::string> FamilyNames() {
  std::vector<std::string> names;
  for (const Family& family : Families()) names.push_back(family.name);
  return names;
}

}  // namespace tec
