// A device as software reaches it over PCI: config space, MSI-X table and BARs.
#ifndef SERVER_PCI_PCI_ENDPOINT_H_
#define SERVER_PCI_PCI_ENDPOINT_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto_defs/base/mutex.h"
#include "proto_defs/wire/device_info.h"
#include "server/device.h"
#include "server/dma/client_dma_space.h"
#include "server/interrupts/interrupt_table.h"
#include "server/pci/msix_table.h"
#include "server/pci/pci_config_space.h"

namespace vfio_user {

// Does what software sets there: switches the device's DMA, and masks its interrupts. BARs answer
// whatever the command register and the power state say, because clients of this protocol, other
// than virtual machines, need not switch them on. Thread-safe, as far as the device is.
class PciEndpoint {
 public:
  // All are borrowed. Bus mastering is off.
  PciEndpoint(Device& device, InterruptTable& interrupts, ClientDmaSpace& dma);

  // The range must be within the region. Errors are the device's.
  absl::Status Read(RegionIndex region, uint64_t offset, std::span<std::byte> into);
  // With kFunctionReset, a reset is the caller's to see to.
  absl::StatusOr<PciWriteEffect> Write(RegionIndex region, uint64_t offset,
                                       std::span<const std::byte> from);

  // See DeviceHost.
  IrqIndex enabled_interrupts() const;

  // Back to the state after power-on; not the device.
  void Reset();
  void ClientGone();

  // For migration: config space; MSI-X table and pending interrupts.
  std::vector<std::byte> SaveConfig() const;
  std::vector<std::byte> SaveInterrupts() const;
  // InvalidArgument for what cannot be this device's.
  absl::Status CheckSaved(std::span<const std::byte> config,
                          std::span<const std::byte> interrupts) const;
  // Of what CheckSaved has passed.
  void Restore(std::span<const std::byte> config, std::span<const std::byte> interrupts);

 private:
  void ReadConfig(uint64_t offset, std::span<std::byte> into);
  PciWriteEffect WriteConfig(uint64_t offset, std::span<const std::byte> from);
  void ReadPendingBits(IrqIndex index, uint64_t offset, std::span<std::byte> into) const;
  void ReadTable(uint64_t offset, std::span<std::byte> into);
  void WriteTable(uint64_t offset, std::span<const std::byte> from);

  // Switches and masks as config space says, and vectors as the table says.
  void ApplyConfig() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void ApplyTable(uint32_t first, uint32_t count) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  Device& device_;
  InterruptTable& interrupts_;
  ClientDmaSpace& dma_;
  const MsixPlacement msix_place_;
  const uint32_t msi_vectors_;

  mutable Mutex mu_;  // Before that of interrupts_.
  PciConfigSpace config_ ABSL_GUARDED_BY(mu_);
  MsixTable msix_ ABSL_GUARDED_BY(mu_);
};

}  // namespace vfio_user

#endif  // SERVER_PCI_PCI_ENDPOINT_H_
