#include "tools/vfio_user/device_report.h"

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/client.h"
#include "client/doorbell.h"
#include "client/pci_config.h"
#include "client/pci_function.h"
#include "client/region.h"
#include "fmt/format.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/wire/device_info.h"
#include "proto_defs/wire/irq.h"
#include "proto_defs/wire/limits.h"
#include "proto_defs/wire/region_info.h"

namespace vfio_user {
namespace {

// Notes what the device refused, and goes on; stops at what ends the connection, and at a server
// that does not answer: there are a hundred and fifty questions, each with its time to wait.
absl::Status Note(const Client& client, const absl::Status& status, DeviceReport& report) {
  if (status.ok() || absl::IsDeadlineExceeded(status)) return status;
  VFIO_USER_RETURN_IF_ERROR(client.status());
  report.problems.emplace_back(status.message());
  return absl::OkStatus();
}

absl::Status GatherRegions(const Client& client, DeviceReport& report) {
  const uint32_t count = std::min(report.device.num_regions, kMaxRegions);
  for (uint32_t i = 0; i < count; ++i) {
    const absl::StatusOr<Region> region = client.OpenRegion(RegionIndex{i});
    if (absl::IsNotFound(region.status())) continue;
    VFIO_USER_RETURN_IF_ERROR(Note(client, region.status(), report));
    if (!region.ok()) continue;
    report.regions.push_back({region->info(), {}});
    // What is said to be mappable, and cannot be mapped.
    if (region->info().flags.Has(RegionFlag::kMmap) && !region->mapping_status().ok()) {
      report.problems.emplace_back(region->mapping_status().message());
    }
  }
  return absl::OkStatus();
}

// To be done last, and not again once it was refused: there are servers (rust-vmm's) that do not
// know the request, and take what follows its header for the next one.
absl::Status GatherDoorbells(const Client& client, DeviceReport& report) {
  for (ReportedRegion& reported : report.regions) {
    if (reported.info.index > RegionIndex::kBar5) continue;
    VFIO_USER_ASSIGN_OR_RETURN(
        const Region region,
        client.OpenRegion(reported.info.index, {.path = RegionPath::kMessage}));
    const absl::StatusOr<std::vector<Doorbell>> doorbells = region.OpenDoorbells();
    if (absl::IsNotFound(doorbells.status())) continue;
    if (!doorbells.ok()) return client.status();
    for (const Doorbell& doorbell : *doorbells) {
      reported.doorbells.push_back({doorbell.offset(), doorbell.size(), doorbell.value()});
    }
  }
  return absl::OkStatus();
}

absl::Status GatherIrqs(const Client& client, DeviceReport& report) {
  const uint32_t count = std::min(report.device.num_irqs, kMaxIrqTypes);
  for (uint32_t i = 0; i < count; ++i) {
    const absl::StatusOr<IrqInfo> info = client.GetIrqInfo(IrqIndex{i});
    VFIO_USER_RETURN_IF_ERROR(Note(client, info.status(), report));
    if (info.ok() && info->count > 0) report.irqs.push_back(*info);
  }
  return absl::OkStatus();
}

absl::Status GatherConfig(const Client& client, DeviceReport& report) {
  if (!report.device.flags.Has(DeviceInfoFlag::kPci)) return absl::OkStatus();
  const absl::StatusOr<PciFunction> pci = client.OpenPci();
  VFIO_USER_RETURN_IF_ERROR(Note(client, pci.status(), report));
  if (!pci.ok()) return absl::OkStatus();
  absl::StatusOr<PciConfig> config = pci->ReadConfig();
  VFIO_USER_RETURN_IF_ERROR(Note(client, config.status(), report));
  if (!config.ok()) return absl::OkStatus();
  report.pci = *std::move(config);
  report.problems.insert(report.problems.end(), report.pci->problems.begin(),
                         report.pci->problems.end());
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<DeviceReport> GatherDeviceReport(const Client& client) {
  DeviceReport report;
  report.server = client.server_version();
  report.max_data_xfer_bytes = client.max_data_xfer_bytes();
  report.twin_socket = client.has_twin_socket();
  VFIO_USER_ASSIGN_OR_RETURN(report.device, client.GetDeviceInfo());
  VFIO_USER_RETURN_IF_ERROR(GatherRegions(client, report));
  VFIO_USER_RETURN_IF_ERROR(GatherIrqs(client, report));
  VFIO_USER_RETURN_IF_ERROR(GatherConfig(client, report));
  VFIO_USER_RETURN_IF_ERROR(GatherDoorbells(client, report));
  return report;
}

}  // namespace vfio_user
