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
#include "tools/vfio_user/raw_limits.h"
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
    "Beside them is what the machine does by itself: a byte sent to and fro, memcpy,\n"
    "and pread of this process's own memory.\n"
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
// Of the time: for the ping-pong, and, where copies are measured as well, for the register and for
// copies without a device. The rest is the device's.
constexpr double kShareOfPingPong = 0.1;
constexpr double kShareOfRegister = 0.1;
constexpr double kShareOfRawCopies = 0.1;

struct Arguments {
  std::string socket_path;  // Empty: a server of our own.
  RegionIndex region = RegionIndex::kConfig;
  uint64_t offset = 0;
  uint64_t width = 4;
  uint64_t seconds = 10;
  bool json = false;
  std::string html;
};

// The work's time, of which each part gets a share, and what is watched while it goes on.
class Watch {
 public:
  Watch(const StopSignals& stop, absl::Duration duration)
      : stop_(stop), bar_(STDERR_FILENO), duration_(duration) {}

  // For the part of that name, which comes next.
  MeasurementOptions Part(double of_all, const std::string& step) {
    const SweepOptions part = Sweep(of_all);
    return {part.duration, [check = part.check, step](double share) { return check(share, step); }};
  }
  // The same for a part of many steps.
  SweepOptions Sweep(double of_all) {
    const double begin = std::exchange(begin_, begin_ + of_all);
    const auto check = [this, begin, of_all](double share, std::string_view step) {
      bar_.Update(begin + share * of_all, step);
      return Annotate(stop_.Check(), step);
    };
    return {.duration = duration_ * of_all, .check = check};
  }

 private:
  const StopSignals& stop_;
  StepBar bar_;
  const absl::Duration duration_;
  double begin_ = 0;  // Of the next part, as a share of all.
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

absl::StatusOr<BenchReport> BenchServer(const Arguments& arguments, Watch& watch) {
  BenchReport report = {.machine = DescribeMachine()};
  VFIO_USER_ASSIGN_OR_RETURN(const Client client, Client::Connect(arguments.socket_path));
  VFIO_USER_ASSIGN_OR_RETURN(
      report.read,
      MeasureRegister(client, arguments, watch.Part(1 - kShareOfPingPong, "register read")));
  VFIO_USER_ASSIGN_OR_RETURN(report.ping_pong,
                             MeasurePingPong(watch.Part(kShareOfPingPong, "ping-pong")));
  return report;
}

absl::StatusOr<BenchReport> BenchOwnServer(const Arguments& arguments, Watch& watch) {
  BenchReport report = {.machine = DescribeMachine()};
  VFIO_USER_ASSIGN_OR_RETURN(ChildServer server, ChildServer::Start({}));
  VFIO_USER_ASSIGN_OR_RETURN(const Client client, Client::Connect(server.socket_path()));
  VFIO_USER_ASSIGN_OR_RETURN(
      report.read,
      MeasureRegister(client, arguments, watch.Part(kShareOfRegister, "register read")));
  VFIO_USER_ASSIGN_OR_RETURN(report.ping_pong,
                             MeasurePingPong(watch.Part(kShareOfPingPong, "ping-pong")));
  std::vector<uint64_t> sizes;
  for (uint64_t bytes = kLeastBytes; bytes <= kMostBytes; bytes *= 4) sizes.push_back(bytes);
  SweepOptions raw = watch.Sweep(kShareOfRawCopies);
  raw.sizes = sizes;
  VFIO_USER_ASSIGN_OR_RETURN(report.raw_copies, MeasureRawCopies(raw));
  SweepOptions device = watch.Sweep(1 - kShareOfRegister - kShareOfPingPong - kShareOfRawCopies);
  device.sizes = sizes;
  VFIO_USER_ASSIGN_OR_RETURN(report.transfers, MeasureTransfers(client, device));
  VFIO_USER_RETURN_IF_ERROR(server.Stop());
  return report;
}

absl::StatusOr<BenchReport> Measure(const Arguments& arguments, const StopSignals& stop) {
  Watch watch(stop, absl::Seconds(arguments.seconds));
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
