// Registers and memory of the device.
#ifndef CLIENT_REGION_H_
#define CLIENT_REGION_H_

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <type_traits>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto_defs/wire/region_info.h"

namespace vfio_user {

class Session;

// The widths of a register access: 1, 2, 4 or 8 bytes.
template <typename T>
concept RegisterValue = std::unsigned_integral<T> && !std::same_as<T, bool> && sizeof(T) <= 8;

// One region of the device. Copyable; copies are the same region, and each keeps the connection
// alive. Thread-safe. Offsets and lengths are in bytes. Every access waits for its reply, so that a
// write has reached the device when it returns. Errors: OutOfRange beyond the region,
// PermissionDenied against its flags, what the device refused with, and what Client says of lost
// connections and missed deadlines.
class Region {
 public:
  // One access of exactly sizeof(T) bytes, in host byte order: `region.Read<uint32_t>(0x10)`.
  template <RegisterValue T>
  absl::StatusOr<T> Read(uint64_t offset) const {
    T value = 0;
    absl::Status status = Access(offset, std::as_writable_bytes(std::span(&value, 1)));
    if (!status.ok()) return status;
    return value;
  }
  template <RegisterValue T>
  absl::Status Write(uint64_t offset, std::type_identity_t<T> value) const {
    return Access(offset, std::as_bytes(std::span(&value, 1)));
  }

  // As many accesses as it takes, in order; on an error those before it have happened.
  absl::Status ReadBlock(uint64_t offset, std::span<std::byte> into) const;
  absl::Status WriteBlock(uint64_t offset, std::span<const std::byte> from) const;

  const RegionInfo& info() const { return info_; }
  uint64_t size() const { return info_.size; }

 private:
  friend class Client;
  Region(std::shared_ptr<Session> session, RegionInfo info);

  absl::Status Access(uint64_t offset, std::span<std::byte> into) const;
  absl::Status Access(uint64_t offset, std::span<const std::byte> from) const;

  std::shared_ptr<Session> session_;
  RegionInfo info_;
};

}  // namespace vfio_user

#endif  // CLIENT_REGION_H_
