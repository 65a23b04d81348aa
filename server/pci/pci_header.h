// The header of a config space: identity, command and status, BARs.
#ifndef SERVER_PCI_PCI_HEADER_H_
#define SERVER_PCI_PCI_HEADER_H_

#include "server/device.h"
#include "server/pci/pci_registers.h"

namespace vfio_user {

// Type 0. The description must have passed CheckDescription.
void DefineHeader(const DeviceDescription& description, PciRegisters& registers);

}  // namespace vfio_user

#endif  // SERVER_PCI_PCI_HEADER_H_
