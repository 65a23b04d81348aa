#include "tools/report_page/report_page.h"

#include <cstddef>
#include <map>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "fmt/format.h"
#include "nlohmann/json.hpp"
#include "tools/report_page/page_files.h"
#include "tools/report_page/quantity_text.h"

namespace vfio_user {
namespace {

using Json = nlohmann::ordered_json;

std::string Escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '&':
        out += "&amp;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

std::string_view ClassOf(CellMood mood) {
  switch (mood) {
    case CellMood::kPlain:
      return "";
    case CellMood::kWords:
      return " class=\"words\"";
    case CellMood::kGood:
      return " class=\"good\"";
    case CellMood::kBad:
      return " class=\"bad\"";
  }
  return "";
}

std::string_view NameOf(PlotUnit unit) {
  switch (unit) {
    case PlotUnit::kBytes:
      return "bytes";
    case PlotUnit::kBytesPerSecond:
      return "bytes_per_second";
    case PlotUnit::kSeconds:
      return "seconds";
    case PlotUnit::kCount:
      return "count";
    case PlotUnit::kPerSecond:
      return "per_second";
  }
  return "count";
}

std::string Heading(std::string_view title, std::string_view text) {
  std::string out = fmt::format("<h2>{}</h2>\n", Escaped(title));
  if (!text.empty()) out += fmt::format("<p>{}</p>\n", Escaped(text));
  return out;
}

std::string TableHtml(const PageTable& table) {
  std::string out = "<div class=\"scroll\" tabindex=\"0\"><table>\n<thead><tr>";
  for (size_t i = 0; i < table.columns.size(); ++i) {
    const bool words = !table.rows.empty() && table.rows.front()[i].mood == CellMood::kWords;
    out += fmt::format("<th scope=\"col\"{}>{}</th>",
                       ClassOf(words ? CellMood::kWords : CellMood::kPlain),
                       Escaped(table.columns[i]));
  }
  out += "</tr></thead>\n<tbody>\n";
  for (const std::vector<PageCell>& row : table.rows) {
    out += "<tr>";
    for (const PageCell& cell : row) {
      out += fmt::format("<td{}>{}</td>", ClassOf(cell.mood), Escaped(cell.text));
    }
    out += "</tr>\n";
  }
  return out + "</tbody></table></div>\n";
}

Json AxisJson(const PlotAxis& axis) {
  return {{"title", axis.title},
          {"unit", NameOf(axis.unit)},
          {"log", axis.scale == PlotScale::kLogarithmic},
          {"labels", axis.labels}};
}

Json PlotJson(const Plot& plot) {
  Json series = Json::array();
  for (const PlotSeries& one : plot.series) {
    series.push_back(
        {{"name", one.name}, {"limit", one.kind == SeriesKind::kLimit}, {"points", one.points}});
  }
  return {{"x", AxisJson(plot.x)}, {"y", AxisJson(plot.y)}, {"series", series}};
}

// JSON as the content of a script element, which "</script>" in a text must not end.
std::string ScriptJson(const Json& json) {
  std::string out;
  for (const char c : json.dump(-1, ' ', false, Json::error_handler_t::replace)) {
    if (c == '<') {
      out += "\\u003c";
    } else {
      out += c;
    }
  }
  return out;
}

class SectionRenderer {
 public:
  std::string operator()(const PageTable& table) {
    return "<section>\n" + Heading(table.title, table.text) + TableHtml(table) + "</section>\n";
  }
  std::string operator()(const Plot& plot) {
    std::string out = "<section>\n" + Heading(plot.title, plot.text);
    out += fmt::format(
        "<div class=\"plot\"><canvas data-plot=\"{}\" role=\"img\" aria-label=\"{}\"></canvas>"
        "</div>\n",
        plots_.size(), Escaped(plot.title));
    out += "<details><summary>Figures</summary>\n" + TableHtml(FiguresOf(plot)) + "</details>\n";
    plots_.push_back(PlotJson(plot));
    return out + "</section>\n";
  }

  const Json& plots() const { return plots_; }

 private:
  Json plots_ = Json::array();
};

}  // namespace

PageTable FiguresOf(const Plot& plot) {
  PageTable table = {.title = plot.title, .text = plot.text, .columns = {}, .rows = {}};
  table.columns.push_back(plot.x.title);
  std::map<double, std::vector<PageCell>> rows;
  for (size_t i = 0; i < plot.series.size(); ++i) {
    table.columns.push_back(plot.series[i].name);
    for (const auto& [x, y] : plot.series[i].points) {
      std::vector<PageCell>& row = rows[x];
      row.resize(plot.series.size());
      row[i].text = QuantityText(y, plot.y.unit);
    }
  }
  for (auto& [x, row] : rows) {
    const auto index = static_cast<size_t>(x);
    std::vector<PageCell> cells = {
        {index < plot.x.labels.size() ? plot.x.labels[index] : QuantityText(x, plot.x.unit)}};
    cells.insert(cells.end(), row.begin(), row.end());
    table.rows.push_back(std::move(cells));
  }
  return table;
}

std::string RenderHtml(const ReportPage& page) {
  std::string body = fmt::format("<h1>{}</h1>\n", Escaped(page.title));
  for (const std::string& text : page.paragraphs) body += fmt::format("<p>{}</p>\n", Escaped(text));
  SectionRenderer renderer;
  for (const auto& section : page.sections) body += std::visit(renderer, section);
  return fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<meta name=\"color-scheme\" content=\"light dark\">\n"
      "<title>{}</title>\n<style>\n{}</style>\n</head>\n<body>\n<main>\n{}</main>\n"
      "<script type=\"application/json\" id=\"plots\">{}</script>\n"
      "<script>{}</script>\n<script>\n{}</script>\n</body>\n</html>\n",
      Escaped(page.title), PageCss(), body, ScriptJson(renderer.plots()), ChartJs(), PageJs());
}

}  // namespace vfio_user
