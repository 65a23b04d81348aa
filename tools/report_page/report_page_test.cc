#include "tools/report_page/report_page.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tools/report_page/plot_unit.h"

namespace vfio_user {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(ReportPageTest, IsOneFileThatNeedsNothingElse) {
  const std::string html = RenderHtml({.title = "Title", .paragraphs = {}, .sections = {}});

  EXPECT_THAT(html, HasSubstr("Chart.js v"));
  EXPECT_THAT(html, AllOf(Not(HasSubstr("src=")), Not(HasSubstr("<link"))));
}

TEST(ReportPageTest, EscapesTexts) {
  const std::string html = RenderHtml({.title = "a<b", .paragraphs = {"\"&\""}, .sections = {}});

  EXPECT_THAT(html, AllOf(HasSubstr("<h1>a&lt;b</h1>"), HasSubstr("<p>&quot;&amp;&quot;</p>")));
}

TEST(ReportPageTest, MarksCells) {
  const PageTable table = {
      .title = "Targets",
      .text = "",
      .columns = {"name", "verdict"},
      .rows = {{{"one"}, {"reached", CellMood::kGood}}, {{"two"}, {"missed", CellMood::kBad}}}};

  const std::string html = RenderHtml({.title = "", .paragraphs = {}, .sections = {table}});

  EXPECT_THAT(html, HasSubstr("<tr><td>one</td><td class=\"good\">reached</td></tr>"));
  EXPECT_THAT(html, HasSubstr("<tr><td>two</td><td class=\"bad\">missed</td></tr>"));
}

TEST(ReportPageTest, BreaksWordsIntoLines) {
  const PageTable table = {.title = "",
                           .text = "",
                           .columns = {"name", "place"},
                           .rows = {{{"one"}, {"a/long/one", CellMood::kWords}}}};

  const std::string html = RenderHtml({.title = "", .paragraphs = {}, .sections = {table}});

  EXPECT_THAT(html,
              HasSubstr("<th scope=\"col\">name</th><th scope=\"col\" class=\"words\">place"));
  EXPECT_THAT(html, HasSubstr("<td class=\"words\">a/long/one</td>"));
}

Plot SmallPlot() {
  return {.title = "Throughput",
          .text = "What it shows.",
          .x = {.title = "size", .unit = PlotUnit::kBytes},
          .y = {.title = "throughput", .unit = PlotUnit::kBytesPerSecond},
          .series = {{"file I/O", SeriesKind::kMeasured, {{64, 1024}, {4096, 2048}}},
                     {"</script>", SeriesKind::kLimit, {{4096, 4096}}}}};
}

TEST(ReportPageTest, HasThePointsOfAPlotForTheScriptThatDrawsIt) {
  const std::string html = RenderHtml({.title = "", .paragraphs = {}, .sections = {SmallPlot()}});

  EXPECT_THAT(html, HasSubstr("<canvas data-plot=\"0\""));
  EXPECT_THAT(html, HasSubstr(R"("points":[[64.0,1024.0],[4096.0,2048.0]])"));
  EXPECT_THAT(html, HasSubstr(R"({"name":"\u003c/script>","limit":true)"));
}

TEST(ReportPageTest, HasTheFiguresOfAPlotInATable) {
  const std::string html = RenderHtml({.title = "", .paragraphs = {}, .sections = {SmallPlot()}});

  EXPECT_THAT(html, HasSubstr("<tr><td>64 B</td><td>1 KiB/s</td><td></td></tr>"));
  EXPECT_THAT(html, HasSubstr("<tr><td>4 KiB</td><td>2 KiB/s</td><td>4 KiB/s</td></tr>"));
}

TEST(ReportPageTest, NamesThePlacesOfAnAxisWithLabels) {
  Plot plot = SmallPlot();
  plot.x.labels = {"p50", "p99"};
  plot.series = {{"read", SeriesKind::kMeasured, {{0, 1}, {1, 2}}}};

  const std::string html = RenderHtml({.title = "", .paragraphs = {}, .sections = {plot}});

  EXPECT_THAT(html, AllOf(HasSubstr("<tr><td>p50</td>"), HasSubstr("<tr><td>p99</td>")));
}

}  // namespace
}  // namespace vfio_user
