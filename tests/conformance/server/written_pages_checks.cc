// The log of what the device writes, with a device that can be made to write.
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fmt/format.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/wire/device_feature.h"
#include "proto_defs/wire/dma_map.h"
#include "tests/conformance/server/check_families.h"
#include "tests/conformance/server/dma_engine.h"
#include "tests/conformance/server/dma_requests.h"
#include "tests/conformance/server/feature_requests.h"
#include "tests/conformance/server/outcome.h"

namespace vfio_user {
namespace {

constexpr std::string_view kReport =
    "VFIO_USER_DEVICE_FEATURE, VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT";
constexpr std::string_view kUnmap = "libvfio-user's DMA_UNMAP flags";

constexpr uint64_t kPage = 4096;
constexpr uint64_t kFrom = 0x100000;
constexpr uint64_t kTo = 0x200000;
constexpr uint64_t kPages = 4;  // Of each of the two.
constexpr uint64_t kBytes = kPages * kPage;

enum class Lending { kByMessage, kByFile };

// A client that has lent two ranges, to have what is written to the second logged, and the device
// that writes.
struct Bench {
  explicit Bench(WireClient connected) : client(std::move(connected)) {}

  absl::Status Lend(Lending lending) {
    memory.Add(kFrom, kBytes);
    memory.Add(kTo, kBytes);
    std::vector<FdView> fds;
    if (lending == Lending::kByFile) fds.push_back(file);
    VFIO_USER_RETURN_IF_ERROR(client.DoPlain(MapRequest({.address = kFrom, .size = kBytes}, fds)));
    return client.DoPlain(MapRequest({.address = kTo, .size = kBytes}, fds));
  }

  absl::Status StartLog(uint64_t page_size = kPage) {
    return client
        .Do(StartLoggingRequest(
            {.page_size = page_size, .ranges = {{.address = Iova{kTo}, .length = kBytes}}}))
        .status();
  }

  // The bits of `pages` pages of `page_size` bytes from kTo on, the first in bit 0.
  absl::Status Reports(uint8_t want, uint64_t page_size = kPage, uint64_t bytes = kBytes) {
    VFIO_USER_ASSIGN_OR_RETURN(
        const std::vector<uint8_t> data,
        GetFeature(client, Feature::kDmaLoggingReport, ReportData(kTo, bytes, page_size)));
    VFIO_USER_ASSIGN_OR_RETURN(const DmaLoggingReport report, DmaLoggingReport::Parse(data));
    if (report.bitmap.empty()) return Misbehaved("a report without a bitmap");
    if (report.bitmap[0] == want) return absl::OkStatus();
    return Misbehaved(
        fmt::format("the written pages are {:#x}, want {:#x}", report.bitmap[0], want));
  }

  absl::Status Run(const EngineCopy& copy) { return engine->Run(copy); }
  absl::Status StopLog() { return client.Do(StopLoggingRequest()).status(); }

