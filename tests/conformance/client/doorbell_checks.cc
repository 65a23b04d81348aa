#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fmt/format.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/transport/unique_fd.h"
#include "proto_defs/wire/command.h"
#include "tests/conformance/check.h"
#include "tests/conformance/client/client_check.h"
#include "tests/conformance/client/client_under_test.h"
#include "tests/conformance/client/device_memory_checks.h"
#include "tests/conformance/client/reply_body.h"
#include "tests/conformance/client/scripted_server.h"
#include "tests/conformance/client/stage.h"
#include "tests/testing/memfd.h"
#include "tests/testing/scripted_peer.h"

namespace vfio_user {
namespace {

using absl::StatusCode;

// The fixed part: argsz, flags, index, count.
Body Fixed(uint32_t argsz, uint32_t index, uint32_t count) {
  return Body().U32(argsz).U32(0).U32(index).U32(count);
}

// An entry of 40 bytes, an ioeventfd.
Body& Entry(Body& body, uint64_t offset, uint64_t size, uint32_t fd_index) {
  return body.U64(offset).U64(size).U32(fd_index).U32(0).U32(0).U32(0).U64(0);
}

std::vector<uint8_t> One(uint64_t offset, uint64_t size, uint32_t fd_index) {
  Body body = Fixed(56, 0, 1);
  return Entry(body, offset, size, fd_index).bytes();
}

UniqueFd Eventfd() { return UniqueFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)); }
// As full as an eventfd can be, and one that blocks.
UniqueFd FullEventfd() {
  UniqueFd fd(::eventfd(0, EFD_CLOEXEC));
  (void)::eventfd_write(fd.get(), UINT64_MAX - 1);
  return fd;
}

struct Bells {
  std::string_view name;
  std::string_view expects;
  std::vector<uint8_t> body;
  std::vector<StatusCode> codes = {StatusCode::kDataLoss};
  UniqueFd (*fd)() = Eventfd;
  size_t fds = 1;
  // How many doorbells there are, each of which is rung once, and what that gives.
  size_t doorbells = 0;
  std::vector<StatusCode> ring = {StatusCode::kOk};
  Requirement requirement = Requirement::kRequired;
};

std::vector<Bells> Good() {
  constexpr std::string_view kRings = "A ring is a write to the eventfd.";
  const std::vector<StatusCode> ok = {StatusCode::kOk};
  Body shared = Fixed(96, 0, 2);
  Entry(shared, 0x10, 4, 0);
  Entry(shared, 0x20, 4, 0);
  const Body long_entry =
      Fixed(64, 0, 1).U64(0x10).U64(4).U32(0).U32(0).U32(0).U32(UINT32_MAX).U64(0).U64(0);
  return {
      {"one", kRings, One(0x10, 4, 0), ok, Eventfd, 1, 1},
      {"two-with-one-eventfd", kRings, shared.bytes(), ok, Eventfd, 1, 2},
      {"entry-of-48-bytes", "Entries may be libvfio-user's: the length is (argsz - 16) / count.",
       long_entry.bytes(), ok, Eventfd, 1, 1, ok, Requirement::kPeerQuirk},
      {"descriptors-that-no-entry-names", "They are closed.", One(0x10, 4, 0), ok, Eventfd, 6, 1},
      {"none",
       "A region may have none.",
       Fixed(16, 0, 0).bytes(),
       {StatusCode::kNotFound, StatusCode::kOk},
       Eventfd,
       0},
      {"counter-full",
       "A ring does not wait for a device that does not look.",
       One(0x10, 4, 0),
       ok,
       FullEventfd,
       1,
       1,
       {StatusCode::kResourceExhausted},
       Requirement::kRecommended},
  };
}

