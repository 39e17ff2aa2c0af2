// The text files of tec/config/experiments, linked into the program: a name works from any folder.

#ifndef TEC_CONFIG_EMBEDDED_H_
#define TEC_CONFIG_EMBEDDED_H_

#include <string>
#include <vector>

namespace tec {

struct EmbeddedFile {
  const char* name;  // Path below experiments/ without ".textproto": "vit_b_mae_300ep", "finetune/vit_b_mae_300ep".
  const char* text;
};

// In the order of their names.
const std::vector<EmbeddedFile>& EmbeddedFiles();

// Names with this prefix ("" or "finetune/") and no further "/", without the prefix.
std::vector<std::string> EmbeddedNames(const std::string& prefix);

// The text, or null.
const char* FindEmbedded(const std::string& name);

}  // namespace tec

#endif  // TEC_CONFIG_EMBEDDED_H_
