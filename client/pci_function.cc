#include "client/pci_function.h"

#include <linux/pci_regs.h>

#include <algorithm>
#include <bit>
#include <cstddef>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/session/session.h"
#include "proto_defs/base/status_macros.h"

namespace vfio_user {
namespace {

static_assert(std::endian::native == std::endian::little,
              "config space is little endian, and read here as it stands");
static_assert(static_cast<int>(PciCommandFlag::kIoSpace) == PCI_COMMAND_IO);
static_assert(static_cast<int>(PciCommandFlag::kMemorySpace) == PCI_COMMAND_MEMORY);
static_assert(static_cast<int>(PciCommandFlag::kBusMaster) == PCI_COMMAND_MASTER);
static_assert(static_cast<int>(PciCommandFlag::kIntxDisable) == PCI_COMMAND_INTX_DISABLE);

constexpr PciCommandFlags kKnownCommandFlags =
    PciCommandFlags(PciCommandFlag::kIoSpace) | PciCommandFlag::kMemorySpace |
    PciCommandFlag::kBusMaster | PciCommandFlag::kIntxDisable;

// All of an extended config space; whatever a server says, no more of it means anything.
constexpr uint64_t kMostConfigBytes = 4096;

}  // namespace

PciFunction::PciFunction(std::shared_ptr<Session> session, Region config)
    : session_(std::move(session)), config_(std::move(config)) {}

absl::StatusOr<PciDeviceIdentity> PciFunction::ReadIdentity() const {
  PciDeviceIdentity identity;
  VFIO_USER_ASSIGN_OR_RETURN(const uint32_t id, config_.Read<uint32_t>(PCI_VENDOR_ID));
  VFIO_USER_ASSIGN_OR_RETURN(const uint32_t class_and_revision,
                             config_.Read<uint32_t>(PCI_CLASS_REVISION));
  VFIO_USER_ASSIGN_OR_RETURN(const uint32_t subsystem,
                             config_.Read<uint32_t>(PCI_SUBSYSTEM_VENDOR_ID));
  identity.vendor_id = static_cast<uint16_t>(id);
  identity.device_id = static_cast<uint16_t>(id >> 16);
  identity.subsystem_vendor_id = static_cast<uint16_t>(subsystem);
  identity.subsystem_id = static_cast<uint16_t>(subsystem >> 16);
  identity.class_code = class_and_revision >> 8;
  identity.revision = static_cast<uint8_t>(class_and_revision);
  return identity;
}

absl::StatusOr<PciCommandFlags> PciFunction::ReadCommand() const {
  VFIO_USER_ASSIGN_OR_RETURN(const uint16_t command, config_.Read<uint16_t>(PCI_COMMAND));
  return PciCommandFlags::KnownOf(command, kKnownCommandFlags);
}

absl::Status PciFunction::SetCommand(PciCommandFlags flags) const {
  VFIO_USER_ASSIGN_OR_RETURN(const uint16_t command, config_.Read<uint16_t>(PCI_COMMAND));
  return config_.Write<uint16_t>(PCI_COMMAND, static_cast<uint16_t>(command | flags.ToWire()));
}

absl::Status PciFunction::ClearCommand(PciCommandFlags flags) const {
  VFIO_USER_ASSIGN_OR_RETURN(const uint16_t command, config_.Read<uint16_t>(PCI_COMMAND));
  return config_.Write<uint16_t>(PCI_COMMAND, static_cast<uint16_t>(command & ~flags.ToWire()));
}

absl::StatusOr<PciConfig> PciFunction::ReadRegisters() const {
  std::vector<std::byte> bytes(std::min(config_.size(), kMostConfigBytes));
  VFIO_USER_RETURN_IF_ERROR(config_.ReadBlock(0, bytes));
  return ParsePciConfig(bytes);
}

absl::StatusOr<PciConfig> PciFunction::ReadConfig() const {
  VFIO_USER_ASSIGN_OR_RETURN(PciConfig config, ReadRegisters());
  for (PciBar& bar : config.bars) {
    VFIO_USER_ASSIGN_OR_RETURN(const RegionInfo info, session_->GetRegionInfo(bar.index));
    bar.size = info.size;
  }
  return config;
}

absl::Status PciFunction::ResetFunction() const {
  VFIO_USER_ASSIGN_OR_RETURN(const PciConfig config, ReadRegisters());
  const PciCapability* const express = config.FindCapability<PciExpressCapability>();
  if (express == nullptr) {
    return absl::UnimplementedError(
        "the device has no PCI Express capability, and with it no function level reset");
  }
  if (!std::get<PciExpressCapability>(express->registers).function_level_reset) {
    return absl::UnimplementedError(
        "the device's PCI Express capability does not offer function level reset");
  }
  const uint64_t control = express->offset + uint64_t{PCI_EXP_DEVCTL};
  VFIO_USER_ASSIGN_OR_RETURN(const uint16_t value, config_.Read<uint16_t>(control));
  return config_.Write<uint16_t>(control, static_cast<uint16_t>(value | PCI_EXP_DEVCTL_BCR_FLR));
}

}  // namespace vfio_user