std::vector<Bells> Bad() {
  constexpr std::string_view kForm = "A list that is none ends the connection.";
  const std::vector<StatusCode> broken = {StatusCode::kDataLoss};
  return {
      {"short", kForm, Body().U32(56).U32(0).bytes()},
      {"another-region", kForm, Fixed(16, 4, 0).bytes()},
      {"count-4-billion", kForm, Fixed(16, 0, UINT32_MAX).bytes()},
      {"count-4-billion-with-one-entry", kForm,
       [] {
         Body body = Fixed(56, 0, UINT32_MAX);
         return Entry(body, 0x10, 4, 0).bytes();
       }()},
      {"argsz-4-gib", kForm, Fixed(UINT32_MAX, 0, 1).bytes()},
      {"entries-of-24-bytes", kForm, Fixed(40, 0, 1).U64(0x10).U64(4).U64(0).bytes()},
      {"entry-cut", kForm, Fixed(56, 0, 1).U64(0x10).U64(4).bytes()},
      {"range-that-wraps", kForm, One(UINT64_MAX - 3, 8, 0)},
      {"index-beyond-the-descriptors", kForm, One(0x10, 4, 1)},
      {"index-4-gib", kForm, One(0x10, 4, UINT32_MAX - 1)},
      {"no-descriptor", kForm, One(0x10, 4, 0), broken, Eventfd, 0},
      {"a-file-instead-of-an-eventfd", "What is no eventfd is not written to.", One(0x10, 4, 0),
       broken, [] { return Memfd("a file"); }},
  };
}

// As far as argsz allows.
AnswerScript Offer(const std::vector<uint8_t>& body, const std::vector<FdView>& fds) {
  return [body, fds](Exchange& exchange) -> absl::Status {
    const std::vector<uint8_t>& asked = exchange.request().body;
    if (asked.size() < 16) return Wrong("a request for doorbells is 16 bytes");
    uint32_t argsz = 0;
    std::memcpy(&argsz, asked.data(), sizeof(argsz));
    if (body.size() <= std::max<size_t>(argsz, 16)) {
      return exchange.main().Reply(exchange.header(), body, fds);
    }
    return exchange.main().Reply(exchange.header(), {body.data(), 16});
  };
}

absl::Status Ring(Stage& stage, const Bells& bells, const UniqueFd& fd) {
  uint64_t before = 0;
  const bool full = bells.ring.front() != StatusCode::kOk;
  for (size_t i = 0; i < bells.doorbells; ++i) {
    VFIO_USER_RETURN_IF_ERROR(Want("a ring", stage.client().RingDoorbell(i), bells.ring));
  }
  if (full || bells.doorbells == 0) return absl::OkStatus();
  if (::eventfd_read(fd.get(), &before) != 0 || before != bells.doorbells) {
    return Wrong(fmt::format("{} rings came, want {}", before, bells.doorbells));
  }
  return absl::OkStatus();
}

absl::Status Run(Stage& stage, const Bells& bells) {
  const UniqueFd fd = bells.fd();
  VFIO_USER_RETURN_IF_ERROR(stage.CheckWorks());
  const int before = stage.adapter().OpenDescriptors();
  for (int i = 0; i < 2; ++i) {
    (void)stage.server().Next(Command::kDeviceGetRegionIoFds,
                              Offer(bells.body, std::vector<FdView>(bells.fds, fd)));
  }
  const absl::StatusOr<size_t> opened = stage.client().OpenDoorbells();
  VFIO_USER_RETURN_IF_ERROR(Want("asking for doorbells", opened.status(), bells.codes));
  if (!opened.ok() && opened.status().code() == StatusCode::kDataLoss) {
    // Whether a client goes on without the doorbell or closes is its own affair.
    return stage.client().connection().ok() ? stage.CheckWorks()
                                            : stage.CheckClosed({StatusCode::kDataLoss});
  }
  if (opened.ok() && *opened != bells.doorbells) {
    return Wrong(fmt::format("the client found {} doorbells, want {}", *opened, bells.doorbells));
  }
  VFIO_USER_RETURN_IF_ERROR(Ring(stage, bells, fd));
  const int after = stage.adapter().OpenDescriptors();
  if (after > before + static_cast<int>(bells.doorbells)) {
    return Wrong(fmt::format("{} descriptors are open, {} before", after, before));
  }
  return stage.CheckWorks();
}

}  // namespace

std::vector<ClientCheck> DoorbellChecks() {
  std::vector<ClientCheck> checks;
  for (const auto& list : {Good(), Bad()}) {
    for (const Bells& bells : list) {
      ClientCheck check;
      check.description = {.name = fmt::format("doorbells/{}", bells.name),
                           .requirement = bells.requirement,
                           .section = "VFIO_USER_DEVICE_GET_REGION_IO_FDS",
                           .expects = std::string(bells.expects)};
      check.needs = {ClientAbility::kDoorbells};
      check.run = [bells](Stage& stage) { return Run(stage, bells); };
      checks.push_back(std::move(check));
    }
  }
  return checks;
}

}  // namespace vfio_user
