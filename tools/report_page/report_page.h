// A page of tables and plots, as one file of HTML that needs nothing else.
#ifndef TOOLS_REPORT_PAGE_REPORT_PAGE_H_
#define TOOLS_REPORT_PAGE_REPORT_PAGE_H_

#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "tools/report_page/plot_unit.h"

namespace vfio_user {

// All texts are plain text: what HTML has a meaning for is escaped.

// kWords: a text, which may be broken into lines, among figures, which may not. The first column is
// one in any case.
enum class CellMood { kPlain, kWords, kGood, kBad };

struct PageCell {
  std::string text;
  CellMood mood = CellMood::kPlain;
};

struct PageTable {
  std::string title;
  std::string text;  // What it shows; may be empty.
  std::vector<std::string> columns;
  std::vector<std::vector<PageCell>> rows;  // As long as `columns` each.
};

enum class PlotScale { kLinear, kLogarithmic };

struct PlotAxis {
  std::string title;
  PlotUnit unit = PlotUnit::kCount;
  PlotScale scale = PlotScale::kLogarithmic;
  // For an x axis of names instead of numbers: a point's x is an index into these.
  std::vector<std::string> labels = {};
};

// What the machine does without this library is a limit: drawn as a dashed line.
enum class SeriesKind { kMeasured, kLimit };

struct PlotSeries {
  std::string name;
  SeriesKind kind = SeriesKind::kMeasured;
  std::vector<std::pair<double, double>> points;  // In order of x.
};

struct Plot {
  std::string title;
  std::string text;  // A sentence or two on what it shows.
  PlotAxis x;
  PlotAxis y;
  std::vector<PlotSeries> series;
};

struct ReportPage {
  std::string title;
  std::vector<std::string> paragraphs;  // What was measured, and on what.
  std::vector<std::variant<PageTable, Plot>> sections;
};

// The figures of a plot: a row for each x that any of its series has.
PageTable FiguresOf(const Plot& plot);

// The whole file. The plots are drawn by Chart.js, which is in it, and their figures are in a table
// below each. Readable on light and dark screens, and on narrow ones.
std::string RenderHtml(const ReportPage& page);

}  // namespace vfio_user

#endif  // TOOLS_REPORT_PAGE_REPORT_PAGE_H_
