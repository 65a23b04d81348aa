#include "tools/vfio_user/device_report.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/client.h"
#include "client/region.h"
#include "fmt/format.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/wire/device_info.h"
#include "proto_defs/wire/irq.h"
#include "proto_defs/wire/limits.h"
#include "proto_defs/wire/region_info.h"
#include "tools/vfio_user/pci_config.h"

namespace vfio_user {
namespace {

// All of an extended config space; whatever a server says, no more of it means anything.
constexpr uint64_t kMaxConfigBytes = 4096;

// Notes what the device refused, and goes on; stops at what ends the connection.
absl::Status Note(const Client& client, const absl::Status& status, DeviceReport& report) {
  if (status.ok()) return status;
  VFIO_USER_RETURN_IF_ERROR(client.status());
  report.problems.emplace_back(status.message());
  return absl::OkStatus();
}

absl::Status GatherRegions(const Client& client, DeviceReport& report) {
  const uint32_t count = std::min(report.device.num_regions, kMaxRegions);
  for (uint32_t i = 0; i < count; ++i) {
    absl::StatusOr<RegionInfo> info = client.GetRegionInfo(RegionIndex{i});
    VFIO_USER_RETURN_IF_ERROR(Note(client, info.status(), report));
    if (info.ok() && info->size > 0) report.regions.push_back(*std::move(info));
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
  const absl::StatusOr<Region> region = client.OpenRegion(RegionIndex::kConfig);
  VFIO_USER_RETURN_IF_ERROR(Note(client, region.status(), report));
  if (!region.ok()) return absl::OkStatus();
  std::vector<std::byte> bytes(std::min(region->size(), kMaxConfigBytes));
  const absl::Status read = region->ReadBlock(0, bytes);
  VFIO_USER_RETURN_IF_ERROR(Note(client, read, report));
  if (!read.ok()) return absl::OkStatus();
  report.pci = ParsePciConfig(bytes);
  report.config = std::move(bytes);
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
  return report;
}

}  // namespace vfio_user
