// The commands of the protocol.
#ifndef PROTO_DEFS_WIRE_COMMAND_H_
#define PROTO_DEFS_WIRE_COMMAND_H_

#include <cstdint>
#include <string_view>

namespace vfio_user {

// Source: QEMU docs/interop/vfio-user.rst, "Commands". 14 was DIRTY_PAGES until migration was
// redesigned and is not assigned now. A peer may send any number: values outside the list occur.
enum class Command : uint16_t {
  kVersion = 1,
  kDmaMap = 2,
  kDmaUnmap = 3,
  kDeviceGetInfo = 4,
  kDeviceGetRegionInfo = 5,
  kDeviceGetRegionIoFds = 6,
  kDeviceGetIrqInfo = 7,
  kDeviceSetIrqs = 8,
  kRegionRead = 9,
  kRegionWrite = 10,
  kDmaRead = 11,
  kDmaWrite = 12,
  kDeviceReset = 13,
  kRegionWriteMulti = 15,
  kDeviceFeature = 16,
  kMigDataRead = 17,
  kMigDataWrite = 18,
};

// The specification's name without its prefix, "DMA_MAP"; "UNKNOWN" for a number it does not have.
std::string_view CommandName(Command command);

}  // namespace vfio_user

#endif  // PROTO_DEFS_WIRE_COMMAND_H_
