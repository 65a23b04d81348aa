// All that a server says of its device, gathered and put into words.
#ifndef TOOLS_VFIO_USER_DEVICE_REPORT_H_
#define TOOLS_VFIO_USER_DEVICE_REPORT_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/client.h"
#include "client/pci_config.h"
#include "nlohmann/json.hpp"
#include "proto_defs/wire/device_info.h"
#include "proto_defs/wire/irq.h"
#include "proto_defs/wire/region_info.h"
#include "proto_defs/wire/version.h"

namespace vfio_user {

struct ReportedDoorbell {
  uint64_t offset = 0;            // In bytes, from the start of the region; so is the size.
  uint64_t size = 0;              // Of what a client would write there otherwise.
  std::optional<uint64_t> value;  // nullopt: any value rings.
};

struct ReportedRegion {
  RegionInfo info;
  std::vector<ReportedDoorbell> doorbells;
};

struct DeviceReport {
  VersionMessage server;
  uint32_t max_data_xfer_bytes = 0;  // That holds on this connection.
  bool twin_socket = false;
  DeviceInfo device;
  std::vector<ReportedRegion> regions;  // Those of a size.
  std::vector<IrqInfo> irqs;            // Those with a vector.
  std::optional<PciConfig> pci;
  // What the device would not tell, or what it told that cannot be, one line each.
  std::vector<std::string> problems;
};

// Asks for everything. A question that the device refuses becomes a problem in the report; an
// error is a connection that is lost, or a question that was not answered.
absl::StatusOr<DeviceReport> GatherDeviceReport(const Client& client);

// For people: sections of lines, each ended by a newline.
std::string ReportText(const DeviceReport& report);

// For programs. Numbers are numbers; flags are their names joined by "|".
nlohmann::ordered_json ReportJson(const DeviceReport& report);

}  // namespace vfio_user

#endif  // TOOLS_VFIO_USER_DEVICE_REPORT_H_
