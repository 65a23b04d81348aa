#include "tools/vfio_user/pci_text.h"

#include <linux/pci_regs.h>

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "fmt/format.h"
#include "nlohmann/json.hpp"
#include "proto_defs/wire/device_info.h"
#include "proto_defs/wire/format.h"

namespace vfio_user {
namespace {

using Name = std::pair<uint16_t, std::string_view>;

constexpr std::array kClasses = {
    Name{0x00, "Unclassified device"},
    Name{0x01, "Mass storage controller"},
    Name{0x02, "Network controller"},
    Name{0x03, "Display controller"},
    Name{0x04, "Multimedia controller"},
    Name{0x05, "Memory controller"},
    Name{0x06, "Bridge"},
    Name{0x07, "Communication controller"},
    Name{0x08, "Generic system peripheral"},
    Name{0x09, "Input device controller"},
    Name{0x0a, "Docking station"},
    Name{0x0b, "Processor"},
    Name{0x0c, "Serial bus controller"},
    Name{0x0d, "Wireless controller"},
    Name{0x0e, "Intelligent controller"},
    Name{0x0f, "Satellite communications controller"},
    Name{0x10, "Encryption controller"},
    Name{0x11, "Signal processing controller"},
    Name{0x12, "Processing accelerator"},
    Name{0x13, "Non-essential instrumentation"},
};

constexpr std::array kCapabilities = {
    Name{PCI_CAP_ID_PM, "Power Management"},
    Name{PCI_CAP_ID_AGP, "AGP"},
    Name{PCI_CAP_ID_VPD, "Vital Product Data"},
    Name{PCI_CAP_ID_SLOTID, "Slot ID"},
    Name{PCI_CAP_ID_MSI, "MSI"},
    Name{PCI_CAP_ID_PCIX, "PCI-X"},
    Name{PCI_CAP_ID_HT, "HyperTransport"},
    Name{PCI_CAP_ID_VNDR, "Vendor Specific"},
    Name{PCI_CAP_ID_SSVID, "Bridge Subsystem"},
    Name{PCI_CAP_ID_EXP, "Express"},
    Name{PCI_CAP_ID_MSIX, "MSI-X"},
    Name{PCI_CAP_ID_SATA, "SATA"},
    Name{PCI_CAP_ID_AF, "Advanced Features"},
    Name{PCI_CAP_ID_EA, "Enhanced Allocation"},
};

constexpr std::array kExtendedCapabilities = {
    Name{PCI_EXT_CAP_ID_ERR, "Advanced Error Reporting"},
    Name{PCI_EXT_CAP_ID_VC, "Virtual Channel"},
    Name{PCI_EXT_CAP_ID_DSN, "Device Serial Number"},
    Name{PCI_EXT_CAP_ID_VNDR, "Vendor Specific"},
    Name{PCI_EXT_CAP_ID_ACS, "Access Control Services"},
    Name{PCI_EXT_CAP_ID_ARI, "Alternative Routing-ID"},
    Name{PCI_EXT_CAP_ID_ATS, "Address Translation Services"},
    Name{PCI_EXT_CAP_ID_SRIOV, "Single Root I/O Virtualization"},
    Name{PCI_EXT_CAP_ID_PRI, "Page Request Interface"},
    Name{PCI_EXT_CAP_ID_LTR, "Latency Tolerance Reporting"},
    Name{PCI_EXT_CAP_ID_PASID, "Process Address Space ID"},
};

std::string_view NameOf(uint16_t id, std::span<const Name> names) {
  for (const auto& [number, name] : names) {
    if (number == id) return name;
  }
  return "unknown";
}

// Names of bits, in the order in which lspci has them.
struct Bit {
  uint32_t mask;
  std::string_view name;
};

constexpr std::array kCommandBits = {
    Bit{PCI_COMMAND_IO, "I/O"},
    Bit{PCI_COMMAND_MEMORY, "Mem"},
    Bit{PCI_COMMAND_MASTER, "BusMaster"},
    Bit{PCI_COMMAND_SPECIAL, "SpecCycle"},
    Bit{PCI_COMMAND_INVALIDATE, "MemWINV"},
    Bit{PCI_COMMAND_VGA_PALETTE, "VGASnoop"},
    Bit{PCI_COMMAND_PARITY, "ParErr"},
    Bit{PCI_COMMAND_WAIT, "Stepping"},
    Bit{PCI_COMMAND_SERR, "SERR"},
    Bit{PCI_COMMAND_FAST_BACK, "FastB2B"},
    Bit{PCI_COMMAND_INTX_DISABLE, "DisINTx"},
};

constexpr std::array kStatusBits = {
    Bit{PCI_STATUS_CAP_LIST, "Cap"},
    Bit{PCI_STATUS_66MHZ, "66MHz"},
    Bit{PCI_STATUS_UDF, "UDF"},
    Bit{PCI_STATUS_FAST_BACK, "FastB2B"},
    Bit{PCI_STATUS_PARITY, "ParErr"},
    Bit{PCI_STATUS_SIG_TARGET_ABORT, ">TAbort"},
    Bit{PCI_STATUS_REC_TARGET_ABORT, "<TAbort"},
    Bit{PCI_STATUS_REC_MASTER_ABORT, "<MAbort"},
    Bit{PCI_STATUS_SIG_SYSTEM_ERROR, ">SERR"},
    Bit{PCI_STATUS_DETECTED_PARITY, "<PERR"},
    Bit{PCI_STATUS_INTERRUPT, "INTx"},
};

char Sign(bool set) { return set ? '+' : '-'; }

std::string BitsText(uint32_t value, std::span<const Bit> bits) {
  std::string out;
  for (const Bit& bit : bits) {
    out += fmt::format("{}{}{}", out.empty() ? "" : " ", bit.name, Sign((value & bit.mask) != 0));
  }
  return out;
}

// "4K": sizes are powers of two, or at least that is what people expect of them.
std::string SizeText(uint64_t bytes) {
  constexpr std::string_view kUnits = "KMGTPE";
  size_t unit = 0;
  for (; unit < kUnits.size() && bytes >= 1024 && bytes % 1024 == 0; ++unit) bytes /= 1024;
  return unit == 0 ? fmt::format("{}", bytes) : fmt::format("{}{}", bytes, kUnits[unit - 1]);
}

std::string_view ExpressTypeName(uint8_t type) {
  switch (type) {
    case PCI_EXP_TYPE_ENDPOINT:
      return "Endpoint";
    case PCI_EXP_TYPE_LEG_END:
      return "Legacy Endpoint";
    case PCI_EXP_TYPE_ROOT_PORT:
      return "Root Port";
    case PCI_EXP_TYPE_UPSTREAM:
      return "Upstream Port";
    case PCI_EXP_TYPE_DOWNSTREAM:
      return "Downstream Port";
    case PCI_EXP_TYPE_PCI_BRIDGE:
      return "PCI-Express to PCI/PCI-X Bridge";
    case PCI_EXP_TYPE_PCIE_BRIDGE:
      return "PCI/PCI-X to PCI-Express Bridge";
    case PCI_EXP_TYPE_RC_END:
      return "Root Complex Integrated Endpoint";
    case PCI_EXP_TYPE_RC_EC:
      return "Root Complex Event Collector";
    default:
      return "unknown type";
  }
}

// What stands behind the name, and under it. One function for each kind of registers.
using Lines = std::vector<std::string>;

struct ToLines {
  Lines operator()(std::monostate) const { return {""}; }
  Lines operator()(const MsixCapability& msix) const {
    return {fmt::format(": Enable{} Count={} Masked{}", Sign(msix.enabled), msix.vectors,
                        Sign(msix.function_masked)),
            fmt::format("Vector table: BAR={} offset={:08x}", static_cast<uint32_t>(msix.table_bar),
                        msix.table_offset),
            fmt::format("PBA: BAR={} offset={:08x}", static_cast<uint32_t>(msix.pba_bar),
                        msix.pba_offset)};
  }
  Lines operator()(const MsiCapability& msi) const {
    return {
        fmt::format(": Enable{} Count={}/{} Maskable{} 64bit{}", Sign(msi.enabled),
                    msi.enabled_vectors, msi.vectors, Sign(msi.maskable), Sign(msi.wide_address)),
        fmt::format("Address: {:0{}x}  Data: {:04x}", msi.address, msi.wide_address ? 16 : 8,
                    msi.data)};
  }
  Lines operator()(const PowerCapability& power) const {
    return {fmt::format(" version {}", power.version),
            fmt::format("Flags: D1{} D2{}", Sign(power.d1), Sign(power.d2)),
            fmt::format("Status: D{} NoSoftRst{}", power.state, Sign(power.no_soft_reset))};
  }
  Lines operator()(const PciExpressCapability& express) const {
    return {fmt::format(" (v{}) {}", express.version, ExpressTypeName(express.type)),
            fmt::format("DevCap: MaxPayload {} bytes FLReset{}", express.max_payload_bytes,
                        Sign(express.function_level_reset))};
  }
  Lines operator()(const VendorCapability& vendor) const {
    return {fmt::format(" Information: Len={:02x}", vendor.bytes)};
  }
  Lines operator()(const ExtendedVendorCapability& vendor) const {
    return {fmt::format(" Information: ID={:04x} Rev={} Len={:03x}", vendor.id, vendor.revision,
                        vendor.bytes)};
  }
};

using Json = nlohmann::ordered_json;

struct ToJson {
  Json operator()(std::monostate) const { return Json::object(); }
  Json operator()(const MsixCapability& msix) const {
    return {{"enabled", msix.enabled},
            {"function_masked", msix.function_masked},
            {"vectors", msix.vectors},
            {"table", {{"region", ToText(msix.table_bar)}, {"offset", msix.table_offset}}},
            {"pending_bits", {{"region", ToText(msix.pba_bar)}, {"offset", msix.pba_offset}}}};
  }
  Json operator()(const MsiCapability& msi) const {
    return {{"enabled", msi.enabled},
            {"vectors", msi.vectors},
            {"enabled_vectors", msi.enabled_vectors},
            {"64bit", msi.wide_address},
            {"maskable", msi.maskable},
            {"address", msi.address},
            {"data", msi.data}};
  }
  Json operator()(const PowerCapability& power) const {
    return {{"version", power.version},
            {"d1", power.d1},
            {"d2", power.d2},
            {"state", power.state},
            {"no_soft_reset", power.no_soft_reset}};
  }
  Json operator()(const PciExpressCapability& express) const {
    return {{"version", express.version},
            {"type", ExpressTypeName(express.type)},
            {"max_payload_bytes", express.max_payload_bytes},
            {"function_level_reset", express.function_level_reset}};
  }
  Json operator()(const VendorCapability& vendor) const { return {{"bytes", vendor.bytes}}; }
  Json operator()(const ExtendedVendorCapability& vendor) const {
    return {{"vendor_specific_id", vendor.id},
            {"vendor_specific_revision", vendor.revision},
            {"bytes", vendor.bytes}};
  }
};

}  // namespace

std::string_view PciClassName(uint32_t class_code) {
  const std::string_view name = NameOf(static_cast<uint16_t>(class_code >> 16), kClasses);
  return name == "unknown" ? "unknown class" : name;
}

std::string PciCommandText(uint16_t command) { return BitsText(command, kCommandBits); }

std::string PciStatusText(uint16_t status) { return BitsText(status, kStatusBits); }

std::string PciBarText(const PciBar& bar) {
  const std::string size = fmt::format(" [size={}]", SizeText(bar.size));
  if (bar.kind == PciBarKind::kIoPorts)
    return fmt::format("I/O ports at {:04x}", bar.address) + size;
  const bool wide = bar.kind == PciBarKind::kMemory64;
  return fmt::format("Memory at {:0{}x} ({}-bit, {})", bar.address, wide ? 16 : 8, wide ? 64 : 32,
                     bar.prefetchable ? "prefetchable" : "non-prefetchable") +
         size;
}

std::string_view PciCapabilityName(const PciCapability& capability) {
  if (capability.extended) return NameOf(capability.id, kExtendedCapabilities);
  return NameOf(capability.id, kCapabilities);
}

std::vector<std::string> PciCapabilityText(const PciCapability& capability) {
  std::vector<std::string> lines = std::visit(ToLines(), capability.registers);
  const std::string_view name = PciCapabilityName(capability);
  const std::string known =
      name == "unknown" ? fmt::format("unknown ({:#x})", capability.id) : std::string(name);
  const std::string place = capability.extended
                                ? fmt::format("[{:03x} v{}]", capability.offset, capability.version)
                                : fmt::format("[{:02x}]", capability.offset);
  lines.front() = fmt::format("{} {}{}", place, known, lines.front());
  return lines;
}

nlohmann::ordered_json PciCapabilityJson(const PciCapability& capability) {
  Json out = {{"offset", capability.offset},
              {"id", capability.id},
              {"extended", capability.extended},
              {"name", PciCapabilityName(capability)}};
  if (capability.extended) out["version"] = capability.version;
  out.update(std::visit(ToJson(), capability.registers));
  return out;
}

}  // namespace vfio_user
