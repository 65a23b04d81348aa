#include "tests/conformance/client/feature_checks.h"

#include <cerrno>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fmt/format.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/wire/command.h"
#include "proto_defs/wire/iova.h"
#include "tests/conformance/check.h"
#include "tests/conformance/client/client_under_test.h"
#include "tests/conformance/client/model_device.h"
#include "tests/conformance/client/reply_body.h"
#include "tests/conformance/client/scripted_server.h"
#include "tests/conformance/client/stage.h"

namespace vfio_user {
namespace {

using absl::StatusCode;
using Bytes = std::vector<uint8_t>;

constexpr uint32_t kGet = 1 << 16;
constexpr uint16_t kMigration = 1;

// What is asked for is a u64.
struct FeatureReply {
  std::string_view name;
  std::string_view expects;
  Bytes body;
  StatusCode code = StatusCode::kDataLoss;
};

std::vector<FeatureReply> FeatureReplies() {
  constexpr std::string_view kOwn = "A reply to something else is not taken for this one.";
  constexpr std::string_view kForm = "A reply that does not hold its own fields is refused.";
  const auto reply = [](uint32_t argsz, uint32_t flags) { return Body().U32(argsz).U32(flags); };
  return {
      {"good", "A feature is told.", reply(16, kGet | 1).U64(5).bytes(), StatusCode::kOk},
      {"argsz-4-gib", "What the server would take is its own affair.",
       reply(UINT32_MAX, kGet | 1).U64(5).bytes(), StatusCode::kOk},
      {"of-another-feature", kOwn, reply(16, kGet | 2).U64(5).bytes()},
      {"of-another-operation", kOwn, reply(16, (1 << 17) | 1).U64(5).bytes()},
      {"empty", kForm, {}},
      {"short", kForm, Body().U32(16).bytes()},
      {"longer-than-asked", "No more comes than was asked for.",
       reply(16, kGet | 1).Zeros(9).bytes()},
      {"much-longer-than-asked", "No more comes than was asked for.",
       reply(16, kGet | 1).Zeros(200'000).bytes()},
  };
}

constexpr Iova kFirst{0x100000};
constexpr uint64_t kPages = 16;

// A report of 16 pages, in a bitmap of 8 bytes.
Body Report(uint64_t first, uint64_t length, uint64_t page_size) {
  return Body().U32(40).U32(kGet | 8).U64(first).U64(length).U64(page_size);
}

struct LogCase {
  std::string_view name;
  std::string_view expects;
  // In place of the good replies, where they are there.
  std::optional<Bytes> start{};
  std::optional<Bytes> report{};
  StatusCode code = StatusCode::kDataLoss;
  uint64_t dirty = 0;  // After OK.
};

std::vector<LogCase> Starts() {
  constexpr uint32_t kStart = (1 << 17) | 6;
  constexpr std::string_view kSize = "A page size that is none is refused.";
  const auto start = [](uint64_t page_size, uint32_t ranges) {
    return Body()
        .U32(40)
        .U32(kStart)
        .U64(page_size)
        .U32(ranges)
        .U32(0)
        .U64(0)
        .U64(1ULL << 40)
        .bytes();
  };
  return {
      {"start-with-pages-of-0-bytes", kSize, start(0, 1)},
      {"start-with-pages-of-3-bytes", kSize, start(3, 1)},
      {"start-with-4-billion-ranges", "Nothing is allocated for what is not there.",
       start(4096, UINT32_MAX)},
      {"start-cut-off", "A reply that does not hold its own fields is refused.",
       Body().U32(40).U32(kStart).U64(4096).bytes()},
      {"start-of-another-feature", "A reply to something else is not taken for this one.",
       Body().U32(8).U32((1 << 17) | 7).bytes()},
  };
}

std::vector<LogCase> Reports() {
  const uint64_t first = ToU64(kFirst);
  constexpr uint64_t kLength = kPages * 4096;
  constexpr std::string_view kOwn = "A report of something else is not taken for this one.";
  constexpr std::string_view kBits = "A bitmap is as long as its pages ask for.";
  return {
      {"report",
       "Bits are pages.",
       {},
       Report(first, kLength, 4096).U64(0x8001).bytes(),
       StatusCode::kOk,
       2},
      {"report-beyond-the-last-page",
       "Bits without a page mean nothing.",
       {},
       Report(first, kLength, 4096).U64(UINT64_MAX).bytes(),
       StatusCode::kOk,
       16},
      {"report-of-another-address", kOwn, {}, Report(first + 4096, kLength, 4096).U64(0).bytes()},
      {"report-of-another-length", kOwn, {}, Report(first, kLength / 2, 4096).U64(0).bytes()},
      {"report-in-other-pages", kOwn, {}, Report(first, kLength, 8192).U64(0).bytes()},
      {"report-in-pages-of-0-bytes", kOwn, {}, Report(first, kLength, 0).U64(0).bytes()},
      {"report-of-all-64-bits", kOwn, {}, Report(first, UINT64_MAX, 1).U64(0).bytes()},
      {"report-without-bitmap", kBits, {}, Report(first, kLength, 4096).bytes()},
      {"report-with-half-a-bitmap", kBits, {}, Report(first, kLength, 4096).U32(0).bytes()},
      {"report-with-more-bitmap", kBits, {}, Report(first, kLength, 4096).U64(0).U64(0).bytes()},
      {"report-empty", kBits, {}, Bytes()},
  };
}

AnswerScript Say(const Bytes& body) {
  return [body](Exchange& exchange) { return exchange.main().Reply(exchange.header(), body); };
}

absl::Status RunFeature(Stage& stage, const FeatureReply& reply) {
  (void)stage.server().Next(Command::kDeviceFeature, Say(reply.body));
  VFIO_USER_RETURN_IF_ERROR(
      Want("the request", stage.client().GetFeature(kMigration, 8).status(), {reply.code}));
  if (reply.code == StatusCode::kOk) return stage.CheckWorks();
  return stage.CheckClosed({reply.code});
}

absl::Status RunLog(Stage& stage, const LogCase& log) {
  if (log.start) (void)stage.server().Next(Command::kDeviceFeature, Say(*log.start));
  const absl::Status started = stage.client().StartDirtyLog();
  if (log.start) {
    VFIO_USER_RETURN_IF_ERROR(Want("starting the log", started, {log.code}));
    return stage.CheckClosed({log.code});
  }
  VFIO_USER_RETURN_IF_ERROR(Want("starting the log", started, {StatusCode::kOk}));
  (void)stage.server().Next(Command::kDeviceFeature, Say(*log.report));
  const absl::StatusOr<uint64_t> dirty = stage.client().CountDirtyPages(kFirst, kPages * 4096);
  VFIO_USER_RETURN_IF_ERROR(Want("the report", dirty.status(), {log.code}));
  if (!dirty.ok()) return stage.CheckClosed({log.code});
  if (*dirty != log.dirty) {
    return Wrong(fmt::format("{} pages are dirty, want {}", *dirty, log.dirty));
  }
  return stage.CheckWorks();
}

ClientCheck NewCheck(std::string name, std::string_view expects, ClientAbility needs) {
  ClientCheck check;
  check.description = {.name = std::move(name),
                       .section = "VFIO_USER_DEVICE_FEATURE",
                       .expects = std::string(expects)};
  check.needs = {needs};
  return check;
}

}  // namespace

std::vector<ClientCheck> FeatureChecks() {
  std::vector<ClientCheck> checks;
  for (const FeatureReply& reply : FeatureReplies()) {
    checks.push_back(
        NewCheck(fmt::format("feature/{}", reply.name), reply.expects, ClientAbility::kFeatures));
    checks.back().run = [reply](Stage& stage) { return RunFeature(stage, reply); };
  }
  return checks;
}

std::vector<ClientCheck> DirtyLogChecks() {
  std::vector<ClientCheck> checks;
  for (const auto& list : {Starts(), Reports()}) {
    for (const LogCase& log : list) {
      checks.push_back(
          NewCheck(fmt::format("dirty-log/{}", log.name), log.expects, ClientAbility::kDirtyLog));
      checks.back().run = [log](Stage& stage) { return RunLog(stage, log); };
    }
  }
  return checks;
}

}  // namespace vfio_user
