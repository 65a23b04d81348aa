#include "proto_defs/wire/device_feature.h"

#include "absl/status/status.h"
#include "fmt/format.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/wire/field_check.h"
#include "proto_defs/wire/wire_reader.h"
#include "proto_defs/wire/wire_writer.h"

namespace vfio_user {
namespace {

constexpr std::string_view kFeature = "DEVICE_FEATURE";
constexpr std::string_view kStart = "DMA_LOGGING_START";
constexpr std::string_view kReport = "DMA_LOGGING_REPORT";
constexpr uint32_t kFeatureMask = 0xffff;

absl::StatusOr<FeatureOps> ParseOps(uint32_t flags) {
  const auto ops = FeatureOps::FromWire(flags & ~kFeatureMask, kKnownFeatureOps);
  if (!ops) return UnknownFlags(kFeature, flags, kFeatureMask | kKnownFeatureOps.ToWire());
  if (ops->empty()) {
    return absl::InvalidArgumentError(
        fmt::format("{}: flags are {:#x}, want get, set or probe", kFeature, flags));
  }
  if (*ops == (FeatureOps(FeatureOp::kGet) | FeatureOp::kSet)) {
    return absl::InvalidArgumentError(fmt::format(
        "{}: flags are {:#x}, want get and set together only with probe", kFeature, flags));
  }
  return *ops;
}

}  // namespace

absl::StatusOr<DeviceFeature> DeviceFeature::Parse(std::span<const uint8_t> body) {
  WireReader in(body);
  DeviceFeature out;
  out.argsz = in.Read<uint32_t>();
  const auto flags = in.Read<uint32_t>();
  VFIO_USER_RETURN_IF_ERROR(in.FinishPrefix(kFeature));
  VFIO_USER_RETURN_IF_ERROR(CheckArgsz(kFeature, out.argsz, kBytes));
  VFIO_USER_ASSIGN_OR_RETURN(out.ops, ParseOps(flags));
  out.feature = Feature{static_cast<uint16_t>(flags & kFeatureMask)};
  const std::span<const uint8_t> data = in.TakeRest();
  out.data.assign(data.begin(), data.end());
  return out;
}

void DeviceFeature::AppendTo(WireWriter& out) const {
  out.Write<uint32_t>(argsz);
  out.Write<uint32_t>(static_cast<uint32_t>(feature) | ops.ToWire());
  out.WriteBytes(data);
}

absl::StatusOr<MigrationFeature> MigrationFeature::Parse(std::span<const uint8_t> data) {
  WireReader in(data);
  MigrationFeature out;
  out.flags = MigrationFlags::KnownOf(in.Read<uint64_t>(), kKnownMigrationFlags);
  VFIO_USER_RETURN_IF_ERROR(in.Finish("MIGRATION feature"));
  return out;
}

void MigrationFeature::AppendTo(WireWriter& out) const { out.Write<uint64_t>(flags.ToWire()); }

absl::StatusOr<MigDeviceState> MigDeviceState::Parse(std::span<const uint8_t> data) {
  WireReader in(data);
  MigDeviceState out;
  out.state = MigState{in.Read<uint32_t>()};
  out.data_fd = in.Read<int32_t>();
  VFIO_USER_RETURN_IF_ERROR(in.Finish("MIG_DEVICE_STATE feature"));
  return out;
}

void MigDeviceState::AppendTo(WireWriter& out) const {
  out.Write<uint32_t>(static_cast<uint32_t>(state));
  out.Write<int32_t>(data_fd);
}

absl::StatusOr<MigDataSize> MigDataSize::Parse(std::span<const uint8_t> data) {
  WireReader in(data);
  MigDataSize out;
  out.stop_copy_length = in.Read<uint64_t>();
  VFIO_USER_RETURN_IF_ERROR(in.Finish("MIG_DATA_SIZE feature"));
  return out;
}

void MigDataSize::AppendTo(WireWriter& out) const { out.Write<uint64_t>(stop_copy_length); }

absl::StatusOr<DmaLoggingStart> DmaLoggingStart::Parse(std::span<const uint8_t> data) {
  WireReader in(data);
  DmaLoggingStart out;
  out.page_size = in.Read<uint64_t>();
  const auto count = in.Read<uint32_t>();
  in.Skip(sizeof(uint32_t));
  VFIO_USER_RETURN_IF_ERROR(in.FinishPrefix(kStart));
  // Before anything is allocated: the count is the peer's.
  const uint64_t want = uint64_t{count} * DmaLoggingRange::kBytes;
  if (in.remaining() != want) {
    return absl::InvalidArgumentError(
        fmt::format("{}: {} bytes of ranges, want {}", kStart, in.remaining(), want));
  }
  VFIO_USER_RETURN_IF_ERROR(CheckPageSize(kStart, out.page_size));
  out.ranges.resize(count);
  for (DmaLoggingRange& range : out.ranges) {
    range.address = Iova{in.Read<uint64_t>()};
    range.length = in.Read<uint64_t>();
    VFIO_USER_RETURN_IF_ERROR(
        CheckRange(kStart, {"iova", ToU64(range.address), "length", range.length}));
  }
  return out;
}

void DmaLoggingStart::AppendTo(WireWriter& out) const {
  out.Write<uint64_t>(page_size);
  out.Write<uint32_t>(static_cast<uint32_t>(ranges.size()));
  out.Write<uint32_t>(0);
  for (const DmaLoggingRange& range : ranges) {
    out.Write<uint64_t>(ToU64(range.address));
    out.Write<uint64_t>(range.length);
  }
}

absl::StatusOr<DmaLoggingReport> DmaLoggingReport::Parse(std::span<const uint8_t> data) {
  WireReader in(data);
  DmaLoggingReport out;
  out.address = Iova{in.Read<uint64_t>()};
  out.length = in.Read<uint64_t>();
  out.page_size = in.Read<uint64_t>();
  VFIO_USER_RETURN_IF_ERROR(in.FinishPrefix(kReport));
  VFIO_USER_RETURN_IF_ERROR(
      CheckRange(kReport, {"iova", ToU64(out.address), "length", out.length}));
  VFIO_USER_RETURN_IF_ERROR(CheckPageSize(kReport, out.page_size));
  const std::span<const uint8_t> bitmap = in.TakeRest();
  if (!bitmap.empty() && bitmap.size() != out.BitmapBytes()) {
    return absl::InvalidArgumentError(
        fmt::format("{}: bitmap is {} bytes, want {}", kReport, bitmap.size(), out.BitmapBytes()));
  }
  out.bitmap.assign(bitmap.begin(), bitmap.end());
  return out;
}

void DmaLoggingReport::AppendTo(WireWriter& out) const {
  out.Write<uint64_t>(ToU64(address));
  out.Write<uint64_t>(length);
  out.Write<uint64_t>(page_size);
  out.WriteBytes(bitmap);
}

uint64_t DmaLoggingReport::BitmapBytes() const {
  constexpr uint64_t kBitsPerWord = 64;
  // Counted from the last page and the last word, because rounding up could pass 2^64 - 1.
  const uint64_t last_page = (length - 1) / page_size;
  const uint64_t words = last_page / kBitsPerWord + 1;
  return words * sizeof(uint64_t);
}

}  // namespace vfio_user
