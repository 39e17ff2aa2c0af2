// Which of several names a wrong one was meant for.

#ifndef TEC_BASE_NEAREST_NAME_H_
#define TEC_BASE_NEAREST_NAME_H_

#include <cstddef>
#include <string>
#include <vector>

namespace tec {

// Levenshtein's distance: letters to change, insert or take away.
size_t EditDistance(const std::string& a, const std::string& b);

// The dotted name among `candidates` that `name` may have been meant for, or "": it ends alike (a prefix too many or
// too few) or differs in a few letters (at most a third).
std::string NearestName(const std::string& name, const std::vector<std::string>& candidates);

}  // namespace tec

#endif  // TEC_BASE_NEAREST_NAME_H_