  WireClient client;
  MessageMemory memory;
  UniqueFd file = MemoryFile(kBytes);
  std::optional<DmaEngine> engine;  // Of the two above it.
};

absl::StatusOr<std::unique_ptr<Bench>> Prepare(ServerUnderTest& server,
                                               Lending lending = Lending::kByFile) {
  if (!server.traits().logs_dma) return Skip("the server does not log what the device writes");
  VFIO_USER_ASSIGN_OR_RETURN(WireClient client, server.Connect());
  auto bench = std::make_unique<Bench>(std::move(client));
  VFIO_USER_ASSIGN_OR_RETURN(DmaEngine engine,
                             DmaEngine::Start(server, bench->client, bench->memory));
  bench->engine.emplace(std::move(engine));
  VFIO_USER_RETURN_IF_ERROR(bench->Lend(lending));
  return bench;
}

// With the log on, in pages of `page_size` bytes.
absl::StatusOr<std::unique_ptr<Bench>> PrepareLogging(ServerUnderTest& server,
                                                      uint64_t page_size = kPage) {
  VFIO_USER_ASSIGN_OR_RETURN(std::unique_ptr<Bench> bench, Prepare(server));
  VFIO_USER_RETURN_IF_ERROR(bench->StartLog(page_size));
  return bench;
}

// From the second range's page 1, byte 100, on: one page and a little of the next.
constexpr EngineCopy kOntoTwoPages = {
    .source = kFrom, .destination = kTo + kPage + 100, .bytes = kPage};
constexpr EngineCopy kOntoTheLast = {.source = kFrom, .destination = kTo + 3 * kPage, .bytes = 1};

absl::Status ReportsOnce(ServerUnderTest& server, Lending lending) {
  VFIO_USER_ASSIGN_OR_RETURN(const std::unique_ptr<Bench> bench, Prepare(server, lending));
  VFIO_USER_RETURN_IF_ERROR(bench->StartLog());
  VFIO_USER_RETURN_IF_ERROR(bench->Run(kOntoTwoPages));
  VFIO_USER_RETURN_IF_ERROR(InCase(bench->Reports(0b0110), "after the first write"));
  VFIO_USER_RETURN_IF_ERROR(InCase(bench->Reports(0), "asked for again"));
  VFIO_USER_RETURN_IF_ERROR(bench->Run(kOntoTheLast));
  VFIO_USER_RETURN_IF_ERROR(InCase(bench->Reports(0b1000), "after the second write"));
  return bench->StopLog();
}

// What the device read, and what it wrote before, is not told.
absl::Status TellsOfNothingElse(ServerUnderTest& server) {
  VFIO_USER_ASSIGN_OR_RETURN(const std::unique_ptr<Bench> bench, Prepare(server));
  VFIO_USER_RETURN_IF_ERROR(bench->Run(kOntoTwoPages));
  VFIO_USER_RETURN_IF_ERROR(bench->StartLog());
  VFIO_USER_RETURN_IF_ERROR(bench->Run({.source = kTo, .destination = kFrom, .bytes = kPage}));
  VFIO_USER_RETURN_IF_ERROR(bench->Reports(0));
  return bench->StopLog();
}

absl::Status ReportsPartOfTheRange(ServerUnderTest& server) {
  VFIO_USER_ASSIGN_OR_RETURN(const std::unique_ptr<Bench> bench, PrepareLogging(server));
  VFIO_USER_RETURN_IF_ERROR(bench->Run(kOntoTwoPages));
  VFIO_USER_RETURN_IF_ERROR(
      InCase(bench->Reports(0b10, kPage, 2 * kPage), "of the first two pages"));
  // The one beyond was not asked for, and so is still to be told.
  VFIO_USER_RETURN_IF_ERROR(InCase(bench->Reports(0b0100), "of all"));
  return bench->StopLog();
}

// libvfio-user's loop over these never ended.
absl::Status ReportsInOtherPages(ServerUnderTest& server, uint64_t logged, uint64_t reported,
                                 uint8_t want) {
  VFIO_USER_ASSIGN_OR_RETURN(const std::unique_ptr<Bench> bench, PrepareLogging(server, logged));
  VFIO_USER_RETURN_IF_ERROR(bench->Run(kOntoTheLast));
  VFIO_USER_RETURN_IF_ERROR(bench->Reports(want, reported));
  return bench->StopLog();
}

absl::Status UnmapTells(ServerUnderTest& server) {
  VFIO_USER_ASSIGN_OR_RETURN(const std::unique_ptr<Bench> bench, PrepareLogging(server));
  VFIO_USER_RETURN_IF_ERROR(bench->Run(kOntoTwoPages));
  VFIO_USER_ASSIGN_OR_RETURN(
      const WireClient::Message reply,
      bench->client.Do(
          UnmapRequest({.argsz = 48, .flags = kUnmapBitmap, .address = kTo, .size = kBytes},
                       {.page_size = kPage, .size_bytes = 8})));
  if (reply.body.size() != 48) {
    return Misbehaved(fmt::format("a reply of {} bytes, want 48", reply.body.size()));
  }
  if (reply.body[40] != 0b0110) {
    return Misbehaved(fmt::format("the written pages are {:#x}, want 0x6", reply.body[40]));
  }
  return bench->StopLog();
}

absl::Status ResetKeepsTheLog(ServerUnderTest& server) {
  VFIO_USER_ASSIGN_OR_RETURN(const std::unique_ptr<Bench> bench, PrepareLogging(server));
  VFIO_USER_RETURN_IF_ERROR(bench->Run(kOntoTwoPages));
  VFIO_USER_RETURN_IF_ERROR(bench->client.DoPlain({.command = Command::kDeviceReset}));
  VFIO_USER_RETURN_IF_ERROR(bench->Reports(0b0110));
  return bench->StopLog();
}

constexpr ServerCheck kChecks[] = {
    {"dma-logging/pages-written-in-a-file-are-reported-once", kReport, Requirement::kRequired,
     [](ServerUnderTest& server) { return ReportsOnce(server, Lending::kByFile); }},
    {"dma-logging/pages-written-by-message-are-reported-once", kReport, Requirement::kRecommended,
     [](ServerUnderTest& server) { return ReportsOnce(server, Lending::kByMessage); }},
    {"dma-logging/nothing-else-is-reported", kReport, Requirement::kRequired, TellsOfNothingElse},
    {"dma-logging/part-of-the-range-is-reported", kReport, Requirement::kRequired,
     ReportsPartOfTheRange},
    {"dma-logging/larger-pages-than-logged-are-reported", kReport, Requirement::kRequired,
     [](ServerUnderTest& server) { return ReportsInOtherPages(server, kPage, 2 * kPage, 0b10); }},
    {"dma-logging/smaller-pages-than-logged-are-reported", kReport, Requirement::kRecommended,
     [](ServerUnderTest& server) { return ReportsInOtherPages(server, 2 * kPage, kPage, 0b1100); }},
    {"dma-unmap/bitmap-tells-what-was-written", kUnmap, Requirement::kRecommended, UnmapTells},
    {"reset/keeps-the-dma-log", "VFIO_USER_DEVICE_RESET", Requirement::kRecommended,
     ResetKeepsTheLog},
};

}  // namespace

std::span<const ServerCheck> WrittenPagesChecks() { return kChecks; }

}  // namespace vfio_user
