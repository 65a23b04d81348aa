// The report for people.
#include <cstdint>
#include <iterator>
#include <string>
#include <string_view>

#include "fmt/format.h"
#include "proto_defs/wire/device_info.h"
#include "proto_defs/wire/format.h"
#include "proto_defs/wire/irq.h"
#include "proto_defs/wire/region_info.h"
#include "tools/vfio_user/byte_text.h"
#include "tools/vfio_user/device_report.h"
#include "tools/vfio_user/pci_config.h"

namespace vfio_user {
namespace {

std::string Row(std::string_view name, std::string_view value) {
  return fmt::format("  {:<17} {}\n", name, value);
}

std::string IdentityText(const PciConfig& pci) {
  std::string out = fmt::format("Device {:04x}:{:04x} (rev {:02x})\n", pci.vendor_id, pci.device_id,
                                pci.revision);
  out += Row("class", fmt::format("{:#08x} {}", pci.class_code, PciClassName(pci.class_code)));
  out += Row("subsystem", fmt::format("{:04x}:{:04x}", pci.subsystem_vendor_id, pci.subsystem_id));
  out += Row("command", PciCommandText(pci.command));
  if (pci.interrupt_pin >= 1 && pci.interrupt_pin <= 4) {
    out += Row("interrupt pin", std::string(1, static_cast<char>('A' + pci.interrupt_pin - 1)));
  }
  return out;
}

std::string ConnectionText(const DeviceReport& report) {
  std::string out = "Connection\n";
  out += Row("version", fmt::format("{}.{}", report.server.major, report.server.minor));
  out += Row("server says", fmt::format("{}", report.server.capabilities));
  out += Row("data per message", fmt::format("at most {}", ByteText(report.max_data_xfer_bytes)));
  out += Row("server commands", report.twin_socket ? "on a socket of their own" : "on the socket");
  return out;
}

std::string RegionText(const DeviceReport& report, const RegionInfo& region) {
  std::string words =
      fmt::format("{:<10} {:<12}", fmt::format("{:#x}", region.size), ToText(region.flags));
  if (region.index <= RegionIndex::kBar5 && !report.config.empty()) {
    words += " " + PciBarText(report.config, static_cast<uint32_t>(region.index));
  }
  words.erase(words.find_last_not_of(' ') + 1);
  std::string out = Row(fmt::format("{}", region.index), words);
  if (region.type) out += Row("", fmt::format("type {}", *region.type));
  if (!region.sparse_areas) return out;
  for (const SparseArea& area : *region.sparse_areas) {
    out += Row("", fmt::format("mappable {}", area));
  }
  return out;
}

std::string CapabilitiesText(const PciConfig& pci) {
  if (pci.capabilities.empty()) return "";
  std::string out = "Capabilities\n";
  for (const PciCapability& capability : pci.capabilities) {
    const std::string name = capability.name == "unknown"
                                 ? fmt::format("unknown ({:#x})", capability.id)
                                 : capability.name;
    const std::string_view colon = capability.detail.empty() ? "" : ": ";
    out += Row(fmt::format("[{:02x}]", capability.offset),
               fmt::format("{}{}{}", name, colon, capability.detail));
  }
  return out;
}

}  // namespace

std::string ReportText(const DeviceReport& report) {
  std::string out = report.pci ? IdentityText(*report.pci) : "Device (not PCI)\n";
  out += Row("flags", fmt::format("{}", report.device.flags));
  out += ConnectionText(report);
  out += "Regions\n";
  for (const RegionInfo& region : report.regions) out += RegionText(report, region);
  out += "Interrupts\n";
  for (const IrqInfo& irq : report.irqs) {
    out += Row(fmt::format("{}", irq.index),
               fmt::format("{} vector{}, {}", irq.count, irq.count == 1 ? "" : "s", irq.flags));
  }
  if (report.pci) out += CapabilitiesText(*report.pci);
  if (!report.problems.empty()) out += "Problems\n";
  for (const std::string& problem : report.problems) out += fmt::format("  {}\n", problem);
  return out;
}

}  // namespace vfio_user
