// Registers and memory of the device.
#ifndef CLIENT_REGION_H_
#define CLIENT_REGION_H_

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <type_traits>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/doorbell.h"
#include "client/region_access_list.h"
#include "proto_defs/wire/region_info.h"

namespace vfio_user {

class RegionMapping;
class Session;
struct RegionIoFds;

// The widths of a register access: 1, 2, 4 or 8 bytes.
template <typename T>
concept RegisterValue = std::unsigned_integral<T> && !std::same_as<T, bool> && sizeof(T) <= 8;

// How accesses reach a region.
enum class RegionPath {
  // What the server lets clients map is memory of this process; messages for the rest.
  kAuto,
  // By messages, all of it, so that the device sees each access.
  kMessage,
};

struct RegionOptions {
  RegionPath path = RegionPath::kAuto;
};

// One region of the device. Copyable; copies are the same region, and each keeps the connection
// alive. Thread-safe. Offsets and lengths are in bytes. Every access but Post waits for its reply,
// so that a write has reached the device when it returns. Errors: OutOfRange beyond the region,
// PermissionDenied against its flags, what the device refused with, and what Client says of lost
// connections and missed deadlines.
//
// Parts of it may be mapped. An access there is a load or a store, which the device does not see,
// and which works when the server is gone; one that is partly there is cut in two. An aligned
// access to a register is one load or store if the server has sealed the memory against being
// taken away; otherwise the kernel copies, which is slower, and then messages stand in for memory
// that is gone.
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

  // The same without waiting for the device, and without a word of what it refuses. It is ordered
  // with all other accesses by messages of this client, but a mapped part may be accessed before
  // it: see Fence. Waits now and then, for the device not to be left behind. To a server whose own
  // commands have no socket of their own it is Write, because of what libvfio-user makes of
  // requests that cross its own.
  template <RegisterValue T>
  absl::Status Post(uint64_t offset, std::type_identity_t<T> value) const {
    return PostBytes(offset, std::as_bytes(std::span(&value, 1)));
  }
  // Waits until the device has had all that this client posted before, in whatever region.
  absl::Status Fence() const;

  // As many accesses as it takes, in order; on an error those before it have happened.
  absl::Status ReadBlock(uint64_t offset, std::span<std::byte> into) const;
  absl::Status WriteBlock(uint64_t offset, std::span<const std::byte> from) const;

  // Many accesses in order, of which several are under way at a time, so that all of them take
  // little longer than one. Each is one access, of no more bytes than a message holds, else
  // ResourceExhausted. All are checked before the first is made. On an error of the device, which
  // is the first that there was, any of those after it may have happened too.
  absl::Status ReadMany(std::span<const RegionRead> reads) const;
  absl::Status WriteMany(std::span<const RegionWrite> writes) const;

  // The doorbells that the device offers in this region: see Doorbell. Two round trips at most.
  // NotFound where there is none, ResourceExhausted for more than 256; what a server that does not
  // know of them refuses with.
  absl::StatusOr<std::vector<Doorbell>> OpenDoorbells() const;
  // The first of them at `offset`, for whatever value: where several share it, each for another
  // value(), OpenDoorbells() has them all.
  absl::StatusOr<Doorbell> OpenDoorbell(uint64_t offset) const;

  // The parts that are mapped, in order.
  std::vector<SparseArea> mapped_areas() const;
  // Why no part, or not every one that the server offers, is mapped; OK when nothing is missing.
  absl::Status mapping_status() const;
  // The mapped memory itself, for pointers of one's own; valid for as long as any copy of this
  // region lives. Empty unless all of it is mapped as one, and sealed: memory that the server may
  // take away is no place for a pointer.
  std::span<std::byte> Mapping(uint64_t offset, size_t length) const;

  const RegionInfo& info() const { return info_; }
  uint64_t size() const { return info_.size; }

 private:
  friend class Client;
  Region(std::shared_ptr<Session> session, RegionInfo info,
         std::shared_ptr<const RegionMapping> mapping);

  absl::StatusOr<Doorbell> NewDoorbell(const RegionIoFds& io_fds, const IoFdEntry& entry) const;

  absl::Status Access(uint64_t offset, std::span<std::byte> into) const;
  absl::Status Access(uint64_t offset, std::span<const std::byte> from) const;
  absl::Status PostBytes(uint64_t offset, std::span<const std::byte> from) const;

  absl::Status ReadMapped(uint64_t offset, std::span<std::byte> into) const;
  absl::Status WriteMapped(uint64_t offset, std::span<const std::byte> from) const;
  absl::Status ReadMessages(uint64_t offset, std::span<std::byte> into) const;
  absl::Status WriteMessages(uint64_t offset, std::span<const std::byte> from) const;
  // Whether any of that part is mapped.
  bool Touches(uint64_t offset, size_t length) const;

  std::shared_ptr<Session> session_;
  RegionInfo info_;
  std::shared_ptr<const RegionMapping> mapping_;  // nullptr when nothing is mapped.
  absl::Status mapping_status_;
};

}  // namespace vfio_user

#endif  // CLIENT_REGION_H_
