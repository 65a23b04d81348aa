#include "tests/bench/report_contents.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fmt/format.h"
#include "nlohmann/json.hpp"
#include "tests/bench/bench_results.h"
#include "tests/bench/ratio_target.h"
#include "tools/report_page/machine.h"
#include "tools/report_page/plot_unit.h"
#include "tools/report_page/quantity_text.h"
#include "tools/report_page/report_page.h"

namespace vfio_user {
namespace {

using Json = nlohmann::ordered_json;

Json TargetJson(const TargetResult& result) {
  const RatioTarget& target = result.target;
  Json out = {{"benchmark", target.benchmark}, {"raw", target.raw}};
  if (!target.counter.empty()) out["counter"] = target.counter;
  if (std::isfinite(target.at_most)) out["at_most"] = target.at_most;
  if (target.at_least > 0) out["at_least"] = target.at_least;
  out["figure"] = result.figure ? Json(*result.figure) : Json(nullptr);
  if (result.figure) out["quartiles"] = {result.quartiles.low, result.quartiles.high};
  out["reached"] = result.reached();
  if (!target.note.empty()) out["note"] = target.note;
  if (!target.what.empty()) out["what"] = target.what;
  return out;
}

Json BinaryJson(const BinaryResults& binary) {
  Json targets = Json::array();
  for (const TargetResult& target : binary.targets) targets.push_back(TargetJson(target));
  Json results = Json::array();
  for (const BenchResult& result : binary.results) {
    results.push_back({{"name", result.name},
                       {"repetitions", result.repetitions},
                       {"seconds", result.seconds},
                       {"counters", result.counters}});
  }
  return {{"binary", binary.binary}, {"targets", targets}, {"results", results}};
}

// A ratio, or a figure with its unit.
std::string FigureText(const RatioTarget& target, double figure) {
  if (target.raw.empty() && target.counter.empty()) {
    return QuantityText(figure / 1e9, PlotUnit::kSeconds);
  }
  if (target.raw.empty() && target.counter.ends_with("_bytes")) {
    return QuantityText(figure, PlotUnit::kBytes);
  }
  return figure < 1000 ? fmt::format("{:.3g}", figure) : QuantityText(figure, PlotUnit::kCount);
}

// With its quartiles.
std::string SpreadText(const TargetResult& result) {
  if (!result.figure) return "—";
  return fmt::format("{} ({} to {})", FigureText(result.target, *result.figure),
                     FigureText(result.target, result.quartiles.low),
                     FigureText(result.target, result.quartiles.high));
}

// BoundsText with the figure's unit.
std::string BoundsInUnits(const RatioTarget& target) {
  std::string out;
  if (std::isfinite(target.at_most)) out = "at most " + FigureText(target, target.at_most);
  if (target.at_least <= 0) return out;
  if (!out.empty()) out += ", ";
  return out + "at least " + FigureText(target, target.at_least);
}

// Where it is to be found among the results.
std::string Place(const std::string& binary, const RatioTarget& target) {
  std::string out = fmt::format("{}: {}", binary, target.benchmark);
  if (!target.raw.empty()) out += " beside " + target.raw;
  if (!target.counter.empty()) out += ", " + target.counter;
  return out;
}

std::vector<PageCell> TargetRow(const std::string& binary, const TargetResult& result) {
  const RatioTarget& target = result.target;
  std::string what = target.what;
  if (!target.note.empty() && !result.reached()) what += " — " + target.note;
  PageCell verdict = {"not measured", CellMood::kBad};
  if (result.figure) {
    verdict = result.reached() ? PageCell{"reached", CellMood::kGood}
                               : PageCell{"missed", CellMood::kBad};
  }
  return {{what},
          {SpreadText(result)},
          {BoundsInUnits(target)},
          verdict,
          {Place(binary, target), CellMood::kWords}};
}

PageTable TargetTable(const std::vector<BinaryResults>& all) {
  PageTable table = {.title = "Targets",
                     .text = "",
                     .columns = {"what", "figure", "target", "", "benchmarks"},
                     .rows = {}};
  size_t reached = 0;
  for (const BinaryResults& binary : all) {
    for (const TargetResult& target : binary.targets) {
      if (BoundsText(target.target).empty()) continue;
      if (target.reached()) ++reached;
      table.rows.push_back(TargetRow(binary.binary, target));
    }
  }
  table.text = fmt::format(
      "{} of {} reached. A figure is the median of the first benchmark's repetitions as a multiple "
      "of the second's, both taken in turns in one run: of their times, where nothing else is "
      "named. Beside nothing, it is the median itself. In brackets is what half of the repetitions "
      "lie between, each beside the other's of the same number.",
      reached, table.rows.size());
  return table;
}

// What was compared without a target.
PageTable RatioTable(const std::vector<BinaryResults>& all) {
  PageTable table = {
      .title = "Ratios without a target",
      .text =
          "Of medians, as above: what a choice in the library was made by, or what a "
          "target has to be seen beside.",
      .columns = {"benchmark", "figure", "beside", "what"},
      .rows = {}};
  for (const BinaryResults& binary : all) {
    for (const TargetResult& one : binary.targets) {
      if (!BoundsText(one.target).empty()) continue;
      table.rows.push_back({{one.target.benchmark},
                            {SpreadText(one)},
                            {one.target.raw},
                            {one.target.what, CellMood::kWords}});
    }
  }
  return table;
}

// A plot with a line for each family of benchmarks that has the counter `x`.
struct Curves {
  std::string_view counter;
  std::string_view binary;  // Of these alone; empty: of all.
  Plot plot;                // But for the series.
  std::function<double(const BenchResult&)> y;
};

double CounterOr(const BenchResult& result, const std::string& name, double otherwise) {
  const auto counter = result.counters.find(name);
  return counter != result.counters.end() ? counter->second : otherwise;
}

Curves ThroughputCurves() {
  return {
      .counter = "bytes",
      .binary = "throughput_bench",
      .plot = {.title = "DMA by the device: throughput by size",
               .text =
                   "A device reads memory of another process in one piece, by each path; dashed is "
                   "what the machine gives without this library. Small pieces cost a system call, "
                   "or a message, each; large ones as many copies as the path makes, until they no "
                   "longer fit the processor's caches. Where file I/O leaves pread for "
                   "process_vm_readv its line changes from the one to the other.",
               .x = {.title = "bytes in one transfer", .unit = PlotUnit::kBytes},
               .y = {.title = "bytes read per second", .unit = PlotUnit::kBytesPerSecond},
               .series = {}},
      .y = [](const BenchResult& result) { return CounterOr(result, "bytes_per_second", 0); }};
}

Curves MappingCurves() {
  return {
      .counter = "mappings",
      .binary = "",
      .plot = {.title = "Cost by number of mappings",
               .text =
                   "What one operation costs among so many mappings of one client: a look-up of "
                   "the server's, beside one in a bare tree; mapping and unmapping one more by "
                   "the server alone, and by a client, with two messages. A flat line does not "
                   "notice how many there are; a straight rise would be a search through all.",
               .x = {.title = "mappings"},
               .y = {.title = "time of one operation", .unit = PlotUnit::kSeconds},
               .series = {}},
      .y = [](const BenchResult& result) { return result.seconds; }};
}

Curves ClientCurves() {
  return {
      .counter = "clients",
      .binary = "",
      .plot = {.title = "Rate by number of clients",
               .text =
                   "Register reads of all clients together, each with a socket of one server "
                   "process. The processors bound the total: past as many clients as keep them "
                   "busy the line should be flat, and must not fall. Dashed are as many pairs that "
                   "send a byte to and fro.",
               .x = {.title = "clients"},
               .y = {.title = "reads per second",
                     .unit = PlotUnit::kPerSecond,
                     .scale = PlotScale::kLinear},
               .series = {}},
      .y = [](const BenchResult& result) {
        return CounterOr(result, "items_per_second", 1 / result.seconds);
      }};
}

void AddPoint(const Curves& curves, const BenchResult& result, std::vector<PlotSeries>& series) {
  const double x = CounterOr(result, std::string(curves.counter), 0);
  if (x <= 0) return;
  const std::string name = result.name.substr(0, result.name.rfind('/'));
  auto line = std::ranges::find(series, name, &PlotSeries::name);
  if (line == series.end()) {
    const bool limit = CounterOr(result, "limit", 0) > 0;
    series.push_back({name, limit ? SeriesKind::kLimit : SeriesKind::kMeasured, {}});
    line = series.end() - 1;
  }
  line->points.emplace_back(x, curves.y(result));
}

template <typename Use>
void ForEachResult(const std::vector<BinaryResults>& all, const Use& use) {
  for (const BinaryResults& binary : all) {
    for (const BenchResult& result : binary.results) use(result);
  }
}

Plot PlotOf(Curves curves, const std::vector<BinaryResults>& all) {
  for (const BinaryResults& binary : all) {
    if (!curves.binary.empty() && binary.binary != curves.binary) continue;
    for (const BenchResult& result : binary.results) AddPoint(curves, result, curves.plot.series);
  }
  for (PlotSeries& series : curves.plot.series) std::ranges::sort(series.points);
  return std::move(curves.plot);
}

// Benchmarks that have percentiles as counters.
Plot LatencyPlot(const std::vector<BinaryResults>& all) {
  Plot plot = {
      .title = "A register read: latency",
      .text =
          "How long reads take, by how many of them take no longer: where both sides block, and "
          "where both spin before they do; dashed is a byte that two processes send to and fro. "
          "The median is what a driver waits, the tail what the scheduler does now and then to all "
          "alike.",
      .x = {.title = "percentile", .labels = {"p50", "p90", "p99", "p99.9", "max"}},
      .y = {.title = "time of one read", .unit = PlotUnit::kSeconds},
      .series = {}};
  ForEachResult(all, [&](const BenchResult& result) {
    PlotSeries series = {.name = result.name, .points = {}};
    if (CounterOr(result, "limit", 0) > 0) series.kind = SeriesKind::kLimit;
    for (size_t i = 0; i < plot.x.labels.size(); ++i) {
      const double y = CounterOr(result, plot.x.labels[i] + "_seconds", 0);
      if (y > 0) series.points.emplace_back(static_cast<double>(i), y);
    }
    if (!series.points.empty()) plot.series.push_back(std::move(series));
  });
  return plot;
}

PageTable AllResults(const std::vector<BinaryResults>& all) {
  PageTable table = {.title = "All results",
                     .text = "Medians.",
                     .columns = {"benchmark", "time of an iteration", "repetitions"},
                     .rows = {}};
  ForEachResult(all, [&](const BenchResult& result) {
    table.rows.push_back({{result.name},
                          {QuantityText(result.seconds, PlotUnit::kSeconds)},
                          {std::to_string(result.repetitions)}});
  });
  return table;
}

}  // namespace

nlohmann::ordered_json ReportContentsJson(const Machine& machine,
                                          const std::vector<BinaryResults>& all) {
  Json binaries = Json::array();
  for (const BinaryResults& binary : all) binaries.push_back(BinaryJson(binary));
  return {{"machine", MachineJson(machine)}, {"binaries", binaries}};
}

ReportPage ReportContentsSummary(const Machine& machine, const std::vector<BinaryResults>& all) {
  ReportPage page = {.title = "vfio-user-cpp: performance",
                     .paragraphs = {MachineText(machine)},
                     .sections = {TargetTable(all)}};
  const auto add = [&page](Plot plot) {
    if (!plot.series.empty()) page.sections.emplace_back(std::move(plot));
  };
  add(PlotOf(ThroughputCurves(), all));
  add(LatencyPlot(all));
  add(PlotOf(MappingCurves(), all));
  add(PlotOf(ClientCurves(), all));
  if (PageTable ratios = RatioTable(all); !ratios.rows.empty()) {
    page.sections.emplace_back(std::move(ratios));
  }
  return page;
}

ReportPage ReportContentsPage(const Machine& machine, const std::vector<BinaryResults>& all) {
  ReportPage page = ReportContentsSummary(machine, all);
  page.sections.emplace_back(AllResults(all));
  return page;
}

}  // namespace vfio_user
