// Replies to an unmap that asks which pages the device wrote. The bitmap is libvfio-user's, and not
// in the specification.
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <functional>
#include <future>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fmt/format.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/wire/command.h"
#include "tests/conformance/check.h"
#include "tests/conformance/client/client_check.h"
#include "tests/conformance/client/client_under_test.h"
#include "tests/conformance/client/feature_checks.h"
#include "tests/conformance/client/model_device.h"
#include "tests/conformance/client/scripted_server.h"
#include "tests/conformance/client/stage.h"

namespace vfio_user {
namespace {

using absl::StatusCode;
using Bytes = std::vector<uint8_t>;

// Where the fields of the reply are; the bitmap is the last.
constexpr size_t kFlagsAt = 4;
constexpr size_t kAddressAt = 8;
constexpr size_t kSizeAt = 16;
constexpr size_t kPageSizeAt = 24;
constexpr size_t kBitmapBytesAt = 32;
constexpr size_t kBitmapAt = 40;

struct ReportCase {
  std::string_view name;
  std::string_view expects;
  // Changes a good reply, whose bitmap is clean.
  std::function<Bytes(Bytes good)> body;
  StatusCode code = StatusCode::kDataLoss;
  uint64_t dirty = 0;  // After OK.
};

Bytes With(Bytes reply, size_t at, uint64_t value) {
  std::memcpy(reply.data() + at, &value, sizeof(value));
  return reply;
}

std::function<Bytes(Bytes)> Setting(size_t at, uint64_t value) {
  return [at, value](Bytes good) { return With(std::move(good), at, value); };
}

// Adds 1 to the byte at `at`.
std::function<Bytes(Bytes)> Off(size_t at) {
  return [at](Bytes good) {
    ++good.at(at);
    return good;
  };
}

std::function<Bytes(Bytes)> CutTo(size_t bytes) {
  return [bytes](Bytes good) {
    good.resize(bytes);
    return good;
  };
}

// What is lent are 5001 bytes: two pages, the second of which is short.
std::vector<ReportCase> GoodReports() {
  return {
      {"clean", "Bits are pages.", [](Bytes good) { return good; }, StatusCode::kOk, 0},
      {"first-page", "Bits are pages.", Setting(kBitmapAt, 1), StatusCode::kOk, 1},
      {"short-last-page", "Bits are pages.", Setting(kBitmapAt, 2), StatusCode::kOk, 1},
      {"beyond-the-last-page", "Bits without a page mean nothing.", Setting(kBitmapAt, UINT64_MAX),
       StatusCode::kOk, 2},
      {"empty-as-from-a-device-without-dma",
       "A device that has no DMA wrote nothing (libvfio-user).",
       [](const Bytes&) { return Bytes(); }, StatusCode::kOk, 0},
      {"argsz-0", "What the server would take is its own affair.",
       [](Bytes good) {
         std::memset(good.data(), 0, sizeof(uint32_t));
         return good;
       },
       StatusCode::kOk, 0},
  };
}

std::vector<ReportCase> ForeignReports() {
  constexpr std::string_view kOwn = "A report of something else is not taken for this one.";
  return {
      {"of-another-address", kOwn, Off(kAddressAt + 1)},
      {"of-another-address-in-its-high-half", kOwn, Off(kAddressAt + 7)},
      {"of-another-size", kOwn, Off(kSizeAt)},
      {"in-other-pages", kOwn, Setting(kPageSizeAt, 8192)},
      {"in-pages-of-0-bytes", kOwn, Setting(kPageSizeAt, 0)},
      {"without-the-flag", kOwn,
       [](Bytes good) {
         good.at(kFlagsAt) = 0;
         good.resize(kPageSizeAt);
         return good;
       }},
      {"with-another-flag", kOwn,
       [](Bytes good) {
         good.at(kFlagsAt) = 3;
         return good;
       }},
  };
}

std::vector<ReportCase> BrokenReports() {
  constexpr std::string_view kBits = "A bitmap is as long as its pages ask for.";
  return {
      {"without-the-flag-and-as-long", kBits,
       [](Bytes good) {
         good.at(kFlagsAt) = 0;
         return good;
       }},
      {"of-one-byte", kBits, CutTo(1)},
      {"cut-off-within-the-echo", kBits, CutTo(kSizeAt)},
      {"without-the-header-of-the-bitmap", kBits, CutTo(kPageSizeAt)},
      {"without-bitmap", kBits, CutTo(kBitmapAt)},
      {"without-bitmap-and-saying-so", kBits,
       [](Bytes good) { return With(CutTo(kBitmapAt)(std::move(good)), kBitmapBytesAt, 0); }},
      {"with-half-a-bitmap", kBits, CutTo(kBitmapAt + 4)},
      {"with-half-a-bitmap-and-saying-so", kBits,
       [](Bytes good) { return With(CutTo(kBitmapAt + 4)(std::move(good)), kBitmapBytesAt, 4); }},
      {"with-more-bitmap", kBits, CutTo(kBitmapAt + 16)},
      {"with-more-bitmap-and-saying-so", kBits,
       [](Bytes good) { return With(CutTo(kBitmapAt + 16)(std::move(good)), kBitmapBytesAt, 16); }},
      {"with-much-more-bitmap", kBits, CutTo(200'000)},
      {"of-all-64-bits", "Nothing is allocated for what is not there.",
       Setting(kBitmapBytesAt, UINT64_MAX)},
  };
}

// Memory that is lent, in a log that was started.
absl::StatusOr<Stage::Lent> LendInLog(Stage& stage) {
  VFIO_USER_RETURN_IF_ERROR(stage.client().StartDirtyLog());
  VFIO_USER_ASSIGN_OR_RETURN(const Stage::Lent lent, stage.Prepare());
  VFIO_USER_RETURN_IF_ERROR(stage.client().MapByDescriptor(*lent.memory, lent.iova));
  return lent;
}

absl::Status RunReport(Stage& stage, const ReportCase& report) {
  VFIO_USER_ASSIGN_OR_RETURN(const Stage::Lent lent, LendInLog(stage));
  (void)stage.server().Next(Command::kDmaUnmap, [report](Exchange& exchange) -> absl::Status {
    VFIO_USER_ASSIGN_OR_RETURN(ModelDevice::Response good, exchange.GoodResponse());
    return exchange.main().Reply(exchange.header(), report.body(std::move(good.body)));
  });
  const absl::StatusOr<uint64_t> dirty = stage.client().UnmapAndCountDirtyPages(lent.iova);
  VFIO_USER_RETURN_IF_ERROR(Want("the unmap", dirty.status(), {report.code}));
  if (!dirty.ok()) return stage.CheckClosed({report.code});
  if (*dirty != report.dirty) {
    return Wrong(fmt::format("{} pages are dirty, want {}", *dirty, report.dirty));
  }
  return stage.CheckWorks();
}

// The memory has to be the client's again, whatever the server says of it: without the flag.
absl::Status RunRefused(Stage& stage) {
  VFIO_USER_ASSIGN_OR_RETURN(const Stage::Lent lent, LendInLog(stage));
  (void)stage.server().Next(Command::kDmaUnmap, [](Exchange& exchange) {
    return exchange.main().ReplyError(exchange.header(), EINVAL);
  });
  std::future<absl::Status> plain =
      stage.server().Next(Command::kDmaUnmap, [](Exchange& exchange) -> absl::Status {
        if (exchange.request().body.size() != kPageSizeAt) return Wrong("not a plain unmap");
        return exchange.AnswerWell();
      });
  VFIO_USER_RETURN_IF_ERROR(Want("the unmap",
                                 stage.client().UnmapAndCountDirtyPages(lent.iova).status(),
                                 {StatusCode::kUnimplemented}));
  VFIO_USER_RETURN_IF_ERROR(Outcome(plain));
  return stage.CheckWorks();
}

ClientCheck NewCheck(std::string_view name, std::string_view expects, Requirement requirement) {
  ClientCheck check;
  check.description = {.name = fmt::format("unmap-report/{}", name),
                       .requirement = requirement,
                       .section = "libvfio-user, struct vfio_user_bitmap",
                       .expects = std::string(expects)};
  check.needs = {ClientAbility::kUnmapReports};
  return check;
}

void Add(const std::vector<ReportCase>& reports, Requirement requirement,
         std::vector<ClientCheck>& checks) {
  for (const ReportCase& report : reports) {
    checks.push_back(NewCheck(report.name, report.expects, requirement));
    checks.back().run = [report](Stage& stage) { return RunReport(stage, report); };
  }
}

}  // namespace

std::vector<ClientCheck> UnmapReportChecks() {
  std::vector<ClientCheck> checks;
  Add(GoodReports(), Requirement::kPeerQuirk, checks);
  Add(ForeignReports(), Requirement::kRecommended, checks);
  Add(BrokenReports(), Requirement::kRequired, checks);
  checks.push_back(NewCheck("refused",
                            "A client whose server cannot report unmaps without a report.",
                            Requirement::kRecommended));
  checks.back().run = RunRefused;
  return checks;
}

}  // namespace vfio_user
