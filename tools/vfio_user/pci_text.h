// A PCI device's config space in words, those that lspci -vv has for it.
#ifndef TOOLS_VFIO_USER_PCI_TEXT_H_
#define TOOLS_VFIO_USER_PCI_TEXT_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "client/pci_config.h"
#include "nlohmann/json.hpp"

namespace vfio_user {

// "Mass storage controller" for the base class of a class code, "unknown class" where it is none.
std::string_view PciClassName(uint32_t class_code);

// "I/O- Mem+ BusMaster+ ..." for the command register, "Cap+ 66MHz- ..." for the status register.
std::string PciCommandText(uint16_t command);
std::string PciStatusText(uint16_t status);

// "Memory at fe000000 (32-bit, non-prefetchable) [size=4K]", "I/O ports at e080 [size=32]".
std::string PciBarText(const PciBar& bar);

// "MSI-X"; "unknown" for an id that is not in the tables.
std::string_view PciCapabilityName(const PciCapability& capability);

// What follows "Capabilities: ": "[40] MSI-X: Enable- Count=1 Masked-", and then the lines that
// belong under it.
std::vector<std::string> PciCapabilityText(const PciCapability& capability);

// The same for programs: the capability with what its registers say.
nlohmann::ordered_json PciCapabilityJson(const PciCapability& capability);

}  // namespace vfio_user

#endif  // TOOLS_VFIO_USER_PCI_TEXT_H_
