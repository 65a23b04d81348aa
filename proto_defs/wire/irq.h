// DEVICE_GET_IRQ_INFO and DEVICE_SET_IRQS: which interrupts a device has, and where they go.
#ifndef PROTO_DEFS_WIRE_IRQ_H_
#define PROTO_DEFS_WIRE_IRQ_H_

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "proto_defs/wire/device_info.h"
#include "proto_defs/wire/flag_set.h"

namespace vfio_user {

class WireWriter;

enum class IrqInfoFlag : uint32_t {
  kEventfd = 1,
  kMaskable = 2,
  kAutomasked = 4,
  kNoresize = 8,
};
using IrqInfoFlags = FlagSet<IrqInfoFlag>;

inline constexpr IrqInfoFlags kKnownIrqInfoFlags =
    IrqInfoFlags(IrqInfoFlag::kEventfd) | IrqInfoFlag::kMaskable | IrqInfoFlag::kAutomasked |
    IrqInfoFlag::kNoresize;

// Body of DEVICE_GET_IRQ_INFO (command 7), client to server. 16 bytes, of which
//   argsz u32 @0 | index u32 @8
// are used. Source: QEMU docs/interop/vfio-user.rst, "VFIO_USER_DEVICE_GET_IRQ_INFO".
struct IrqInfoRequest {
  static constexpr uint32_t kBytes = 16;

  uint32_t argsz = kBytes;
  IrqIndex index{};

  // InvalidArgument for a body or an argsz below 16.
  static absl::StatusOr<IrqInfoRequest> Parse(std::span<const uint8_t> body);
  void AppendTo(WireWriter& out) const;

  friend bool operator==(const IrqInfoRequest&, const IrqInfoRequest&) = default;
};

// The reply. 16 bytes: argsz u32 @0 | flags u32 @4 | index u32 @8 | count u32 @12
struct IrqInfo {
  static constexpr uint32_t kBytes = 16;

  uint32_t argsz = kBytes;
  IrqInfoFlags flags{};
  IrqIndex index{};
  uint32_t count = 0;  // Of vectors; 0 for a type that the device does not have.

  // InvalidArgument for a body below 16 bytes; more, and unknown flags, are a newer server's and
  // dropped. Does not judge the count: a client bounds it (kMaxIrqVectors) before use.
  static absl::StatusOr<IrqInfo> Parse(std::span<const uint8_t> body);
  void AppendTo(WireWriter& out) const;

  friend bool operator==(const IrqInfo&, const IrqInfo&) = default;
};

// What comes with DEVICE_SET_IRQS for each vector. The values are bits of its flags.
enum class IrqData : uint32_t {
  kNone = 1,     // Nothing: the action concerns all `count` vectors.
  kBool = 2,     // A byte: the action concerns those with a byte other than 0.
  kEventfd = 4,  // A descriptor, or none for any of them, which unbinds.
};

// What happens to the vectors. The values are bits of the flags.
enum class IrqAction : uint32_t {
  kMask = 8,
  kUnmask = 16,
  kTrigger = 32,
};

// Body of DEVICE_SET_IRQS (command 8), client to server. 20 bytes, then the bytes of kBool:
//   argsz u32 @0 | flags u32 @4 | index u32 @8 | start u32 @12 | count u32 @16 | bools @20
// Source: QEMU docs/interop/vfio-user.rst, "VFIO_USER_DEVICE_SET_IRQS". The reply has no body.
//   kEventfd, kTrigger, `count` descriptors  the vectors signal them
//   kEventfd, kTrigger, no descriptor        the vectors signal nobody
//   kNone, kTrigger, start and count 0       the whole type is disabled
//   kNone or kBool, kTrigger                 the device signals, as if it had an interrupt
//   kNone or kBool, kMask or kUnmask         the vectors are masked or unmasked
//   kEventfd, kMask or kUnmask               a descriptor through which to mask or unmask
struct SetIrqsRequest {
  static constexpr uint32_t kBytes = 20;

  uint32_t argsz = kBytes;
  IrqData data = IrqData::kNone;
  IrqAction action = IrqAction::kTrigger;
  IrqIndex index{};
  uint32_t start = 0;            // The first vector.
  uint32_t count = 0;            // Of vectors.
  std::vector<uint8_t> bools{};  // `count` of them with kBool, else none.

  // InvalidArgument for an argsz below 20, an unknown flag, anything but one data and one action
  // bit, a start + count above 2^32 - 1, a count of 0 other than to disable the whole type, and a
  // body of another length than 20, or 20 + count with kBool. Does not look at the descriptors, or
  // at what the device has: the index, its vectors, whether it can be masked.
  static absl::StatusOr<SetIrqsRequest> Parse(std::span<const uint8_t> body);
  void AppendTo(WireWriter& out) const;

  friend bool operator==(const SetIrqsRequest&, const SetIrqsRequest&) = default;
};

}  // namespace vfio_user

#endif  // PROTO_DEFS_WIRE_IRQ_H_
