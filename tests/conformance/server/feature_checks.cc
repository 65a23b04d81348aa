// DEVICE_FEATURE: its forms, and the log of what the device writes.
#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fmt/format.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/wire/device_feature.h"
#include "tests/conformance/server/check_families.h"
#include "tests/conformance/server/dma_requests.h"
#include "tests/conformance/server/feature_requests.h"
#include "tests/conformance/server/outcome.h"

namespace vfio_user {
namespace {

constexpr std::string_view kFeature = "VFIO_USER_DEVICE_FEATURE";
constexpr uint32_t kStart = FlagsOf(Feature::kDmaLoggingStart, kFeatureSet);
constexpr uint32_t kReport = FlagsOf(Feature::kDmaLoggingReport, kFeatureGet);

constexpr uint64_t kBase = MapNumbers().address;
constexpr uint64_t kSize = MapNumbers().size;

// No server has the feature.
constexpr uint32_t kNoFeature = 0xfffe;

absl::Status Refuses(ServerUnderTest& server, const WireRequest& request) {
  return server.Refuses(request, {EINVAL, ENOTSUP, ENOTTY});
}

absl::Status RefusesOperations(ServerUnderTest& server, std::vector<uint32_t> many) {
  for (const uint32_t flags : many) {
    VFIO_USER_RETURN_IF_ERROR(
        InCase(Refuses(server, FeatureRequest(flags)), fmt::format("flags {:#x}", flags)));
  }
  return absl::OkStatus();
}

absl::Status RefusesShortBodies(ServerUnderTest& server) {
  for (const size_t bytes : {size_t{0}, size_t{4}, size_t{7}}) {
    WireRequest request = FeatureRequest(FlagsOf(Feature::kMigration, kFeatureGet));
    request.body.resize(bytes);
    VFIO_USER_RETURN_IF_ERROR(InCase(Refuses(server, request), fmt::format("{} bytes", bytes)));
  }
  return absl::OkStatus();
}

absl::Status ProbeEchoes(ServerUnderTest& server) {
  if (!server.traits().migration.has_value()) return Skip("the device cannot be migrated");
  VFIO_USER_ASSIGN_OR_RETURN(WireClient client, server.Connect());
  const WireRequest request =
      FeatureRequest(FlagsOf(Feature::kMigration, kFeatureProbe | kFeatureGet));
  VFIO_USER_ASSIGN_OR_RETURN(const WireClient::Message reply, client.Do(request));
  if (reply.body.size() >= 8 &&
      std::equal(reply.body.begin() + 4, reply.body.begin() + 8, request.body.begin() + 4)) {
    return absl::OkStatus();
  }
  return Misbehaved("the reply to a probe is not the request");
}

absl::Status RefusesSmallArgsz(ServerUnderTest& server) {
  if (!server.traits().migration.has_value()) return Skip("the device cannot be migrated");
  return Refuses(server, FeatureRequest(FlagsOf(Feature::kMigration, kFeatureGet), {}, 8));
}

// A client that has mapped the usual range: a file, because libvfio-user logs writes to no other.
absl::StatusOr<WireClient> ConnectToLog(ServerUnderTest& server) {
  if (!server.traits().logs_dma) return Skip("the server does not log what the device writes");
  VFIO_USER_ASSIGN_OR_RETURN(WireClient client, server.Connect());
  const UniqueFd file = MemoryFile(kSize);
  VFIO_USER_RETURN_IF_ERROR(client.DoPlain(MapRequest({}, {FdView(file)})));
  return client;
}

absl::Status LogsNothing(ServerUnderTest& server) {
  VFIO_USER_ASSIGN_OR_RETURN(WireClient client, ConnectToLog(server));
  VFIO_USER_RETURN_IF_ERROR(client.Do(StartLoggingRequest({})).status());
  VFIO_USER_ASSIGN_OR_RETURN(
      const std::vector<uint8_t> data,
      GetFeature(client, Feature::kDmaLoggingReport, ReportData(kBase, kSize, 4096)));
  VFIO_USER_ASSIGN_OR_RETURN(const DmaLoggingReport report, DmaLoggingReport::Parse(data));
  if (report.bitmap.size() != 8) {
    return Misbehaved(
        fmt::format("a bitmap of {} bytes for 4 pages, want 8", report.bitmap.size()));
  }
  if (std::ranges::any_of(report.bitmap, [](uint8_t byte) { return byte != 0; })) {
    return Misbehaved("dirty pages, and the device has done nothing");
  }
  return client.Do(StopLoggingRequest()).status();
}

// The log is on, and goes on after the refusal.
absl::Status RefusesReport(ServerUnderTest& server, std::vector<uint8_t> data, uint32_t argsz) {
  VFIO_USER_ASSIGN_OR_RETURN(WireClient client, ConnectToLog(server));
  VFIO_USER_RETURN_IF_ERROR(client.Do(StartLoggingRequest({})).status());
  VFIO_USER_RETURN_IF_ERROR(
      client.RefusedInStep(FeatureRequest(kReport, std::move(data), argsz), {EINVAL, ENOTSUP}));
  return client.Do(StopLoggingRequest()).status();
}

absl::Status RefusesReportWithoutStart(ServerUnderTest& server) {
  VFIO_USER_ASSIGN_OR_RETURN(WireClient client, ConnectToLog(server));
  return client.RefusedInStep(FeatureRequest(kReport, ReportData(kBase, kSize, 4096)),
                              {EINVAL, ENOTSUP});
}

absl::Status RefusesShortReports(ServerUnderTest& server) {
  for (const size_t bytes : {size_t{0}, size_t{8}, size_t{23}}) {
    std::vector<uint8_t> data = ReportData(kBase, kSize, 4096);
    data.resize(bytes);
    VFIO_USER_RETURN_IF_ERROR(InCase(RefusesReport(server, std::move(data), 1 << 20),
                                     fmt::format("{} bytes of data", bytes)));
  }
  return absl::OkStatus();
}

absl::Status RefusesStart(ServerUnderTest& server, const WireRequest& start) {
  VFIO_USER_ASSIGN_OR_RETURN(WireClient client, ConnectToLog(server));
  VFIO_USER_RETURN_IF_ERROR(client.RefusedInStep(start, {EINVAL}));
  return client.Ask(StopLoggingRequest()).status();
}

absl::Status RefusesPageSizes(ServerUnderTest& server) {
  for (const uint64_t page_size : {uint64_t{0}, uint64_t{4097}, UINT64_MAX}) {
    VFIO_USER_RETURN_IF_ERROR(
        InCase(RefusesStart(server, StartLoggingRequest({.page_size = page_size})),
               fmt::format("pages of {:#x} bytes", page_size)));
  }
  return absl::OkStatus();
}

absl::Status RefusesOtherNumbersOfRanges(ServerUnderTest& server) {
  for (const uint32_t count : {2u, 0x10000001u, UINT32_MAX}) {
    VFIO_USER_RETURN_IF_ERROR(
        InCase(RefusesStart(server, StartLoggingRequest({.num_ranges = count})),
               fmt::format("num_ranges {} for 1 range", count)));
  }
  return absl::OkStatus();
}

// libvfio-user asserts that there is DMA before it looks whether there is.
absl::Status StartWithoutMappings(ServerUnderTest& server) {
  VFIO_USER_ASSIGN_OR_RETURN(WireClient client, server.Connect());
  VFIO_USER_RETURN_IF_ERROR(client.Ask(StartLoggingRequest({})).status());
  VFIO_USER_RETURN_IF_ERROR(client.Ask(StopLoggingRequest()).status());
  return client.InStep();
}

absl::Status GoesWithItsClient(ServerUnderTest& server) {
  {
    VFIO_USER_ASSIGN_OR_RETURN(WireClient client, ConnectToLog(server));
    VFIO_USER_RETURN_IF_ERROR(client.Do(StartLoggingRequest({})).status());
  }
  return RefusesReportWithoutStart(server);
}

constexpr ServerCheck kChecks[] = {
    {"feature/unknown-one-is-refused", kFeature, Requirement::kRequired,
     [](ServerUnderTest& server) {
       return RefusesOperations(server, {kNoFeature | kFeatureGet, kNoFeature | kFeatureSet});
     }},
    {"feature/probe-of-an-unknown-one-is-refused", kFeature, Requirement::kRequired,
     [](ServerUnderTest& server) {
       return RefusesOperations(server, {kNoFeature | kFeatureProbe | kFeatureGet});
     }},
    {"feature/probe-is-echoed", kFeature, Requirement::kRequired, ProbeEchoes},
    {"feature/no-operation-is-refused", kFeature, Requirement::kRequired,
     [](ServerUnderTest& server) {
       return RefusesOperations(server, {FlagsOf(Feature::kMigration, 0)});
     }},
    {"feature/get-with-set-is-refused", kFeature, Requirement::kRequired,
     [](ServerUnderTest& server) {
       return RefusesOperations(server, {FlagsOf(Feature::kMigration, kFeatureGet | kFeatureSet)});
     }},
    {"feature/unknown-flag-is-refused", kFeature, Requirement::kRecommended,
     [](ServerUnderTest& server) {
       return RefusesOperations(server, {FlagsOf(Feature::kMigration, kFeatureGet | 1u << 30)});
     }},
    {"feature/short-body-is-refused", kFeature, Requirement::kRequired, RefusesShortBodies},
    {"feature/argsz-below-8-is-refused", kFeature, Requirement::kRequired,
     [](ServerUnderTest& server) {
       return Refuses(server, FeatureRequest(FlagsOf(Feature::kMigration, kFeatureGet), {}, 7));
     }},
    {"feature/argsz-that-holds-no-reply-is-refused", kFeature, Requirement::kRequired,
     RefusesSmallArgsz},
    {"dma-logging/nothing-written-is-reported-as-nothing", kFeature, Requirement::kRequired,
     LogsNothing},
    {"dma-logging/start-without-mappings-does-no-harm", kFeature, Requirement::kRequired,
     StartWithoutMappings},
    {"dma-logging/odd-page-size-is-refused", kFeature, Requirement::kRecommended, RefusesPageSizes},
    {"dma-logging/short-start-is-refused", kFeature, Requirement::kRequired,
     [](ServerUnderTest& server) {
       return RefusesStart(server, FeatureRequest(kStart, {0, 16, 0, 0, 0, 0, 0, 0}));
     }},
    {"dma-logging/other-number-of-ranges-is-refused", kFeature, Requirement::kRecommended,
     RefusesOtherNumbersOfRanges},
    {"dma-logging/report-without-start-is-refused", kFeature, Requirement::kRecommended,
     RefusesReportWithoutStart},
    {"dma-logging/short-report-is-refused", kFeature, Requirement::kRecommended,
     RefusesShortReports},
    {"dma-logging/report-of-odd-pages-is-refused", kFeature, Requirement::kRecommended,
     [](ServerUnderTest& server) {
       return RefusesReport(server, ReportData(kBase, kSize, 4097), 1 << 20);
     }},
    {"dma-logging/report-longer-than-argsz-is-refused", kFeature, Requirement::kRequired,
     [](ServerUnderTest& server) {
       return RefusesReport(server, ReportData(kBase, kSize, 4096), 8 + 24);
     }},
    {"dma-logging/report-of-everything-is-refused", kFeature, Requirement::kRequired,
     [](ServerUnderTest& server) {
       return RefusesReport(server, ReportData(0, UINT64_MAX, 1), UINT32_MAX);
     }},
    {"dma-logging/goes-with-its-client", "Client Disconnection", Requirement::kRecommended,
     GoesWithItsClient},
};

}  // namespace

std::span<const ServerCheck> FeatureChecks() { return kChecks; }

}  // namespace vfio_user
