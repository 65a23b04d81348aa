// vfio-user bench: how fast a server is, or this library.
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/client.h"
#include "client/region.h"
#include "fmt/format.h"
#include "proto_defs/base/errno_status.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/wire/device_info.h"
#include "tools/report_page/machine.h"
#include "tools/report_page/report_page.h"
#include "tools/vfio_user/arguments.h"
#include "tools/vfio_user/bench_report.h"
#include "tools/vfio_user/child_server.h"
#include "tools/vfio_user/exit_code.h"
#include "tools/vfio_user/latency_summary.h"
#include "tools/vfio_user/measurement.h"
#include "tools/vfio_user/output_file.h"
#include "tools/vfio_user/progress_bar.h"
#include "tools/vfio_user/register_access.h"
#include "tools/vfio_user/stop_signals.h"
#include "tools/vfio_user/subcommand.h"
#include "tools/vfio_user/transfer_sweep.h"

namespace vfio_user {
namespace {

constexpr char kExamples[] =
    "With a SOCKET, reads one register of that device over and over: by default the\n"
    "first four bytes of config space, which no read changes. Without one, serves a\n"
    "dma-copy device from a second process, and copies through it by every path.\n"
    "Times are in microseconds, and percentiles of what was seen.\n"
    "Examples:\n"
    "  vfio-user bench\n"
    "  vfio-user bench --seconds 30 --html bench.html\n"
    "  vfio-user bench /tmp/copy.sock --json | jq .register_read\n"
    "  vfio-user bench /tmp/copy.sock --region bar0 --offset 0x8";

// 64 bytes to 16 MiB.
constexpr uint64_t kLeastBytes = 64;
constexpr uint64_t kMostBytes = 16 << 20;
constexpr uint64_t kMaxSeconds = 3600;
// Of the time, where copies are measured as well.
constexpr double kShareOfRegister = 0.1;

struct Arguments {
  std::string socket_path;  // Empty: a server of our own.
  RegionIndex region = RegionIndex::kConfig;
  uint64_t offset = 0;
  uint64_t width = 4;
  uint64_t seconds = 10;
  bool json = false;
  std::string html;
};

// What is watched while the work goes on.
struct Watch {
  const StopSignals& stop;
  StepBar& bar;

  absl::Status Check(double share, std::string_view step) const {
    bar.Update(share, step);
    return Annotate(stop.Check(), step);
  }
};

absl::StatusOr<RegisterFigures> MeasureRegister(const Client& client, const Arguments& arguments,
                                                const MeasurementOptions& options) {
  VFIO_USER_ASSIGN_OR_RETURN(const Region region, OpenRegionForUser(client, arguments.region));
  VFIO_USER_RETURN_IF_ERROR(CheckInside(region, arguments.offset, arguments.width, 1));
  const auto read = [&] {
    return ReadRegister(region, arguments.offset, arguments.width).status();
  };
  VFIO_USER_ASSIGN_OR_RETURN(const LatencySummary latency, MeasureLatency(read, options));
  return RegisterFigures{arguments.region, arguments.offset, arguments.width, latency};
}

absl::StatusOr<BenchReport> BenchServer(const Arguments& arguments, const Watch& watch) {
  BenchReport report = {.machine = DescribeMachine(), .read = {}, .transfers = {}};
  VFIO_USER_ASSIGN_OR_RETURN(const Client client, Client::Connect(arguments.socket_path));
  const auto check = [&](double share) { return watch.Check(share, "register read"); };
  VFIO_USER_ASSIGN_OR_RETURN(
      report.read, MeasureRegister(client, arguments, {absl::Seconds(arguments.seconds), check}));
  return report;
}

absl::StatusOr<BenchReport> BenchOwnServer(const Arguments& arguments, const Watch& watch) {
  BenchReport report = {.machine = DescribeMachine(), .read = {}, .transfers = {}};
  VFIO_USER_ASSIGN_OR_RETURN(ChildServer server, ChildServer::Start({}));
  VFIO_USER_ASSIGN_OR_RETURN(const Client client, Client::Connect(server.socket_path()));
  const absl::Duration duration = absl::Seconds(arguments.seconds);
  const auto check_read = [&](double share) {
    return watch.Check(share * kShareOfRegister, "register read");
  };
  VFIO_USER_ASSIGN_OR_RETURN(
      report.read, MeasureRegister(client, arguments, {duration * kShareOfRegister, check_read}));
  SweepOptions sweep;
  for (uint64_t bytes = kLeastBytes; bytes <= kMostBytes; bytes *= 4) sweep.sizes.push_back(bytes);
  sweep.duration = duration * (1 - kShareOfRegister);
  sweep.check = [&](double share, std::string_view step) {
    return watch.Check(kShareOfRegister + share * (1 - kShareOfRegister), step);
  };
  VFIO_USER_ASSIGN_OR_RETURN(report.transfers, MeasureTransfers(client, sweep));
  VFIO_USER_RETURN_IF_ERROR(server.Stop());
  return report;
}

absl::StatusOr<BenchReport> Measure(const Arguments& arguments, const StopSignals& stop) {
  StepBar bar(STDERR_FILENO);
  const Watch watch = {stop, bar};
  return arguments.socket_path.empty() ? BenchOwnServer(arguments, watch)
                                       : BenchServer(arguments, watch);
}

absl::Status Bench(const Arguments& arguments) {
  if (arguments.seconds == 0 || arguments.seconds > kMaxSeconds) {
    return UsageError(fmt::format("--seconds is {}; give 1 to {}", arguments.seconds, kMaxSeconds));
  }
  VFIO_USER_ASSIGN_OR_RETURN(const StopSignals stop, StopSignals::Block());
  // Before the work, so that a place that cannot be written to does not cost the time.
  std::optional<OutputFile> page;
  if (!arguments.html.empty()) {
    VFIO_USER_ASSIGN_OR_RETURN(OutputFile file, OutputFile::Create(arguments.html));
    page.emplace(std::move(file));
    page->StopAt(stop);
  }
  VFIO_USER_ASSIGN_OR_RETURN(const BenchReport report, Measure(arguments, stop));
  if (page) {
    const std::string html = RenderHtml(BenchPage(report));
    VFIO_USER_RETURN_IF_ERROR(page->Write(std::as_bytes(std::span(html))));
    VFIO_USER_RETURN_IF_ERROR(page->Commit());
  }
  fmt::print("{}", arguments.json ? BenchJson(report).dump(2) + "\n" : BenchText(report));
  return absl::OkStatus();
}

}  // namespace

Action AddBench(CLI::App& app) {
  const auto arguments = std::make_shared<Arguments>();
  AddSocketPath(app, arguments->socket_path)->required(false);
  AddRegionOption(app, arguments->region);
  AddNumber(app, {"--offset", "NUMBER", "of the register, in bytes (default 0)"},
            arguments->offset);
  AddWidth(app, arguments->width);
  AddNumber(app, {"--seconds", "NUMBER", "to take, about (default 10)"}, arguments->seconds);
  app.add_flag("--json", arguments->json, "print JSON");
  app.add_option("--html", arguments->html, "write a page with plots, too")->type_name("FILE");
  app.footer(kExamples);
  return [arguments] { return Bench(*arguments); };
}

}  // namespace vfio_user
