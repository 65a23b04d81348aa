// The capabilities of a config space.
#ifndef SERVER_PCI_PCI_CAPABILITIES_H_
#define SERVER_PCI_PCI_CAPABILITIES_H_

#include "server/device.h"
#include "server/pci/pci_layout.h"
#include "server/pci/pci_registers.h"

namespace vfio_user {

// Both lists, where `layout` has them. The description must have passed CheckDescription.
void DefineCapabilities(const DeviceDescription& description, const PciLayout& layout,
                        PciRegisters& registers);

}  // namespace vfio_user

#endif  // SERVER_PCI_PCI_CAPABILITIES_H_
