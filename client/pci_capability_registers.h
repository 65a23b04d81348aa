// What the registers of PCI capabilities say. Pure.
#ifndef CLIENT_PCI_CAPABILITY_REGISTERS_H_
#define CLIENT_PCI_CAPABILITY_REGISTERS_H_

#include <cstddef>

#include "client/pci_bytes.h"
#include "client/pci_config.h"

namespace vfio_user {

// Bytes that the capability takes of `space`, from its offset on, with all the registers that are
// decoded; only the header for one that is not known here.
size_t CapabilityLength(PciBytes space, const PciCapability& capability);

// Its registers, of which CapabilityLength() bytes are in `space`.
PciCapabilityRegisters DecodeCapability(PciBytes space, const PciCapability& capability);

}  // namespace vfio_user

#endif  // CLIENT_PCI_CAPABILITY_REGISTERS_H_
