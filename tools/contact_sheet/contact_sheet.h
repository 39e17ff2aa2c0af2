// Many pictures on one.

#ifndef TEC_TOOLS_CONTACT_SHEET_CONTACT_SHEET_H_
#define TEC_TOOLS_CONTACT_SHEET_CONTACT_SHEET_H_

#include <vector>

#include "data/image/image.h"

namespace tec {

// Tiles of one size in rows of `columns`, row by row, with a gap of 4 grey pixels between them and around them. At
// least one tile; columns >= 1.
Image ContactSheet(const std::vector<Image>& tiles, int columns);

}  // namespace tec

#endif  // TEC_TOOLS_CONTACT_SHEET_CONTACT_SHEET_H_
