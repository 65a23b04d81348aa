// Names of numbers and of flags.
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "fmt/format.h"
#include "proto_defs/wire/command.h"
#include "proto_defs/wire/device_feature.h"
#include "proto_defs/wire/device_info.h"
#include "proto_defs/wire/dma_map.h"
#include "proto_defs/wire/flag_set.h"
#include "proto_defs/wire/format.h"
#include "proto_defs/wire/iova.h"
#include "proto_defs/wire/irq.h"
#include "proto_defs/wire/region_info.h"
#include "proto_defs/wire/region_io_fds.h"

namespace vfio_user {
namespace {

using Names = std::span<const std::string_view>;

// The name at `number`, or the number.
std::string NameOf(uint64_t number, Names names) {
  return number < names.size() ? std::string(names[number]) : fmt::format("{}", number);
}

// The names of the bits that are set, of which the lowest is bit `first_bit`. A FlagSet holds only
// known bits, so that each has a name.
std::string FlagNames(uint64_t bits, size_t first_bit, Names names) {
  std::string out;
  for (size_t i = 0; i < names.size(); ++i) {
    if ((bits >> (first_bit + i) & 1) == 0) continue;
    if (!out.empty()) out += '|';
    out += names[i];
  }
  return out.empty() ? "none" : out;
}

constexpr std::array<std::string_view, 10> kFeatures = {"pci-vf-token",
                                                        "migration",
                                                        "mig-device-state",
                                                        "low-power-entry",
                                                        "low-power-entry-with-wakeup",
                                                        "low-power-exit",
                                                        "dma-logging-start",
                                                        "dma-logging-stop",
                                                        "dma-logging-report",
                                                        "mig-data-size"};
constexpr std::array<std::string_view, 3> kIoFdTypes = {"ioeventfd", "ioregionfd",
                                                        "shadow-ioeventfd"};
constexpr std::array<std::string_view, kPciIrqCount> kIrqs = {"intx", "msi", "msix", "err", "req"};
constexpr std::array<std::string_view, 8> kMigStates = {
    "error", "stop", "running", "stop-copy", "resuming", "running-p2p", "pre-copy", "pre-copy-p2p"};
constexpr std::array<std::string_view, kPciRegionCount> kRegions = {
    "bar0", "bar1", "bar2", "bar3", "bar4", "bar5", "rom", "config", "vga"};

constexpr std::array<std::string_view, 2> kDeviceInfoFlags = {"reset", "pci"};
constexpr std::array<std::string_view, 4> kDmaMapFlags = {"read", "write", "mmap", "file-io"};
constexpr std::array<std::string_view, 2> kDmaUnmapFlags = {"get-dirty-bitmap", "all"};
constexpr std::array<std::string_view, 3> kFeatureOps = {"get", "set", "probe"};
constexpr size_t kFirstFeatureOpBit = 16;
constexpr std::array<std::string_view, 4> kIrqInfoFlags = {"eventfd", "maskable", "automasked",
                                                           "noresize"};
constexpr std::array<std::string_view, 3> kMigrationFlags = {"stop-copy", "p2p", "pre-copy"};
constexpr std::array<std::string_view, 4> kRegionFlags = {"read", "write", "mmap", "caps"};

}  // namespace

std::string ToText(Command command) {
  const std::string_view name = CommandName(command);
  if (name != CommandName(Command{})) return std::string(name);
  return fmt::format("{} {}", name, static_cast<uint16_t>(command));
}

std::string ToText(Feature feature) { return NameOf(static_cast<uint16_t>(feature), kFeatures); }

std::string ToText(IoFdType type) { return NameOf(static_cast<uint32_t>(type), kIoFdTypes); }

std::string ToText(Iova iova) { return fmt::format("{:#x}", ToU64(iova)); }

std::string ToText(IrqAction action) {
  switch (action) {
    case IrqAction::kMask:
      return "mask";
    case IrqAction::kUnmask:
      return "unmask";
    case IrqAction::kTrigger:
      return "trigger";
  }
  return fmt::format("{:#x}", static_cast<uint32_t>(action));
}

std::string ToText(IrqData data) {
  switch (data) {
    case IrqData::kNone:
      return "none";
    case IrqData::kBool:
      return "bool";
    case IrqData::kEventfd:
      return "eventfd";
  }
  return fmt::format("{:#x}", static_cast<uint32_t>(data));
}

std::string ToText(IrqIndex index) { return NameOf(static_cast<uint32_t>(index), kIrqs); }

std::string ToText(MigState state) { return NameOf(static_cast<uint32_t>(state), kMigStates); }

std::string ToText(RegionIndex index) { return NameOf(static_cast<uint32_t>(index), kRegions); }

std::string ToText(DeviceInfoFlags flags) { return FlagNames(flags.ToWire(), 0, kDeviceInfoFlags); }

std::string ToText(DmaMapFlags flags) { return FlagNames(flags.ToWire(), 0, kDmaMapFlags); }

std::string ToText(DmaUnmapFlags flags) { return FlagNames(flags.ToWire(), 0, kDmaUnmapFlags); }

std::string ToText(FeatureOps ops) {
  return FlagNames(ops.ToWire(), kFirstFeatureOpBit, kFeatureOps);
}

std::string ToText(IrqInfoFlags flags) { return FlagNames(flags.ToWire(), 0, kIrqInfoFlags); }

std::string ToText(MigrationFlags flags) { return FlagNames(flags.ToWire(), 0, kMigrationFlags); }

std::string ToText(RegionFlags flags) { return FlagNames(flags.ToWire(), 0, kRegionFlags); }

}  // namespace vfio_user
