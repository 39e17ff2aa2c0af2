// JSON values to text that any reader takes, whatever the strings in them are.

#ifndef TEC_BASE_JSON_TEXT_H_
#define TEC_BASE_JSON_TEXT_H_

#include <string>

#include "nlohmann/json.hpp"

namespace tec {

// `json`.dump(indent), with strings and keys through ToUtf8 (printable.h): dump() itself throws where one is no UTF-8,
// as names of files and classes may be. Keys that become equal by it: the last one stays.
std::string DumpJson(const nlohmann::ordered_json& json, int indent = -1);

}  // namespace tec

#endif  // TEC_BASE_JSON_TEXT_H_
