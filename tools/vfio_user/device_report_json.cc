// The report for programs.
#include <cstdint>
#include <optional>
#include <string>

#include "fmt/format.h"
#include "nlohmann/json.hpp"
#include "proto_defs/wire/format.h"
#include "proto_defs/wire/irq.h"
#include "proto_defs/wire/region_info.h"
#include "proto_defs/wire/version.h"
#include "tools/vfio_user/device_report.h"
#include "tools/vfio_user/pci_config.h"

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

Json PciJson(const PciConfig& pci) {
  Json capabilities = Json::array();
  for (const PciCapability& capability : pci.capabilities) {
    capabilities.push_back({{"offset", capability.offset},
                            {"id", capability.id},
                            {"name", capability.name},
                            {"detail", capability.detail}});
  }
  return {{"vendor_id", pci.vendor_id},
          {"device_id", pci.device_id},
          {"revision", pci.revision},
          {"class_code", pci.class_code},
          {"class", PciClassName(pci.class_code)},
          {"subsystem_vendor_id", pci.subsystem_vendor_id},
          {"subsystem_id", pci.subsystem_id},
          {"command", pci.command},
          {"status", pci.status},
          {"interrupt_pin", pci.interrupt_pin},
          {"capabilities", capabilities}};
}

Json RegionJson(const RegionInfo& region) {
  Json out = {{"index", static_cast<uint32_t>(region.index)},
              {"name", ToText(region.index)},
              {"size", region.size},
              {"flags", ToText(region.flags)}};
  if (!region.sparse_areas) return out;
  out["mappable"] = Json::array();
  for (const SparseArea& area : *region.sparse_areas) {
    out["mappable"].push_back({{"offset", area.offset}, {"size", area.size}});
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
  for (const RegionInfo& region : report.regions) out["regions"].push_back(RegionJson(region));
  for (const IrqInfo& irq : report.irqs) out["interrupts"].push_back(IrqJson(irq));
  return out;
}

}  // namespace vfio_user
