// Line charts as SVG.

#ifndef TEC_EVAL_REPRODUCE_CURVES_H_
#define TEC_EVAL_REPRODUCE_CURVES_H_

#include <string>
#include <utility>
#include <vector>

namespace tec {

struct Curve {
  std::string name;
  std::vector<std::pair<double, double>> points;  // x ascending; not finite y: a gap.
};

struct Chart {
  std::string title;
  std::vector<Curve> curves;
};

// The charts below one another, each with axes and a legend. A chart without points says so.
std::string DrawCurves(const std::vector<Chart>& charts);

}  // namespace tec

#endif  // TEC_EVAL_REPRODUCE_CURVES_H_
