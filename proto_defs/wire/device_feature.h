// DEVICE_FEATURE: migration state and the log of the pages that a device wrote.
#ifndef PROTO_DEFS_WIRE_DEVICE_FEATURE_H_
#define PROTO_DEFS_WIRE_DEVICE_FEATURE_H_

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "proto_defs/wire/flag_set.h"
#include "proto_defs/wire/iova.h"

namespace vfio_user {

class WireWriter;

// The kernel's numbers. The specification has 1, 2, 6, 7 and 8, and this server 9 besides; the
// others are named for whoever prints them. Values outside the list occur.
enum class Feature : uint16_t {
  kPciVfToken = 0,
  kMigration = 1,
  kMigDeviceState = 2,
  kLowPowerEntry = 3,
  kLowPowerEntryWithWakeup = 4,
  kLowPowerExit = 5,
  kDmaLoggingStart = 6,
  kDmaLoggingStop = 7,
  kDmaLoggingReport = 8,
  kMigDataSize = 9,
};

// What is done to a feature: bits 16 to 18 of the flags, whose low 16 bits are the feature.
enum class FeatureOp : uint32_t {
  kGet = 1 << 16,
  kSet = 1 << 17,
  kProbe = 1 << 18,  // Asks only whether the other operations exist.
};
using FeatureOps = FlagSet<FeatureOp>;

inline constexpr FeatureOps kKnownFeatureOps =
    FeatureOps(FeatureOp::kGet) | FeatureOp::kSet | FeatureOp::kProbe;

// Body of DEVICE_FEATURE (command 16), client to server, and of its reply. 8 bytes, then data:
//   argsz u32 @0 | flags u32 @4
// The reply to kGet carries the feature's data; those to kSet and kProbe are the request again.
// Source: QEMU docs/interop/vfio-user.rst, "VFIO_USER_DEVICE_FEATURE".
struct DeviceFeature {
  static constexpr uint32_t kBytes = 8;  // Before the data.

  uint32_t argsz = kBytes;  // In a request, of the longest reply body that the client takes.
  Feature feature{};
  FeatureOps ops{};
  std::vector<uint8_t> data{};  // One of the structures below.

  // InvalidArgument for a body or an argsz below 8, an unknown flag, no operation, and kGet with
  // kSet without kProbe. Does not parse the data, and does not know whether argsz holds the reply.
  static absl::StatusOr<DeviceFeature> Parse(std::span<const uint8_t> body);
  void AppendTo(WireWriter& out) const;

  friend bool operator==(const DeviceFeature&, const DeviceFeature&) = default;
};

enum class MigrationFlag : uint64_t {
  kStopCopy = 1,
  kP2p = 2,
  kPreCopy = 4,
};
using MigrationFlags = FlagSet<MigrationFlag>;

inline constexpr MigrationFlags kKnownMigrationFlags =
    MigrationFlags(MigrationFlag::kStopCopy) | MigrationFlag::kP2p | MigrationFlag::kPreCopy;

// Data of Feature::kMigration, kGet only. 8 bytes: flags u64 @0
struct MigrationFeature {
  static constexpr uint32_t kBytes = 8;

  MigrationFlags flags{};  // Those that are not known are a newer server's, and dropped.

  // InvalidArgument for another length.
  static absl::StatusOr<MigrationFeature> Parse(std::span<const uint8_t> data);
  void AppendTo(WireWriter& out) const;

  friend bool operator==(const MigrationFeature&, const MigrationFeature&) = default;
};

// Values outside the list occur.
enum class MigState : uint32_t {
  kError = 0,
  kStop = 1,
  kRunning = 2,
  kStopCopy = 3,
  kResuming = 4,
  kRunningP2p = 5,
  kPreCopy = 6,
  kPreCopyP2p = 7,
};

// Data of Feature::kMigDeviceState. 8 bytes: state u32 @0 | data_fd s32 @4
struct MigDeviceState {
  static constexpr uint32_t kBytes = 8;

  MigState state{};
  int32_t data_fd = -1;  // The kernel's; it means nothing on a socket.

  // InvalidArgument for another length. Whether the state may follow the present one is for the
  // device to say.
  static absl::StatusOr<MigDeviceState> Parse(std::span<const uint8_t> data);
  void AppendTo(WireWriter& out) const;

  friend bool operator==(const MigDeviceState&, const MigDeviceState&) = default;
};

// Data of Feature::kMigDataSize, kGet only. 8 bytes: stop_copy_length u64 @0
// Source: the kernel's <linux/vfio.h>, vfio_device_feature_mig_data_size.
struct MigDataSize {
  static constexpr uint32_t kBytes = 8;

  uint64_t stop_copy_length = 0;  // In bytes; what is to be read of the state, as an estimate.

  // InvalidArgument for another length.
  static absl::StatusOr<MigDataSize> Parse(std::span<const uint8_t> data);
  void AppendTo(WireWriter& out) const;

  friend bool operator==(const MigDataSize&, const MigDataSize&) = default;
};

struct DmaLoggingRange {
  static constexpr uint32_t kBytes = 16;

  Iova address{};
  uint64_t length = 0;  // In bytes.

  friend bool operator==(const DmaLoggingRange&, const DmaLoggingRange&) = default;
};

// Data of Feature::kDmaLoggingStart, kSet only. 16 bytes, then the ranges:
//   page_size u64 @0 | num_ranges u32 @8 | reserved u32 @12 | { iova u64, length u64 } @16
struct DmaLoggingStart {
  static constexpr uint32_t kBytes = 16;  // Before the ranges.

  uint64_t page_size = 0;  // In bytes; what one bit is to stand for. The device may differ.
  std::vector<DmaLoggingRange> ranges{};

  // InvalidArgument for a length other than the number of ranges makes it, a page size that is no
  // power of two, and a range that is empty or passes 2^64 - 1.
  static absl::StatusOr<DmaLoggingStart> Parse(std::span<const uint8_t> data);
  void AppendTo(WireWriter& out) const;

  friend bool operator==(const DmaLoggingStart&, const DmaLoggingStart&) = default;
};

// Data of Feature::kDmaLoggingReport, kGet only. 24 bytes, in the reply with the bitmap after them:
//   iova u64 @0 | length u64 @8 | page_size u64 @16 | bitmap @24
struct DmaLoggingReport {
  static constexpr uint32_t kBytes = 24;  // Before the bitmap.

  Iova address{};
  uint64_t length = 0;     // In bytes.
  uint64_t page_size = 0;  // In bytes.
  // A bit per page, the lowest address in the lowest bit of the first byte, in whole u64s.
  std::vector<uint8_t> bitmap{};

  // InvalidArgument for less than 24 bytes, a range that is empty or passes 2^64 - 1, a page size
  // that is no power of two, and a bitmap that is neither empty nor BitmapBytes() long.
  static absl::StatusOr<DmaLoggingReport> Parse(std::span<const uint8_t> data);
  void AppendTo(WireWriter& out) const;

  // Bytes of the bitmap for length and page_size, neither of which may be 0.
  uint64_t BitmapBytes() const;

  friend bool operator==(const DmaLoggingReport&, const DmaLoggingReport&) = default;
};

}  // namespace vfio_user

#endif  // PROTO_DEFS_WIRE_DEVICE_FEATURE_H_
