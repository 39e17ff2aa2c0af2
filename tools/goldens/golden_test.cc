#include "tools/goldens/golden_test.h"

#include "gtest/gtest.h"

namespace tec::testing {

void ExpectGolden(const std::string& name, GoldenCheck check, const std::string& folder) {
  GoldenItem item(folder, name);
  RunGoldenCheck(check, item);
  for (const GoldenRow& row : item.rows()) {
    EXPECT_TRUE(row.pass) << row.item << ": " << row.quantity << ", tolerance " << row.tolerance << ", largest error "
                          << row.absolute << ", " << row.where;
  }
  // A check of an item makes one comparison at the least (GoldenItem::Finish).
}

}  // namespace tec::testing
