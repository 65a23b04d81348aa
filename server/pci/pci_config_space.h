// The configuration space of a PCI device, run from its description.
#ifndef SERVER_PCI_PCI_CONFIG_SPACE_H_
#define SERVER_PCI_PCI_CONFIG_SPACE_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "server/device.h"
#include "server/interrupts/interrupt_types.h"
#include "server/pci/pci_layout.h"
#include "server/pci/pci_registers.h"

namespace vfio_user {

enum class PciWriteEffect {
  kNone,
  kFunctionReset,  // Software asks for a function level reset.
};

// Says what software has set; what follows from it is the caller's to do. Pure. Thread-compatible.
class PciConfigSpace {
 public:
  // The description must have passed CheckDescription.
  explicit PciConfigSpace(const DeviceDescription& description);

  size_t size() const { return registers_.size(); }

  // The range must be within size(); any length and alignment.
  void Read(size_t offset, std::span<std::byte> into) const { registers_.Read(offset, into); }
  PciWriteEffect Write(size_t offset, std::span<const std::byte> from);

  // Back to the state after power-on.
  void Reset() { registers_.Reset(); }

  // Whether the device may read and write memory: bus mastering is on, and the device in D0.
  bool may_master() const;
  bool intx_disabled() const;
  bool msi_enabled() const;
  uint32_t msi_mask() const;  // A bit for each vector.
  bool msix_enabled() const;
  bool msix_masked() const;  // The function mask, for all vectors.

  // What the hardware shows: the line in the status register, pending vectors of MSI, a bit each,
  // where there is a register for them.
  void ShowIntx(IntxLine line);
  void ShowMsiPending(uint32_t vectors);

  // All bytes, but for what the hardware shows.
  std::vector<std::byte> Save() const;
  // InvalidArgument for bytes that Save cannot have made of a device with this description. On
  // error, no change.
  absl::Status Restore(std::span<const std::byte> saved);

 private:
  bool Has(size_t capability, size_t offset, uint16_t bits) const {
    return capability != 0 && (registers_.Get<uint16_t>(capability + offset) & bits) != 0;
  }
  // Whether it is in D0 or D3, and in none that it does not have.
  bool HasItsPowerState() const;
  // Writes of D1 and D2 have no effect on a device that does not have them.
  void KeepPowerState(uint16_t before);
  bool AsksForReset(size_t offset, std::span<const std::byte> written) const;

  PciLayout layout_;
  PciRegisters registers_;
  bool can_reset_ = false;
  bool masks_msi_ = false;
};

}  // namespace vfio_user

#endif  // SERVER_PCI_PCI_CONFIG_SPACE_H_
