#include "tools/vfio_user/bench_report.h"

#include <array>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "client/client_options.h"
#include "fmt/format.h"
#include "nlohmann/json.hpp"
#include "proto_defs/wire/format.h"
#include "tools/report_page/machine.h"
#include "tools/report_page/plot_unit.h"
#include "tools/report_page/report_page.h"
#include "tools/vfio_user/arguments.h"
#include "tools/vfio_user/byte_text.h"
#include "tools/vfio_user/latency_summary.h"
#include "tools/vfio_user/transfer_sweep.h"

namespace vfio_user {
namespace {

using Json = nlohmann::ordered_json;

struct Percentile {
  const char* name;
  absl::Duration LatencySummary::*value;
};
constexpr std::array kPercentiles = {
    Percentile{"p50", &LatencySummary::p50}, Percentile{"p90", &LatencySummary::p90},
    Percentile{"p99", &LatencySummary::p99}, Percentile{"p99.9", &LatencySummary::p999},
    Percentile{"max", &LatencySummary::max},
};

std::string RegisterName(const RegisterFigures& read) {
  return fmt::format("{}+{:#x}, {} bytes", read.region, read.offset, read.width);
}

// Always in microseconds: columns are read downwards.
std::string Microseconds(absl::Duration time) {
  return fmt::format("{:.1f}", absl::ToDoubleMicroseconds(time));
}

std::string LatencyColumns(const LatencySummary& latency) {
  std::string out;
  for (const Percentile& percentile : kPercentiles) {
    out += fmt::format("  {:>9}", Microseconds(latency.*percentile.value));
  }
  return out;
}

std::string LatencyHead() {
  std::string out;
  for (const Percentile& percentile : kPercentiles) out += fmt::format("  {:>9}", percentile.name);
  return out;
}

Json LatencyJson(const LatencySummary& latency) {
  Json out = {{"samples", latency.samples}};
  for (const Percentile& percentile : kPercentiles) {
    out[percentile.name] = absl::ToDoubleSeconds(latency.*percentile.value);
  }
  return out;
}

std::string PathWords(DmaPath path) {
  return path == DmaPath::kFileIo ? "file I/O" : std::string(DmaPathName(path));
}

// A line for each path, in the order in which they were measured.
template <typename Figure>
std::vector<PlotSeries> SeriesOf(const std::vector<TransferFigures>& transfers, Figure figure) {
  std::vector<PlotSeries> all;
  for (const TransferFigures& one : transfers) {
    const std::string name = PathWords(one.path);
    if (all.empty() || all.back().name != name) all.push_back({.name = name, .points = {}});
    all.back().points.emplace_back(static_cast<double>(one.bytes), figure(one));
  }
  return all;
}

Plot ThroughputPlot(const std::vector<TransferFigures>& transfers) {
  return {
      .title = "Throughput by size",
      .text =
          "The device copies within this process's memory, with several copies under way. Short "
          "ones cost what a doorbell and an interrupt cost, whatever the path; long ones show "
          "how often each path copies the bytes on their way.",
      .x = {.title = "bytes in one copy", .unit = PlotUnit::kBytes},
      .y = {.title = "bytes copied per second", .unit = PlotUnit::kBytesPerSecond},
      .series =
          SeriesOf(transfers, [](const TransferFigures& one) { return one.bytes_per_second; })};
}

Plot LatencyPlot(const std::vector<TransferFigures>& transfers) {
  return {
      .title = "Latency by size",
      .text =
          "One copy at a time, from ringing the doorbell to having the result, median. Where the "
          "line is flat, waking the two processes is what takes the time; from where it rises, "
          "the bytes do.",
      .x = {.title = "bytes in one copy", .unit = PlotUnit::kBytes},
      .y = {.title = "time of one copy", .unit = PlotUnit::kSeconds},
      .series = SeriesOf(transfers, [](const TransferFigures& one) {
        return absl::ToDoubleSeconds(one.latency.p50);
      })};
}

Plot RegisterPlot(const RegisterFigures& read) {
  Plot plot = {.title = "A register read",
               .text = fmt::format(
                   "{} reads of {}, each a message and its reply. The median is two changes of "
                   "process; the tail is what else the machine did meanwhile.",
                   read.latency.samples, RegisterName(read)),
               .x = {.title = "percentile"},
               .y = {.title = "time of one read", .unit = PlotUnit::kSeconds},
               .series = {{.name = RegisterName(read), .points = {}}}};
  for (const Percentile& percentile : kPercentiles) {
    const auto x = static_cast<double>(plot.x.labels.size());
    plot.x.labels.emplace_back(percentile.name);
    plot.series[0].points.emplace_back(x, absl::ToDoubleSeconds(read.latency.*percentile.value));
  }
  return plot;
}

}  // namespace

std::string BenchText(const BenchReport& report) {
  std::string out = fmt::format("{:<28}  {:>9}{}  us\n", "register read", "reads", LatencyHead());
  out += fmt::format("{:<28}  {:>9}{}\n", RegisterName(report.read), report.read.latency.samples,
                     LatencyColumns(report.read.latency));
  if (report.transfers.empty()) return out;
  out += fmt::format("\n{:<8}  {:>9}  {:>12}{}  us\n", "path", "size", "throughput", LatencyHead());
  for (const TransferFigures& one : report.transfers) {
    out += fmt::format("{:<8}  {:>9}  {:>10}/s{}\n", DmaPathName(one.path), ByteText(one.bytes),
                       ByteText(static_cast<uint64_t>(one.bytes_per_second)),
                       LatencyColumns(one.latency));
  }
  return out;
}

nlohmann::ordered_json BenchJson(const BenchReport& report) {
  Json transfers = Json::array();
  for (const TransferFigures& one : report.transfers) {
    transfers.push_back({{"path", DmaPathName(one.path)},
                         {"bytes", one.bytes},
                         {"bytes_per_second", one.bytes_per_second},
                         {"latency_seconds", LatencyJson(one.latency)}});
  }
  return {{"machine", MachineJson(report.machine)},
          {"register_read",
           {{"region", ToText(report.read.region)},
            {"offset", report.read.offset},
            {"width", report.read.width},
            {"latency_seconds", LatencyJson(report.read.latency)}}},
          {"transfers", transfers}};
}

ReportPage BenchPage(const BenchReport& report) {
  ReportPage page = {
      .title = "vfio-user bench", .paragraphs = {MachineText(report.machine)}, .sections = {}};
  if (!report.transfers.empty()) {
    page.sections.emplace_back(ThroughputPlot(report.transfers));
    page.sections.emplace_back(LatencyPlot(report.transfers));
  }
  page.sections.emplace_back(RegisterPlot(report.read));
  return page;
}

}  // namespace vfio_user
