// What a driver asks of the PCI side of a device: who it is, and what it may do on the bus.
#ifndef CLIENT_PCI_FUNCTION_H_
#define CLIENT_PCI_FUNCTION_H_

#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/pci_config.h"
#include "client/region.h"
#include "proto_defs/wire/flag_set.h"

namespace vfio_user {

class Session;

// Bits of the command register, as <linux/pci_regs.h> has them.
enum class PciCommandFlag : uint16_t {
  kIoSpace = 0x1,        // The device answers at its I/O BARs.
  kMemorySpace = 0x2,    // The device answers at its memory BARs.
  kBusMaster = 0x4,      // The device may read and write memory.
  kIntxDisable = 0x400,  // The device does not raise INTx.
};
using PciCommandFlags = FlagSet<PciCommandFlag>;

// The config space of a device. Copyable, and keeps the connection alive, like the Region that it
// is. Thread-safe, but that changes of the command register by several threads may undo each other.
// Nothing is kept: each call reads the device. Errors are those of Region.
class PciFunction {
 public:
  absl::StatusOr<PciDeviceIdentity> ReadIdentity() const;

  // Bus mastering: without it the device reads and writes no memory. It is off when the device
  // starts and after each reset, so that this is the last step before the device gets to work. That
  // memory which is lent to the device stays lent meanwhile.
  absl::Status EnableBusMaster() const { return SetCommand(PciCommandFlag::kBusMaster); }
  absl::Status DisableBusMaster() const { return ClearCommand(PciCommandFlag::kBusMaster); }

  absl::StatusOr<PciCommandFlags> ReadCommand() const;
  // Set, and clear, bits of the command register, and leave the others as they are.
  absl::Status SetCommand(PciCommandFlags flags) const;
  absl::Status ClearCommand(PciCommandFlags flags) const;

  // All of it, decoded: the BARs with their sizes, the capabilities. One round trip for each BAR.
  absl::StatusOr<PciConfig> ReadConfig() const;

  // Function level reset: registers, bus mastering and the interrupts' configuration are as after
  // power-on, mappings of memory stay. Unimplemented for a device whose PCI Express capability does
  // not offer it; Client::Reset() may do then. The server answers when it is done; one that takes
  // its time is a real device's driver's case, which is to wait 100 ms before the next access.
  absl::Status ResetFunction() const;

  // The bytes themselves: little endian on every machine.
  const Region& config() const { return config_; }

 private:
  friend class Client;
  PciFunction(std::shared_ptr<Session> session, Region config);

  // ReadConfig without the sizes of the BARs.
  absl::StatusOr<PciConfig> ReadRegisters() const;

  std::shared_ptr<Session> session_;
  Region config_;
};

}  // namespace vfio_user

#endif  // CLIENT_PCI_FUNCTION_H_
