#include "eval/report/curves.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "eval/report/html.h"

namespace tec {
namespace {

constexpr double kHeight = 320;                        // Of a chart, pixels.
constexpr double kLeft = 76, kTop = 30, kBottom = 30;  // Around the drawing.
// Of a chart with its legend on the right, and of one whose legend stands elsewhere: narrow, so that a telephone need
// not shrink its text.
constexpr double kWidth = 860, kRight = 260, kInlineWidth = 560, kInlineRight = 20;
constexpr int kTicks = 5;
constexpr const char* kColours[] = {"#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd",
                                    "#8c564b", "#e377c2", "#7f7f7f", "#bcbd22", "#17becf"};
constexpr int kColourCount = sizeof(kColours) / sizeof(kColours[0]);

struct Range {
  double low = std::numeric_limits<double>::infinity();
  double high = -std::numeric_limits<double>::infinity();

  void Include(double value) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
  bool empty() const { return low > high; }
  // A single value gets some room around it.
  void Widen() {
    if (high - low > 0) return;
    low -= 0.5;
    high += 0.5;
  }
  double At(double value) const { return (value - low) / (high - low); }
};

std::string Text(double x, double y, const char* anchor, const std::string& text) {
  return absl::StrFormat("<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\" fill=\"currentColor\">%s</text>\n", x, y,
                         anchor, HtmlText(text));
}

const char* ColourOf(size_t curve) { return kColours[curve % kColourCount]; }

std::string Legend(const Chart& chart, double top) {
  std::string svg;
  for (size_t c = 0; c < chart.curves.size(); ++c) {
    const double row = top + kTop + 14 * static_cast<double>(c) + 8;
    absl::StrAppendFormat(&svg, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"%s\"/>\n",
                          kWidth - kRight + 12, row - 4, kWidth - kRight + 32, row - 4, ColourOf(c));
    svg += Text(kWidth - kRight + 38, row, "start", chart.curves[c].name);
  }
  return svg;
}

std::string Draw(const Chart& chart, double top, double width) {
  Range x, y;
  for (const Curve& curve : chart.curves) {
    for (const auto& [px, py] : curve.points) {
      if (!std::isfinite(px) || !std::isfinite(py)) continue;
      x.Include(px);
      y.Include(py);
    }
  }
  std::string svg = Text(kLeft, top + kTop - 12, "start", chart.title);
  if (x.empty()) return svg + Text(kLeft, top + kTop + 20, "start", "(nothing yet)");
  x.Widen();
  y.Widen();
  const double height = kHeight - kTop - kBottom;
  const auto left_of = [&](double value) { return kLeft + width * x.At(value); };
  const auto top_of = [&](double value) { return top + kTop + height * (1 - y.At(value)); };
  for (int i = 0; i <= kTicks; ++i) {
    const double part = static_cast<double>(i) / kTicks;
    const double xv = x.low + (x.high - x.low) * part, yv = y.low + (y.high - y.low) * part;
    absl::StrAppendFormat(
        &svg, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"#888\" stroke-opacity=\"0.35\"/>\n",
        kLeft, top_of(yv), kLeft + width, top_of(yv));
    svg += Text(kLeft - 6, top_of(yv) + 4, "end", absl::StrFormat("%.4g", yv));
    svg += Text(left_of(xv), top + kTop + height + 18, "middle", absl::StrFormat("%.4g", xv));
  }
  for (size_t c = 0; c < chart.curves.size(); ++c) {
    std::string path;
    bool pen_up = true;
    if (chart.curves[c].points.size() == 1) {  // No line to draw yet.
      const auto& [px, py] = chart.curves[c].points[0];
      if (std::isfinite(px) && std::isfinite(py)) {
        absl::StrAppendFormat(&svg, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3\" fill=\"%s\"/>\n", left_of(px), top_of(py),
                              ColourOf(c));
      }
      continue;
    }
    for (const auto& [px, py] : chart.curves[c].points) {
      if (!std::isfinite(px) || !std::isfinite(py)) {
        pen_up = true;
        continue;
      }
      absl::StrAppendFormat(&path, "%s%.1f %.1f", pen_up ? "M" : "L", left_of(px), top_of(py));
      pen_up = false;
    }
    absl::StrAppendFormat(&svg, "<path d=\"%s\" fill=\"none\" stroke=\"%s\" stroke-width=\"1.5\"%s/>\n", path,
                          ColourOf(c), chart.curves[c].dashed ? " stroke-dasharray=\"6 4\"" : "");
  }
  return svg;
}

}  // namespace

std::string DrawCurves(const std::vector<Chart>& charts) {
  const double height = kHeight * static_cast<double>(charts.size());
  std::string svg = absl::StrFormat(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%.0f\" height=\"%.0f\" font-family=\"sans-serif\" "
      "font-size=\"11\">\n<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n",
      kWidth, height);
  for (size_t i = 0; i < charts.size(); ++i) {
    const double top = kHeight * static_cast<double>(i);
    svg += Draw(charts[i], top, kWidth - kLeft - kRight) + Legend(charts[i], top);
  }
  return svg + "</svg>\n";
}

std::string InlineChart(const Chart& chart) {
  std::string html = absl::StrFormat(
      "<figure class=\"chart\"><svg viewBox=\"0 0 %.0f %.0f\" role=\"img\" aria-label=\"%s\" "
      "font-family=\"sans-serif\" font-size=\"13\">\n%s</svg><figcaption>",
      kInlineWidth, kHeight, HtmlText(chart.title), Draw(chart, 0, kInlineWidth - kLeft - kInlineRight));
  for (size_t c = 0; c < chart.curves.size(); ++c) {
    absl::StrAppendFormat(&html, "<span><i style=\"background:%s\"></i>%s</span> ", ColourOf(c),
                          HtmlText(chart.curves[c].name));
  }
  return html + "</figcaption></figure>\n";
}

std::vector<std::pair<double, double>> Thinned(const std::vector<std::pair<double, double>>& points, size_t most) {
  if (points.size() <= most) return points;
  std::vector<std::pair<double, double>> thin(most);
  for (size_t part = 0; part < most; ++part) {
    const size_t begin = part * points.size() / most, end = (part + 1) * points.size() / most;
    for (size_t i = begin; i < end; ++i) {
      thin[part].first += points[i].first / static_cast<double>(end - begin);
      thin[part].second += points[i].second / static_cast<double>(end - begin);
    }
  }
  return thin;
}

}  // namespace tec
