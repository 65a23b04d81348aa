// Bus addresses and ranges of them.
#ifndef PROTO_DEFS_WIRE_IOVA_H_
#define PROTO_DEFS_WIRE_IOVA_H_

#include <cstdint>
#include <optional>

namespace vfio_user {

// A bus address, in bytes, as the device sees it. Not a pointer: nothing may dereference it, so
// there is no conversion to `void*` and no arithmetic.
enum class Iova : uint64_t {};

constexpr uint64_t ToU64(Iova iova) { return static_cast<uint64_t>(iova); }

// The last byte of [iova, iova + length); nullopt if that is empty or passes 2^64 - 1.
constexpr std::optional<Iova> LastByte(Iova iova, uint64_t length) {
  if (length == 0 || length - 1 > UINT64_MAX - ToU64(iova)) return std::nullopt;
  return Iova{ToU64(iova) + (length - 1)};
}

// Bus addresses that follow each other. Not empty and not past 2^64 - 1 where it says nothing else.
struct IovaRange {
  Iova first{};
  uint64_t length = 0;  // In bytes.

  friend constexpr bool operator==(const IovaRange&, const IovaRange&) = default;
};

constexpr std::optional<Iova> LastByte(const IovaRange& range) {
  return LastByte(range.first, range.length);
}

}  // namespace vfio_user

#endif  // PROTO_DEFS_WIRE_IOVA_H_
