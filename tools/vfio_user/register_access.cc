#include "tools/vfio_user/register_access.h"

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/client.h"
#include "client/region.h"
#include "fmt/format.h"
#include "proto_defs/base/errno_status.h"
#include "proto_defs/wire/device_info.h"
#include "proto_defs/wire/format.h"

namespace vfio_user {
namespace {

template <typename T>
absl::StatusOr<uint64_t> ReadAs(const Region& region, uint64_t offset) {
  const absl::StatusOr<T> value = region.Read<T>(offset);
  if (!value.ok()) return value.status();
  return uint64_t{*value};
}

absl::StatusOr<uint64_t> ReadWidth(const Region& region, uint64_t offset, uint64_t width) {
  switch (width) {
    case 1:
      return ReadAs<uint8_t>(region, offset);
    case 2:
      return ReadAs<uint16_t>(region, offset);
    case 4:
      return ReadAs<uint32_t>(region, offset);
    default:
      return ReadAs<uint64_t>(region, offset);
  }
}

absl::Status WriteWidth(const Region& region, uint64_t offset, uint64_t width, uint64_t value) {
  switch (width) {
    case 1:
      return region.Write<uint8_t>(offset, static_cast<uint8_t>(value));
    case 2:
      return region.Write<uint16_t>(offset, static_cast<uint16_t>(value));
    case 4:
      return region.Write<uint32_t>(offset, static_cast<uint32_t>(value));
    default:
      return region.Write<uint64_t>(offset, value);
  }
}

std::string NameOf(const Region& region, uint64_t offset, uint64_t width) {
  return fmt::format("{} bytes at {}+{:#x}", width, region.info().index, offset);
}

// A refusal with what to try: devices take some widths and offsets and not others.
absl::Status Explained(const absl::Status& status, std::string_view what) {
  if (status.code() != absl::StatusCode::kInvalidArgument) return Annotate(status, what);
  return absl::InvalidArgumentError(fmt::format("{}: {}; try another --width, OFFSET or VALUE",
                                                what, std::string(status.message())));
}

}  // namespace

absl::StatusOr<Region> OpenRegionForUser(const Client& client, RegionIndex index) {
  absl::StatusOr<Region> region = client.OpenRegion(index, {.path = RegionPath::kMessage});
  if (region.status().code() != absl::StatusCode::kNotFound) return region;
  return absl::NotFoundError(
      fmt::format("the device has no region {}; `vfio-user info` shows those it has", index));
}

absl::Status CheckInside(const Region& region, uint64_t offset, uint64_t width, uint64_t count) {
  const uint64_t size = region.size();
  if (offset <= size && count <= (size - offset) / width) return absl::OkStatus();
  return absl::OutOfRangeError(fmt::format(
      "{} of {} bytes at {}+{:#x} {} the region, which has {:#x} bytes; see `vfio-user info`",
      count == 1 ? "a register" : fmt::format("{} registers", count), width, region.info().index,
      offset, count == 1 ? "leaves" : "leave", size));
}

absl::StatusOr<uint64_t> ReadRegister(const Region& region, uint64_t offset, uint64_t width) {
  const absl::StatusOr<uint64_t> value = ReadWidth(region, offset, width);
  if (value.ok()) return value;
  return Explained(value.status(), "reading " + NameOf(region, offset, width));
}

absl::Status WriteRegister(const Region& region, uint64_t offset, uint64_t width, uint64_t value) {
  return Explained(WriteWidth(region, offset, width, value),
                   "writing " + NameOf(region, offset, width));
}

}  // namespace vfio_user
