// Line charts as SVG.

#ifndef TEC_EVAL_REPORT_CURVES_H_
#define TEC_EVAL_REPORT_CURVES_H_

#include <string>
#include <utility>
#include <vector>

namespace tec {

struct Curve {
  std::string name;
  std::vector<std::pair<double, double>> points;  // x ascending; not finite y: a gap.
  bool dashed = false;                            // A limit rather than something measured.
};

struct Chart {
  std::string title;
  std::vector<Curve> curves;
};

// An SVG file: the charts below one another, each with axes and a legend. A chart without points says so.
std::string DrawCurves(const std::vector<Chart>& charts);

// One chart as an element of an HTML page: as wide as its place, in the page's own text colour, legend below.
std::string InlineChart(const Chart& chart);

// `points` in at most `most` parts of equal numbers, the mean of each: what a chart can show of a long run.
std::vector<std::pair<double, double>> Thinned(const std::vector<std::pair<double, double>>& points, size_t most);

}  // namespace tec

#endif  // TEC_EVAL_REPORT_CURVES_H_
