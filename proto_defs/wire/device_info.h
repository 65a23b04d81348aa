// DEVICE_GET_INFO: what kind of device this is, and how many regions and interrupt types it has.
#ifndef PROTO_DEFS_WIRE_DEVICE_INFO_H_
#define PROTO_DEFS_WIRE_DEVICE_INFO_H_

#include <cstdint>
#include <span>

#include "absl/status/statusor.h"
#include "proto_defs/wire/flag_set.h"

namespace vfio_user {

class WireWriter;

// The regions of a PCI device. A peer may send any number: values outside the list occur.
enum class RegionIndex : uint32_t {
  kBar0 = 0,
  kBar1 = 1,
  kBar2 = 2,
  kBar3 = 3,
  kBar4 = 4,
  kBar5 = 5,
  kRom = 6,
  kConfig = 7,
  kVga = 8,
};
inline constexpr uint32_t kPciRegionCount = 9;

// The interrupt types of a PCI device. Values outside the list occur.
enum class IrqIndex : uint32_t {
  kIntx = 0,
  kMsi = 1,
  kMsix = 2,
  kErr = 3,
  kReq = 4,
};
inline constexpr uint32_t kPciIrqCount = 5;

enum class DeviceInfoFlag : uint32_t {
  kReset = 1,  // DEVICE_RESET works.
  kPci = 2,    // The indexes of regions and interrupts are those above.
};
using DeviceInfoFlags = FlagSet<DeviceInfoFlag>;

inline constexpr DeviceInfoFlags kKnownDeviceInfoFlags =
    DeviceInfoFlags(DeviceInfoFlag::kReset) | DeviceInfoFlag::kPci;

// Body of DEVICE_GET_INFO (command 4), client to server. 16 bytes: argsz u32 @0, the rest unused.
// Source: QEMU docs/interop/vfio-user.rst, "VFIO_USER_DEVICE_GET_INFO".
struct DeviceInfoRequest {
  static constexpr uint32_t kBytes = 16;

  uint32_t argsz = kBytes;

  // InvalidArgument for a body or an argsz below 16. More is fine: rust-vmm counts the header too.
  static absl::StatusOr<DeviceInfoRequest> Parse(std::span<const uint8_t> body);
  void AppendTo(WireWriter& out) const;

  friend bool operator==(const DeviceInfoRequest&, const DeviceInfoRequest&) = default;
};

// The reply. 16 bytes:
//   argsz u32 @0 | flags u32 @4 | num_regions u32 @8 | num_irqs u32 @12
struct DeviceInfo {
  static constexpr uint32_t kBytes = 16;

  uint32_t argsz = kBytes;
  DeviceInfoFlags flags{};
  uint32_t num_regions = 0;
  uint32_t num_irqs = 0;

  // InvalidArgument for a body below 16 bytes. A longer one, and flags that are not known, are a
  // newer server's, whose device must stay usable: both are dropped. Does not judge the counts,
  // which are the server's word: a client bounds them (kMaxRegions, kMaxIrqTypes) before use.
  static absl::StatusOr<DeviceInfo> Parse(std::span<const uint8_t> body);
  void AppendTo(WireWriter& out) const;

  friend bool operator==(const DeviceInfo&, const DeviceInfo&) = default;
};

}  // namespace vfio_user

#endif  // PROTO_DEFS_WIRE_DEVICE_INFO_H_
