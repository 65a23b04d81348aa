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
#include "tools/vfio_user/raw_limits.h"
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

// A line for each path, in the order in which they were measured, and for each call without one.
template <typename Figure, typename RawFigure>
std::vector<PlotSeries> SeriesOf(const BenchReport& report, Figure figure, RawFigure raw_figure) {
  std::vector<PlotSeries> all;
  const auto add = [&all](const std::string& name, SeriesKind kind, uint64_t bytes, double y) {
    if (all.empty() || all.back().name != name) {
      all.push_back({.name = name, .kind = kind, .points = {}});
    }
    all.back().points.emplace_back(static_cast<double>(bytes), y);
  };
  for (const TransferFigures& one : report.transfers) {
    add(PathWords(one.path), SeriesKind::kMeasured, one.bytes, figure(one));
  }
  for (const RawCopyFigures& one : report.raw_copies) {
    add(one.name, SeriesKind::kLimit, one.bytes, raw_figure(one));
  }
  return all;
}

Plot ThroughputPlot(const BenchReport& report) {
  return {
      .title = "Throughput by size",
      .text =
          "The device copies within this process's memory, with several copies under way. Short "
          "ones cost what a doorbell and an interrupt cost, whatever the path; long ones show "
          "how often each path copies the bytes on their way. Dashed is what one memcpy, or one "
          "pread of /proc/self/mem, does for each copy in this process alone.",
      .x = {.title = "bytes in one copy", .unit = PlotUnit::kBytes},
      .y = {.title = "bytes copied per second", .unit = PlotUnit::kBytesPerSecond},
      .series = SeriesOf(
          report, [](const TransferFigures& one) { return one.bytes_per_second; },
          [](const RawCopyFigures& one) { return one.bytes_per_second; })};
}

Plot LatencyPlot(const BenchReport& report) {
  return {
      .title = "Latency by size",
      .text =
          "One copy at a time, from ringing the doorbell to having the result, median. Where the "
          "line is flat, waking the two processes is what takes the time; from where it rises, "
          "the bytes do. Dashed is one copy without another process.",
      .x = {.title = "bytes in one copy", .unit = PlotUnit::kBytes},
      .y = {.title = "time of one copy", .unit = PlotUnit::kSeconds},
      .series = SeriesOf(
          report, [](const TransferFigures& one) { return absl::ToDoubleSeconds(one.latency.p50); },
          [](const RawCopyFigures& one) {
            return static_cast<double>(one.bytes) / one.bytes_per_second;
          })};
}

PlotSeries PercentileSeries(const std::string& name, SeriesKind kind,
                            const LatencySummary& latency) {
  PlotSeries series = {.name = name, .kind = kind, .points = {}};
  for (const Percentile& percentile : kPercentiles) {
    series.points.emplace_back(static_cast<double>(series.points.size()),
                               absl::ToDoubleSeconds(latency.*percentile.value));
  }
  return series;
}

Plot RegisterPlot(const BenchReport& report) {
  const RegisterFigures& read = report.read;
  Plot plot = {
      .title = "A register read",
      .text = fmt::format(
          "{} reads of {}, each a message and its reply; dashed, a byte that two threads send each "
          "other over a socket. The median is two wake-ups, unless the server polls; the tail is "
          "what else the machine did meanwhile.",
          read.latency.samples, RegisterName(read)),
      .x = {.title = "percentile"},
      .y = {.title = "time of one read", .unit = PlotUnit::kSeconds},
      .series = {PercentileSeries(RegisterName(read), SeriesKind::kMeasured, read.latency),
                 PercentileSeries("ping-pong", SeriesKind::kLimit, report.ping_pong)}};
  for (const Percentile& percentile : kPercentiles) plot.x.labels.emplace_back(percentile.name);
  return plot;
}

std::string LatencyRow(const std::string& what, const LatencySummary& latency) {
  return fmt::format("{:<28}  {:>9}{}\n", what, latency.samples, LatencyColumns(latency));
}

// Without a newline.
std::string ThroughputColumns(std::string_view name, uint64_t bytes, double bytes_per_second) {
  return fmt::format("{:<8}  {:>9}  {:>10}/s", name, ByteText(bytes),
                     ByteText(static_cast<uint64_t>(bytes_per_second)));
}

}  // namespace

std::string BenchText(const BenchReport& report) {
  std::string out = fmt::format("{:<28}  {:>9}{}  us\n", "register read", "reads", LatencyHead());
  out += LatencyRow(RegisterName(report.read), report.read.latency);
  out += LatencyRow("ping-pong of two threads", report.ping_pong);
  if (report.transfers.empty()) return out;
  out += fmt::format("\n{:<8}  {:>9}  {:>12}{}  us\n", "path", "size", "throughput", LatencyHead());
  for (const TransferFigures& one : report.transfers) {
    out += ThroughputColumns(DmaPathName(one.path), one.bytes, one.bytes_per_second);
    out += LatencyColumns(one.latency) + "\n";
  }
  out += "\nThe same copies without a device:\n";
  for (const RawCopyFigures& one : report.raw_copies) {
    out += ThroughputColumns(one.name, one.bytes, one.bytes_per_second) + "\n";
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
  Json raw_copies = Json::array();
  for (const RawCopyFigures& one : report.raw_copies) {
    raw_copies.push_back(
        {{"call", one.name}, {"bytes", one.bytes}, {"bytes_per_second", one.bytes_per_second}});
  }
  return {{"machine", MachineJson(report.machine)},
          {"register_read",
           {{"region", ToText(report.read.region)},
            {"offset", report.read.offset},
            {"width", report.read.width},
            {"latency_seconds", LatencyJson(report.read.latency)}}},
          {"ping_pong", {{"latency_seconds", LatencyJson(report.ping_pong)}}},
          {"transfers", transfers},
          {"raw_copies", raw_copies}};
}

ReportPage BenchPage(const BenchReport& report) {
  ReportPage page = {
      .title = "vfio-user bench", .paragraphs = {MachineText(report.machine)}, .sections = {}};
  if (!report.transfers.empty()) {
    page.sections.emplace_back(ThroughputPlot(report));
    page.sections.emplace_back(LatencyPlot(report));
  }
  page.sections.emplace_back(RegisterPlot(report));
  return page;
}

}  // namespace vfio_user
