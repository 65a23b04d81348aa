// DEVICE_GET_INFO.
#include <cerrno>
#include <cstdint>
#include <vector>

#include "fmt/format.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/wire/device_info.h"
#include "proto_defs/wire/limits.h"
#include "proto_defs/wire/wire_writer.h"
#include "tests/conformance/server/check_families.h"
#include "tests/conformance/server/outcome.h"

namespace vfio_user {
namespace {

constexpr std::string_view kInfo = "VFIO_USER_DEVICE_GET_INFO";

WireRequest GetInfo(uint32_t argsz) {
  return {.command = Command::kDeviceGetInfo, .body = Serialize(DeviceInfoRequest{.argsz = argsz})};
}

absl::Status IsAnswered(ServerUnderTest& server) {
  VFIO_USER_ASSIGN_OR_RETURN(WireClient client, server.Connect());
  VFIO_USER_ASSIGN_OR_RETURN(const WireClient::Message reply, client.Do(GetInfo(16)));
  VFIO_USER_ASSIGN_OR_RETURN(const DeviceInfo info, DeviceInfo::Parse(reply.body));
  if (reply.body.size() != DeviceInfo::kBytes || !reply.fds.empty()) {
    return Misbehaved(fmt::format("a reply of {} bytes with {} descriptors, want 16 and none",
                                  reply.body.size(), reply.fds.size()));
  }
  if (info.argsz == DeviceInfo::kBytes) return absl::OkStatus();
  return Misbehaved(fmt::format("argsz is {}, want 16", info.argsz));
}

absl::Status IsTheSameEachTime(ServerUnderTest& server) {
  VFIO_USER_ASSIGN_OR_RETURN(WireClient client, server.Connect());
  VFIO_USER_ASSIGN_OR_RETURN(const WireClient::Message first, client.Do(GetInfo(16)));
  VFIO_USER_ASSIGN_OR_RETURN(const WireClient::Message second, client.Do(GetInfo(16)));
  if (first.body == second.body) return absl::OkStatus();
  return Misbehaved("two questions, two answers");
}

absl::Status PciHasItsIndexes(ServerUnderTest& server) {
  const DeviceInfo& info = server.traits().device;
  if (!server.traits().is_pci()) return Skip("not a PCI device");
  if (info.num_regions >= kPciRegionCount && info.num_irqs >= kPciIrqCount) {
    return absl::OkStatus();
  }
  return Misbehaved(fmt::format("{} regions and {} interrupt types, want at least {} and {}",
                                info.num_regions, info.num_irqs, kPciRegionCount, kPciIrqCount));
}

absl::Status CountsAreThoseThatQemuTakes(ServerUnderTest& server) {
  const DeviceInfo& info = server.traits().device;
  if (info.num_regions <= kMaxRegions && info.num_irqs <= kMaxIrqTypes) return absl::OkStatus();
  return Misbehaved(fmt::format("{} regions and {} interrupt types, and QEMU takes {} and {}",
                                info.num_regions, info.num_irqs, kMaxRegions, kMaxIrqTypes));
}

constexpr ServerCheck kChecks[] = {
    {"device-info/is-answered", kInfo, Requirement::kRequired, IsAnswered},
    {"device-info/is-the-same-each-time", kInfo, Requirement::kRequired, IsTheSameEachTime},
    {"device-info/pci-device-has-its-indexes", kInfo, Requirement::kRequired, PciHasItsIndexes},
    {"device-info/argsz-below-16-is-refused", kInfo, Requirement::kRequired,
     [](ServerUnderTest& server) { return server.Refuses(GetInfo(15), {EINVAL}); }},
    {"device-info/short-body-is-refused", kInfo, Requirement::kRequired,
     [](ServerUnderTest& server) {
       return server.Refuses(
           {.command = Command::kDeviceGetInfo, .body = {16, 0, 0, 0, 0, 0, 0, 0}}, {EINVAL});
     }},
    {"device-info/empty-body-is-refused", kInfo, Requirement::kRequired,
     [](ServerUnderTest& server) {
       return server.Refuses({.command = Command::kDeviceGetInfo}, {EINVAL});
     }},
    {"device-info/larger-argsz-is-fine", "Message sizes; rust-vmm's client counts the header too",
     Requirement::kPeerQuirk, [](ServerUnderTest& server) { return server.Does(GetInfo(32)); }},
    {"device-info/counts-are-those-that-qemu-takes", "QEMU's client", Requirement::kPeerQuirk,
     CountsAreThoseThatQemuTakes},
};

}  // namespace

std::span<const ServerCheck> DeviceInfoChecks() { return kChecks; }

}  // namespace vfio_user
