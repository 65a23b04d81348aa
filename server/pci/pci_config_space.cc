#include "server/pci/pci_config_space.h"

#include <linux/pci_regs.h>

#include <utility>

#include "server/pci/pci_capabilities.h"
#include "server/pci/pci_header.h"

namespace vfio_user {
namespace {

constexpr uint16_t kD0 = 0;
constexpr uint16_t kD3hot = 3;

}  // namespace

PciConfigSpace::PciConfigSpace(const DeviceDescription& description)
    : layout_(description),
      registers_(ConfigSpaceBytes(description)),
      can_reset_(description.express.has_value() && description.express->function_level_reset),
      masks_msi_(layout_.msi != 0 && description.msi.per_vector_mask) {
  DefineHeader(description, registers_);
  DefineCapabilities(description, layout_, registers_);
}

PciWriteEffect PciConfigSpace::Write(size_t offset, std::span<const std::byte> from) {
  const size_t power = layout_.power_management + PCI_PM_CTRL;
  const auto before = registers_.Get<uint16_t>(power);
  registers_.Write(offset, from);
  if (layout_.power_management != 0) KeepPowerState(before);
  return AsksForReset(offset, from) ? PciWriteEffect::kFunctionReset : PciWriteEffect::kNone;
}

bool PciConfigSpace::HasItsPowerState() const {
  if (layout_.power_management == 0) return true;
  const uint16_t state =
      registers_.Get<uint16_t>(layout_.power_management + PCI_PM_CTRL) & PCI_PM_CTRL_STATE_MASK;
  return state == kD0 || state == kD3hot;
}

void PciConfigSpace::KeepPowerState(uint16_t before) {
  if (HasItsPowerState()) return;
  const size_t at = layout_.power_management + PCI_PM_CTRL;
  const auto control = registers_.Get<uint16_t>(at);
  registers_.Put(at, static_cast<uint16_t>((control & ~PCI_PM_CTRL_STATE_MASK) |
                                           (before & PCI_PM_CTRL_STATE_MASK)));
}

bool PciConfigSpace::AsksForReset(size_t offset, std::span<const std::byte> written) const {
  if (!can_reset_) return false;
  const size_t high_byte = layout_.express + PCI_EXP_DEVCTL + 1;
  if (high_byte < offset || high_byte - offset >= written.size()) return false;
  const auto value = std::to_integer<uint16_t>(written[high_byte - offset]);
  return (value << 8 & PCI_EXP_DEVCTL_BCR_FLR) != 0;
}

bool PciConfigSpace::may_master() const {
  return (registers_.Get<uint16_t>(PCI_COMMAND) & PCI_COMMAND_MASTER) != 0 &&
         !Has(layout_.power_management, PCI_PM_CTRL, PCI_PM_CTRL_STATE_MASK);
}

bool PciConfigSpace::intx_disabled() const {
  return (registers_.Get<uint16_t>(PCI_COMMAND) & PCI_COMMAND_INTX_DISABLE) != 0;
}

bool PciConfigSpace::msi_enabled() const {
  return Has(layout_.msi, PCI_MSI_FLAGS, PCI_MSI_FLAGS_ENABLE);
}

uint32_t PciConfigSpace::msi_mask() const {
  return masks_msi_ ? registers_.Get<uint32_t>(layout_.msi + PCI_MSI_MASK_64) : 0;
}

bool PciConfigSpace::msix_enabled() const {
  return Has(layout_.msix, PCI_MSIX_FLAGS, PCI_MSIX_FLAGS_ENABLE);
}

bool PciConfigSpace::msix_masked() const {
  return Has(layout_.msix, PCI_MSIX_FLAGS, PCI_MSIX_FLAGS_MASKALL);
}

void PciConfigSpace::ShowIntx(IntxLine line) {
  const auto status = registers_.Get<uint16_t>(PCI_STATUS);
  const uint16_t bit = line == IntxLine::kUp ? PCI_STATUS_INTERRUPT : 0;
  registers_.Put(PCI_STATUS, static_cast<uint16_t>((status & ~PCI_STATUS_INTERRUPT) | bit));
}

void PciConfigSpace::ShowMsiPending(uint32_t vectors) {
  if (masks_msi_) registers_.Put(layout_.msi + PCI_MSI_PENDING_64, vectors);
}

std::vector<std::byte> PciConfigSpace::Save() const {
  PciConfigSpace quiet(*this);
  quiet.ShowIntx(IntxLine::kDown);
  quiet.ShowMsiPending(0);
  std::vector<std::byte> bytes(size());
  quiet.Read(0, bytes);
  return bytes;
}

absl::Status PciConfigSpace::Restore(std::span<const std::byte> saved) {
  PciConfigSpace restored(*this);
  if (!restored.registers_.Restore(saved) || !restored.HasItsPowerState()) {
    return absl::InvalidArgumentError("the config space that was saved is another device's");
  }
  registers_ = std::move(restored.registers_);
  return absl::OkStatus();
}

}  // namespace vfio_user
