// What a driver asks of the PCI side of a device: who it is, and what it may do on the bus.
#ifndef CLIENT_PCI_FUNCTION_H_
#define CLIENT_PCI_FUNCTION_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/region.h"
#include "proto_defs/wire/flag_set.h"

namespace vfio_user {

// Bits of the command register, as <linux/pci_regs.h> has them.
enum class PciCommandFlag : uint16_t {
  kIoSpace = 0x1,        // The device answers at its I/O BARs.
  kMemorySpace = 0x2,    // The device answers at its memory BARs.
  kBusMaster = 0x4,      // The device may read and write memory.
  kIntxDisable = 0x400,  // The device does not raise INTx.
};
using PciCommandFlags = FlagSet<PciCommandFlag>;

struct PciDeviceIdentity {
  uint16_t vendor_id = 0;
  uint16_t device_id = 0;
  uint16_t subsystem_vendor_id = 0;
  uint16_t subsystem_id = 0;
  uint32_t class_code = 0;  // 24 bits: base class, subclass, programming interface.
  uint8_t revision = 0;

  friend bool operator==(const PciDeviceIdentity&, const PciDeviceIdentity&) = default;
};

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

  // The bytes themselves: little endian on every machine.
  const Region& config() const { return config_; }

 private:
  friend class Client;
  explicit PciFunction(Region config);

  Region config_;
};

}  // namespace vfio_user

#endif  // CLIENT_PCI_FUNCTION_H_
