#include "tools/report_page/report_markdown.h"

#include "gtest/gtest.h"
#include "tools/report_page/plot_unit.h"
#include "tools/report_page/report_page.h"

namespace vfio_user {
namespace {

TEST(ReportMarkdownTest, HasTablesAndMarksWhatIsBad) {
  const PageTable table = {
      .title = "Targets",
      .text = "Two of them.",
      .columns = {"name", "verdict"},
      .rows = {{{"one"}, {"reached", CellMood::kGood}}, {{"a|b"}, {"missed", CellMood::kBad}}}};

  EXPECT_EQ(RenderMarkdown({.title = "T", .paragraphs = {"2 < 3."}, .sections = {table}}),
            "2 \\< 3.\n\n"
            "### Targets\n\n"
            "Two of them.\n\n"
            "| name | verdict |\n"
            "|---|---|\n"
            "| one | reached |\n"
            "| a\\|b | **missed** |\n");
}

TEST(ReportMarkdownTest, HasTheFiguresOfAPlotAsATable) {
  const Plot plot = {.title = "Throughput",
                     .text = "",
                     .x = {.title = "size", .unit = PlotUnit::kBytes},
                     .y = {.title = "throughput", .unit = PlotUnit::kBytesPerSecond},
                     .series = {{"pread", SeriesKind::kLimit, {{4096, 2048}}},
                                {"mmap", SeriesKind::kMeasured, {{64, 1024}}}}};

  EXPECT_EQ(RenderMarkdown({.title = "", .paragraphs = {}, .sections = {plot}}),
            "### Throughput\n\n"
            "| size | pread | mmap |\n"
            "|---|---|---|\n"
            "| 64 B |  | 1 KiB/s |\n"
            "| 4 KiB | 2 KiB/s |  |\n");
}

TEST(ReportMarkdownTest, IsEmptyOfAnEmptyPage) {
  EXPECT_EQ(RenderMarkdown({.title = "Title", .paragraphs = {}, .sections = {}}), "");
}

}  // namespace
}  // namespace vfio_user
