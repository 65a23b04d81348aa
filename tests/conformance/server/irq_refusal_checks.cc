// DEVICE_SET_IRQS in forms that a server must refuse.
#include <cerrno>
#include <cstdint>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "fmt/format.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/wire/device_info.h"
#include "proto_defs/wire/irq.h"
#include "tests/conformance/server/check_families.h"
#include "tests/conformance/server/irq_requests.h"
#include "tests/conformance/server/outcome.h"

namespace vfio_user {
namespace {

constexpr std::string_view kSet = "VFIO_USER_DEVICE_SET_IRQS";

// The type that the forms are tried on; its index is filled in.
absl::Status Refuses(ServerUnderTest& server, IrqNumbers numbers, std::vector<FdView> fds = {}) {
  const IrqInfo* const irq = server.traits().signalled_irq();
  if (irq == nullptr) return Skip("the device has no interrupt that signals an eventfd");
  numbers.index = irq->index;
  return server.Refuses(SetIrqs(numbers, std::move(fds)), {EINVAL});
}

absl::Status RefusesFlags(ServerUnderTest& server, std::vector<uint32_t> many) {
  for (const uint32_t flags : many) {
    VFIO_USER_RETURN_IF_ERROR(
        InCase(Refuses(server, {.flags = flags}), fmt::format("flags {:#x}", flags)));
  }
  return absl::OkStatus();
}

absl::Status RefusesShortBodies(ServerUnderTest& server) {
  for (const size_t bytes : {size_t{0}, size_t{8}, size_t{19}}) {
    WireRequest request = SetIrqs({.count = 0});
    request.body.resize(bytes);
    VFIO_USER_RETURN_IF_ERROR(
        InCase(server.Refuses(request, {EINVAL}), fmt::format("{} bytes", bytes)));
  }
  return absl::OkStatus();
}

absl::Status RefusesVectors(ServerUnderTest& server) {
  const IrqInfo* const irq = server.traits().signalled_irq();
  const uint32_t has = irq == nullptr ? 0 : irq->count;
  const IrqNumbers beyond[] = {{.start = has, .count = 1},
                               {.start = 0, .count = has + 1},
                               {.start = UINT32_MAX, .count = 1},
                               {.start = UINT32_MAX, .count = UINT32_MAX},
                               {.start = 1, .count = UINT32_MAX}};
  for (const IrqNumbers& numbers : beyond) {
    VFIO_USER_RETURN_IF_ERROR(
        InCase(Refuses(server, numbers),
               fmt::format("start {}, count {} of {} vectors", numbers.start, numbers.count, has)));
  }
  return absl::OkStatus();
}

absl::Status RefusesIndexes(ServerUnderTest& server) {
  for (const uint32_t index : {server.traits().device.num_irqs, UINT32_MAX}) {
    for (const uint32_t count : {0u, 1u}) {
      VFIO_USER_RETURN_IF_ERROR(
          InCase(server.Refuses(SetIrqs({.index = IrqIndex{index}, .count = count}), {EINVAL}),
                 fmt::format("index {}", index)));
    }
  }
  return absl::OkStatus();
}

absl::Status RefusesBools(ServerUnderTest& server) {
  for (const size_t bytes : {size_t{0}, size_t{2}, size_t{64}}) {
    VFIO_USER_RETURN_IF_ERROR(InCase(Refuses(server, {.argsz = static_cast<uint32_t>(20 + bytes),
                                                      .flags = kIrqBool | kIrqTrigger,
                                                      .bools = std::vector<uint8_t>(bytes, 1)}),
                                     fmt::format("{} bytes for a count of 1", bytes)));
  }
  return absl::OkStatus();
}

absl::Status RefusesDescriptorsWithoutEventfd(ServerUnderTest& server) {
  const IrqSignal signal = IrqSignal::Create();
  VFIO_USER_RETURN_IF_ERROR(Refuses(server, {}, {signal.fd()}));
  return Refuses(server, {.flags = kIrqNone | kIrqTrigger, .count = 0}, {signal.fd()});
}

absl::Status RefusesOtherNumbersOfDescriptors(ServerUnderTest& server) {
  const IrqSignal signal = IrqSignal::Create();
  VFIO_USER_RETURN_IF_ERROR(
      InCase(Refuses(server, {.flags = kIrqEventfd | kIrqTrigger}, {signal.fd(), signal.fd()}),
             "2 descriptors for a count of 1"));
  const IrqInfo* const irq = server.traits().signalled_irq();
  if (irq->count < 2) return absl::OkStatus();
  return InCase(Refuses(server, {.flags = kIrqEventfd | kIrqTrigger, .count = 2}, {signal.fd()}),
                "1 descriptor for a count of 2");
}

absl::Status RefusesMaskingOfErrors(ServerUnderTest& server) {
  for (const IrqIndex index : {IrqIndex::kErr, IrqIndex::kReq}) {
    if (server.traits().irq(index) == nullptr) continue;
    for (const uint32_t action : {kIrqMask, kIrqUnmask}) {
      VFIO_USER_RETURN_IF_ERROR(
          server.Refuses(SetIrqs({.flags = kIrqNone | action, .index = index}), {EINVAL}));
    }
    return absl::OkStatus();
  }
  return Skip("the device has neither of the interrupts ERR and REQ");
}

constexpr ServerCheck kChecks[] = {
    {"set-irqs/argsz-below-20-is-refused", kSet, Requirement::kRequired,
     [](ServerUnderTest& server) { return Refuses(server, {.argsz = 19}); }},
    {"set-irqs/short-body-is-refused", kSet, Requirement::kRequired, RefusesShortBodies},
    {"set-irqs/no-data-flag-is-refused", kSet, Requirement::kRequired,
     [](ServerUnderTest& server) {
       return RefusesFlags(server, {kIrqTrigger, kIrqMask});
     }},
    {"set-irqs/two-data-flags-are-refused", kSet, Requirement::kRequired,
     [](ServerUnderTest& server) {
       return RefusesFlags(
           server, {kIrqNone | kIrqBool | kIrqTrigger, kIrqNone | kIrqEventfd | kIrqTrigger});
     }},
    {"set-irqs/no-action-flag-is-refused", kSet, Requirement::kRequired,
     [](ServerUnderTest& server) {
       return RefusesFlags(server, {kIrqNone, kIrqEventfd});
     }},
    {"set-irqs/two-action-flags-are-refused", kSet, Requirement::kRequired,
     [](ServerUnderTest& server) {
       return RefusesFlags(server,
                           {kIrqNone | kIrqTrigger | kIrqMask, kIrqNone | kIrqMask | kIrqUnmask});
     }},
    {"set-irqs/unknown-flag-is-refused", kSet, Requirement::kRecommended,
     [](ServerUnderTest& server) {
       return RefusesFlags(server,
                           {kIrqNone | kIrqTrigger | 0x40, kIrqNone | kIrqTrigger | 0x80000000});
     }},
    {"set-irqs/index-beyond-the-last-is-refused", kSet, Requirement::kRequired, RefusesIndexes},
    {"set-irqs/vectors-beyond-the-last-are-refused", kSet, Requirement::kRequired, RefusesVectors},
    {"set-irqs/count-0-with-a-start-is-refused", kSet, Requirement::kRequired,
     [](ServerUnderTest& server) { return Refuses(server, {.start = 1, .count = 0}); }},
    {"set-irqs/count-0-only-disables", kSet, Requirement::kRequired,
     [](ServerUnderTest& server) {
       return Refuses(server, {.flags = kIrqNone | kIrqMask, .count = 0});
     }},
    {"set-irqs/bools-of-another-number-are-refused", kSet, Requirement::kRequired, RefusesBools},
    {"set-irqs/descriptors-without-eventfd-are-refused", kSet, Requirement::kRequired,
     RefusesDescriptorsWithoutEventfd},
    {"set-irqs/other-number-of-descriptors-is-refused", kSet, Requirement::kRequired,
     RefusesOtherNumbersOfDescriptors},
    {"set-irqs/masking-err-and-req-is-refused", kSet, Requirement::kRecommended,
     RefusesMaskingOfErrors},
};

}  // namespace

std::span<const ServerCheck> IrqRefusalChecks() { return kChecks; }

}  // namespace vfio_user
