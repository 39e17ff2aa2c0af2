// The text files of tec/config/experiments, linked into the program: a name works from any folder.

#ifndef TEC_CONFIG_EMBEDDED_H_
#define TEC_CONFIG_EMBEDDED_H_

#include <string>
#include <vector>

namespace tec {

struct EmbeddedFile {
  const char* name;  // Path below experiments/ without ".textproto": "vit_b_mae_300ep", "mini/tec".
  const char* text;
};

// In the order of their names.
const std::vector<EmbeddedFile>& EmbeddedFiles();

// Names without "/": those a user gives.
std::vector<std::string> EmbeddedNames();

// The text, or null.
const char* FindEmbedded(const std::string& name);

}  // namespace tec

#endif  // TEC_CONFIG_EMBEDDED_H_
