#include <cerrno>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "fmt/format.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/wire/command.h"
#include "tests/conformance/client/info_checks.h"
#include "tests/conformance/client/reply_body.h"
#include "tests/conformance/client/request_kinds.h"
#include "tests/conformance/client/scripted_server.h"
#include "tests/conformance/client/stage.h"

namespace vfio_user {
namespace {

using absl::StatusCode;
using Bytes = std::vector<uint8_t>;

struct Echo {
  Command command{};
  std::string_view name;
  std::function<Bytes(Bytes good)> body;
  StatusCode code = StatusCode::kDataLoss;
};

// Adds 1 to the byte at `offset`.
std::function<Bytes(Bytes)> Off(size_t offset) {
  return [offset](Bytes good) {
    ++good.at(offset);
    return good;
  };
}

std::function<Bytes(Bytes)> Longer(size_t bytes) {
  return [bytes](Bytes good) {
    good.resize(good.size() + bytes, 0x5a);
    return good;
  };
}

// An access of another length, both in its count and in its data.
Bytes OneByteLess(Bytes good) {
  --good.at(12);
  good.pop_back();
  return good;
}

Bytes OneByteMore(Bytes good) {
  ++good.at(12);
  good.push_back(0x5a);
  return good;
}

std::vector<Echo> Echoes() {
  return {
      {Command::kRegionRead, "another-offset", Off(0)},
      {Command::kRegionRead, "another-offset-in-its-high-half", Off(7)},
      {Command::kRegionRead, "another-region", Off(8)},
      {Command::kRegionRead, "another-count", Off(12)},
      {Command::kRegionRead, "one-byte-less", OneByteLess},
      {Command::kRegionRead, "one-byte-more", OneByteMore},
      {Command::kRegionRead, "more-data-than-its-count", Longer(1)},
      {Command::kRegionRead, "much-more-data-than-its-count", Longer(100'000)},
      {Command::kRegionWrite, "another-offset", Off(0)},
      {Command::kRegionWrite, "another-region", Off(8)},
      {Command::kRegionWrite, "another-count", Off(12)},
      {Command::kRegionWrite, "with-data", Longer(4)},
      {Command::kDmaUnmap, "another-address", Off(9)},
      {Command::kDmaUnmap, "another-size", Off(16)},
      {Command::kDmaUnmap, "longer-than-the-request", Longer(8)},
      {Command::kDmaUnmap, "empty-as-from-a-device-without-dma",
       [](const Bytes&) { return Bytes(); }, StatusCode::kOk},
      {Command::kDmaMap, "with-a-body", Longer(32), StatusCode::kOk},
      {Command::kDeviceSetIrqs, "with-a-body", Longer(20), StatusCode::kOk},
      {Command::kDeviceReset, "with-a-body", Longer(4), StatusCode::kOk},
      {Command::kMigDataWrite, "with-a-body", Longer(32), StatusCode::kOk},
  };
}

ClientCheck EchoCheckOf(const RequestKind& kind, const Echo& echo) {
  ClientCheck check = CheckOf(BodyReply{
      .name = echo.name,
      .section = kind.section,
      .expects = echo.code == StatusCode::kOk
                     ? "A reply that some servers send in another form is taken."
                     : "A reply that does not repeat the request is not taken for its answer.",
      .command = kind.command,
      .body = echo.body,
      .call = [&kind](Stage& stage) { return Round(kind, stage); },
      .code = echo.code,
      .requirement =
          echo.code == StatusCode::kOk ? Requirement::kPeerQuirk : Requirement::kRecommended});
  check.description.name.insert(0, fmt::format("{}/", kind.family));
  if (kind.needs) check.needs.push_back(*kind.needs);
  return check;
}

// The server has no such mapping, which is all that was wanted.
ClientCheck UnmapOfNothing(const RequestKind& kind) {
  ClientCheck check = CheckOf(kind, "of-what-the-server-does-not-have", Sockets::kMain);
  check.description.requirement = Requirement::kRecommended;
  check.description.expects = "ENOENT in answer to an unmap is no reason to stop.";
  check.run = [&kind](Stage& stage) -> absl::Status {
    (void)stage.server().Next(Command::kDmaUnmap, [](Exchange& exchange) {
      return exchange.main().ReplyError(exchange.header(), ENOENT);
    });
    VFIO_USER_RETURN_IF_ERROR(Want("the unmap", Round(kind, stage), {StatusCode::kOk}));
    return stage.CheckWorks();
  };
  return check;
}

}  // namespace

std::vector<ClientCheck> EchoChecks() {
  std::vector<ClientCheck> checks;
  for (const RequestKind& kind : RequestKinds()) {
    for (const Echo& echo : Echoes()) {
      if (echo.command == kind.command) checks.push_back(EchoCheckOf(kind, echo));
    }
    if (kind.command == Command::kDmaUnmap) checks.push_back(UnmapOfNothing(kind));
  }
  return checks;
}

}  // namespace vfio_user
