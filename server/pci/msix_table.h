// The MSI-X table of a device, as software sees it in a BAR.
#ifndef SERVER_PCI_MSIX_TABLE_H_
#define SERVER_PCI_MSIX_TABLE_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "server/device.h"
#include "server/interrupts/interrupt_types.h"
#include "server/pci/pci_registers.h"

namespace vfio_user {

// Of an access to a BAR, the bytes up to the next border between what is whose.
struct MsixPiece {
  enum class Of { kDevice, kTable, kPendingBits };

  Of of = Of::kDevice;
  uint64_t offset = 0;  // Within the table or the pending bits, or, the device's, within the BAR.
  size_t bytes = 0;
};

// Where table and pending bits are. Without MSI-X, nowhere. Pure, and does not change.
class MsixPlacement {
 public:
  // The description must have passed CheckDescription.
  explicit MsixPlacement(const DeviceDescription& description);

  // The first piece of an access to `bytes` bytes, not 0, of a BAR.
  MsixPiece FirstPiece(RegionIndex bar, uint64_t offset, size_t bytes) const;

 private:
  RegionIndex bar_ = RegionIndex::kConfig;
  uint64_t table_ = 0;
  uint64_t table_end_ = 0;
  uint64_t pending_ = 0;
  uint64_t pending_end_ = 0;
};

// Keeps what software writes. The mask bits are special: software that follows the PCI
// specification writes them and relies on them, while a client that binds eventfds with SET_IRQS
// need not know of the table, where all vectors are masked after power-on. So a mask bit holds for
// interrupts only from the first write to its vector on.
//
// Accesses of any length and alignment, although the specification has only those of 4 and 8
// aligned bytes. Pure. Thread-compatible.
class MsixTable {
 public:
  // Empty without MSI-X. The description must have passed CheckDescription.
  explicit MsixTable(const DeviceDescription& description);

  uint32_t vectors() const { return static_cast<uint32_t>(used_.size()); }

  // The range must be within it.
  void Read(size_t offset, std::span<std::byte> into) const { entries_.Read(offset, into); }
  void Write(size_t offset, std::span<const std::byte> from);

  // Whether the table holds back interrupts of a vector.
  Masking mask(uint32_t vector) const;

  // Back to the state after power-on.
  void Reset();
  // The client is gone. The table stays as it is, but its mask bits hold nothing back before they
  // are written again. Of the other masks of the device, which all stay, this says nothing.
  void ForgetUse();

  // All that it keeps, and back: see PciConfigSpace.
  size_t saved_bytes() const { return entries_.size() + used_.size(); }
  std::vector<std::byte> Save() const;
  absl::Status Restore(std::span<const std::byte> saved);

 private:
  PciRegisters entries_;
  std::vector<bool> used_;  // By vector: whether software has written its mask.
};

}  // namespace vfio_user

#endif  // SERVER_PCI_MSIX_TABLE_H_
