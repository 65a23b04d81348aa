#include "tools/report_page/report_markdown.h"

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "fmt/format.h"
#include "tools/report_page/report_page.h"

namespace vfio_user {
namespace {

// An underscore within a word has no meaning, and none is elsewhere.
std::string Escaped(std::string_view text) {
  constexpr std::string_view kSpecial = "|*<`";
  std::string out;
  for (const char c : text) {
    if (kSpecial.find(c) != std::string_view::npos) out += '\\';
    out += c;
  }
  return out;
}

std::string CellText(const PageCell& cell) {
  const std::string text = Escaped(cell.text);
  return cell.mood == CellMood::kBad ? fmt::format("**{}**", text) : text;
}

std::string TableText(const PageTable& table) {
  std::string out = fmt::format("### {}\n\n", Escaped(table.title));
  if (!table.text.empty()) out += Escaped(table.text) + "\n\n";
  std::string rule = "|";
  out += "|";
  for (const std::string& column : table.columns) {
    out += fmt::format(" {} |", Escaped(column));
    rule += "---|";
  }
  out += "\n" + rule + "\n";
  for (const std::vector<PageCell>& row : table.rows) {
    out += "|";
    for (const PageCell& cell : row) out += fmt::format(" {} |", CellText(cell));
    out += "\n";
  }
  return out + "\n";
}

}  // namespace

std::string RenderMarkdown(const ReportPage& page) {
  std::string out;
  for (const std::string& text : page.paragraphs) out += Escaped(text) + "\n\n";
  for (const auto& section : page.sections) {
    const auto* const plot = std::get_if<Plot>(&section);
    out += TableText(plot != nullptr ? FiguresOf(*plot) : std::get<PageTable>(section));
  }
  if (!out.empty()) out.pop_back();  // The last section's empty line.
  return out;
}

}  // namespace vfio_user
