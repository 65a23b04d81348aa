// What the server under test can do, so that a check knows when it does not apply.
#ifndef TESTS_CONFORMANCE_SERVER_SERVER_TRAITS_H_
#define TESTS_CONFORMANCE_SERVER_SERVER_TRAITS_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "proto_defs/wire/device_feature.h"
#include "proto_defs/wire/device_info.h"
#include "proto_defs/wire/irq.h"
#include "proto_defs/wire/region_info.h"
#include "proto_defs/wire/version.h"
#include "tests/conformance/server/wire_client.h"

namespace vfio_user {

// Devices that the checks can make do DMA.
enum class DmaEngineKind {
  kNone,
  kDmaCopy,  // PCI 1234:dc01, this tree's.
  kEdu,      // PCI 1234:11e8, QEMU's educational device.
};

// A value. All of it is found out from the server itself.
struct ServerTraits {
  VersionMessage version;  // Its answer to a client that offers everything.
  DeviceInfo device;
  std::vector<RegionInfo> regions;  // By index, with their capabilities.
  std::vector<IrqInfo> irqs;        // By index.
  // The first 256 bytes of config space; empty where they cannot be read.
  std::vector<uint8_t> config;
  DmaEngineKind engine = DmaEngineKind::kNone;
  // A DMA_UNMAP of nothing succeeds: libvfio-user does so for a device that does no DMA, and takes
  // no notice of mappings either.
  bool ignores_dma = false;
  std::optional<MigrationFlags> migration;  // nullopt: the device's state cannot be moved.
  bool logs_dma = false;
  // Regions with doorbells that can be rung through a descriptor.
  std::vector<RegionIndex> doorbell_regions;

  bool is_pci() const { return device.flags.Has(DeviceInfoFlag::kPci); }
  bool can_reset() const { return device.flags.Has(DeviceInfoFlag::kReset); }
  // nullptr where there is none of that size.
  const RegionInfo* region(RegionIndex index) const;
  // nullptr where the device has no such vector.
  const IrqInfo* irq(IrqIndex index) const;
  // A type with vectors that can be bound to an eventfd, INTx last; nullptr without one.
  const IrqInfo* signalled_irq() const;
  // The first region that a client may map; nullptr without one.
  const RegionInfo* mappable_region() const;
};

// Asks the server everything. `client` has just connected. A question that the server refuses is
// something that it lacks; an error is a server with which no check can begin.
absl::StatusOr<ServerTraits> DiscoverTraits(WireClient& client);

}  // namespace vfio_user

#endif  // TESTS_CONFORMANCE_SERVER_SERVER_TRAITS_H_
