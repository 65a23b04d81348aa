// The report for programs.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "fmt/format.h"
#include "nlohmann/json.hpp"
#include "proto_defs/wire/format.h"
#include "proto_defs/wire/irq.h"
#include "proto_defs/wire/region_info.h"
#include "proto_defs/wire/version.h"
#include "tools/vfio_user/device_report.h"
#include "tools/vfio_user/pci_text.h"

namespace vfio_user {
namespace {

using Json = nlohmann::ordered_json;

Json CapabilitiesJson(const Capabilities& capabilities) {
  return {{"max_msg_fds", capabilities.MaxMsgFds()},
          {"max_data_xfer_size", capabilities.MaxDataXferBytes()},
          {"max_dma_maps", capabilities.MaxDmaMaps()},
          {"pgsizes", capabilities.PageSizes()},
          {"write_multiple", capabilities.WriteMultiple()},
          {"twin_socket", capabilities.TwinSocketSupported()}};
}

std::string_view BarKindName(PciBarKind kind) {
  switch (kind) {
    case PciBarKind::kMemory32:
      return "memory32";
    case PciBarKind::kMemory64:
      return "memory64";
    case PciBarKind::kIoPorts:
      return "io";
  }
  return "unknown";
}

Json PciJson(const PciConfig& pci) {
  Json bars = Json::array();
  for (const PciBar& bar : pci.bars) {
    if (bar.size == 0) continue;
    bars.push_back({{"region", ToText(bar.index)},
                    {"kind", BarKindName(bar.kind)},
                    {"prefetchable", bar.prefetchable},
                    {"address", bar.address},
                    {"size", bar.size}});
  }
  Json capabilities = Json::array();
  for (const PciCapability& capability : pci.capabilities) {
    capabilities.push_back(PciCapabilityJson(capability));
  }
  const PciDeviceIdentity& id = pci.identity;
  return {{"vendor_id", id.vendor_id},
          {"device_id", id.device_id},
          {"revision", id.revision},
          {"class_code", id.class_code},
          {"class", PciClassName(id.class_code)},
          {"subsystem_vendor_id", id.subsystem_vendor_id},
          {"subsystem_id", id.subsystem_id},
          {"command", pci.command},
          {"status", pci.status},
          {"interrupt_pin", pci.interrupt_pin},
          {"bars", bars},
          {"capabilities", capabilities}};
}

Json RegionJson(const ReportedRegion& region) {
  const RegionInfo& info = region.info;
  Json out = {{"index", static_cast<uint32_t>(info.index)},
              {"name", ToText(info.index)},
              {"size", info.size},
              {"flags", ToText(info.flags)}};
  if (info.sparse_areas) {
    out["mappable"] = Json::array();
    for (const SparseArea& area : *info.sparse_areas) {
      out["mappable"].push_back({{"offset", area.offset}, {"size", area.size}});
    }
  }
  if (region.doorbells.empty()) return out;
  out["doorbells"] = Json::array();
  for (const ReportedDoorbell& doorbell : region.doorbells) {
    Json entry = {{"offset", doorbell.offset}, {"size", doorbell.size}};
    if (doorbell.value) entry["value"] = *doorbell.value;
    out["doorbells"].push_back(entry);
  }
  return out;
}

Json IrqJson(const IrqInfo& irq) {
  return {{"index", static_cast<uint32_t>(irq.index)},
          {"name", ToText(irq.index)},
          {"count", irq.count},
          {"flags", ToText(irq.flags)}};
}

}  // namespace

nlohmann::ordered_json ReportJson(const DeviceReport& report) {
  Json out = {{"version", fmt::format("{}.{}", report.server.major, report.server.minor)},
              {"server_capabilities", CapabilitiesJson(report.server.capabilities)},
              {"max_data_xfer_bytes", report.max_data_xfer_bytes},
              {"twin_socket", report.twin_socket},
              {"flags", ToText(report.device.flags)},
              {"pci", nullptr},
              {"regions", Json::array()},
              {"interrupts", Json::array()},
              {"problems", report.problems}};
  if (report.pci) out["pci"] = PciJson(*report.pci);
  for (const ReportedRegion& region : report.regions) out["regions"].push_back(RegionJson(region));
  for (const IrqInfo& irq : report.irqs) out["interrupts"].push_back(IrqJson(irq));
  return out;
}

}  // namespace vfio_user
