// The report for people, in the order and the words of lspci -vv.
#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "fmt/format.h"
#include "proto_defs/wire/device_info.h"
#include "proto_defs/wire/format.h"
#include "proto_defs/wire/irq.h"
#include "proto_defs/wire/region_info.h"
#include "tools/vfio_user/byte_text.h"
#include "tools/vfio_user/device_report.h"
#include "tools/vfio_user/pci_text.h"

namespace vfio_user {
namespace {

std::string Line(int depth, std::string_view text) {
  return fmt::format("{:\t<{}}{}\n", "", depth, text);
}

std::string IdentityText(const PciConfig& pci) {
  const PciDeviceIdentity& id = pci.identity;
  std::string out =
      fmt::format("Device {:04x}:{:04x} (rev {:02x}): {} [{:06x}]\n", id.vendor_id, id.device_id,
                  id.revision, PciClassName(id.class_code), id.class_code);
  out += Line(1, fmt::format("Subsystem: {:04x}:{:04x}", id.subsystem_vendor_id, id.subsystem_id));
  out += Line(1, "Control: " + PciCommandText(pci.command));
  out += Line(1, "Status: " + PciStatusText(pci.status));
  if (pci.interrupt_pin >= 1 && pci.interrupt_pin <= 4) {
    out +=
        Line(1, fmt::format("Interrupt: pin {}", static_cast<char>('A' + pci.interrupt_pin - 1)));
  }
  return out;
}

// What the region is called where config space is; nullptr for what is no BAR.
const PciBar* BarOf(const DeviceReport& report, RegionIndex index) {
  if (!report.pci) return nullptr;
  const auto found = std::ranges::find(report.pci->bars, index, &PciBar::index);
  return found == report.pci->bars.end() ? nullptr : &*found;
}

std::string RegionText(const DeviceReport& report, const ReportedRegion& region) {
  const RegionInfo& info = region.info;
  const PciBar* const bar = BarOf(report, info.index);
  std::string out =
      bar != nullptr
          ? fmt::format("Region {}: {}", static_cast<uint32_t>(info.index), PciBarText(*bar))
          : fmt::format("Region {}: {} of {:#x} bytes", static_cast<uint32_t>(info.index),
                        ToText(info.index), info.size);
  out = Line(1, out + " " + ToText(info.flags));
  if (info.type) out += Line(2, fmt::format("Type: {}", *info.type));
  if (info.sparse_areas) {
    for (const SparseArea& area : *info.sparse_areas) {
      out += Line(2, fmt::format("Mappable: {}", area));
    }
  } else if (info.flags.Has(RegionFlag::kMmap)) {
    out += Line(2, "Mappable: all of it");
  }
  for (const ReportedDoorbell& doorbell : region.doorbells) {
    out += Line(2, fmt::format("Doorbell: {:#x}, {} bytes{}", doorbell.offset, doorbell.size,
                               doorbell.value ? fmt::format(", value {:#x}", *doorbell.value)
                                              : std::string()));
  }
  return out;
}

std::string IrqText(const IrqInfo& irq) {
  return Line(1, fmt::format("{}: {} vector{}, {}", irq.index, irq.count, irq.count == 1 ? "" : "s",
                             irq.flags));
}

std::string CapabilitiesText(const PciConfig& pci) {
  std::string out;
  for (const PciCapability& capability : pci.capabilities) {
    const std::vector<std::string> lines = PciCapabilityText(capability);
    for (size_t i = 0; i < lines.size(); ++i) {
      out += i == 0 ? Line(1, "Capabilities: " + lines[i]) : Line(2, lines[i]);
    }
  }
  return out;
}

std::string ConnectionText(const DeviceReport& report) {
  std::string out = "Connection\n";
  out += Line(1, fmt::format("Version: {}.{}", report.server.major, report.server.minor));
  out += Line(1, fmt::format("Server says: {}", report.server.capabilities));
  out += Line(1, fmt::format("Data per message: at most {}", ByteText(report.max_data_xfer_bytes)));
  out += Line(1, fmt::format("Server commands: {}",
                             report.twin_socket ? "on a socket of their own" : "on the socket"));
  out += Line(1, fmt::format("Device flags: {}", report.device.flags));
  return out;
}

}  // namespace

std::string ReportText(const DeviceReport& report) {
  std::string out = report.pci ? IdentityText(*report.pci) : "Device (not PCI)\n";
  for (const ReportedRegion& region : report.regions) out += RegionText(report, region);
  if (report.pci) out += CapabilitiesText(*report.pci);
  out += report.irqs.empty() ? "Interrupts: none\n" : "Interrupts\n";
  for (const IrqInfo& irq : report.irqs) out += IrqText(irq);
  out += ConnectionText(report);
  if (!report.problems.empty()) out += "Problems\n";
  for (const std::string& problem : report.problems) out += Line(1, problem);
  return out;
}

}  // namespace vfio_user
