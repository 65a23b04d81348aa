// A PCI device's config space, decoded for people. Pure: the bytes are a server's word, of which
// nothing is believed that was not checked.
#ifndef TOOLS_VFIO_USER_PCI_CONFIG_H_
#define TOOLS_VFIO_USER_PCI_CONFIG_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace vfio_user {

struct PciCapability {
  uint16_t offset = 0;  // In config space, in bytes; 0x100 and above for extended ones.
  uint16_t id = 0;
  std::string name;    // "MSI-X"; "unknown" for an id that is not in the tables.
  std::string detail;  // What its registers say; empty where nothing is decoded.
};

struct PciConfig {
  uint16_t vendor_id = 0;
  uint16_t device_id = 0;
  uint16_t subsystem_vendor_id = 0;
  uint16_t subsystem_id = 0;
  uint32_t class_code = 0;  // 24 bits: base class, subclass, programming interface.
  uint8_t revision = 0;
  uint16_t command = 0;
  uint16_t status = 0;
  uint8_t interrupt_pin = 0;  // 0: none; 1 to 4: INTA to INTD.
  std::vector<PciCapability> capabilities;
  // What broke off the walk through the capabilities, one line each; empty when all was well.
  std::vector<std::string> problems;
};

// `bytes` is config space from its start; bytes that are not there read as 0. Every capability is
// visited once at most, whatever the pointers say.
PciConfig ParsePciConfig(std::span<const std::byte> bytes);

// "Mass storage controller" for the base class of a class code, "unknown class" where it is none.
std::string PciClassName(uint32_t class_code);

// "I/O- Mem+ BusMaster+", as lspci has it, for the command register.
std::string PciCommandText(uint16_t command);

// What the config register of a BAR (0 to 5) says of it: "32-bit memory", "64-bit memory,
// prefetchable", "I/O ports".
std::string PciBarText(std::span<const std::byte> bytes, size_t bar);

}  // namespace vfio_user

#endif  // TOOLS_VFIO_USER_PCI_CONFIG_H_
