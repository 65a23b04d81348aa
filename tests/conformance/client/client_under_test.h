// A client as the suite sees it, so that clients other than this tree's can be tried.
#ifndef TESTS_CONFORMANCE_CLIENT_CLIENT_UNDER_TEST_H_
#define TESTS_CONFORMANCE_CLIENT_CLIENT_UNDER_TEST_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "proto_defs/wire/device_info.h"
#include "proto_defs/wire/iova.h"
#include "proto_defs/wire/irq.h"
#include "proto_defs/wire/region_info.h"
#include "tests/conformance/client/lent_memory.h"

namespace vfio_user {

// What an adapter, or the client behind it, may lack. A check that needs it is skipped then.
enum class ClientAbility {
  kInfo,              // Asking what the device, its regions and its interrupt types are.
  kReset,             // DEVICE_RESET on demand.
  kMapMemory,         // Lending memory by message.
  kReadOnlyMemory,    // Lending memory that the device may not write.
  kInterrupts,        // Binding a vector to an eventfd.
  kFeatures,          // DEVICE_FEATURE in its raw form.
  kDirtyLog,          // Having the device note what it writes.
  kUnmapReports,      // Learning what the device wrote when memory is unmapped.
  kMigration,         // Saving and loading the device's state.
  kTwinSocket,        // Asking for a socket for the server's commands, and serving it.
  kParallelRequests,  // Several requests under way at once, when there is a twin socket.
  kMappedRegions,     // Reaching a region through memory of the server's.
  kDoorbells,         // Ringing doorbells through eventfds.
  kPostedWrites,      // Writes without a reply, when there is a twin socket.
  kManyWrites,        // Several writes at once.
  kCountDescriptors,  // Saying how many descriptors the client's process has.
};

// "binding interrupts": for "the client lacks binding interrupts".
std::string_view AbilityName(ClientAbility ability);

// How long the client waits before it gives up.
struct ClientPatience {
  absl::Duration connect = absl::Seconds(10);  // For a connection, VERSION included.
  absl::Duration reply = absl::Seconds(10);    // For each request.
};

// One connection of the client under test. Its calls come from several threads at once only where
// the client has kParallelRequests. Every call returns, whatever the server does, within the
// patience that it was given and a few seconds, and says by its code what happened:
//   DataLoss          the server broke the protocol; the connection is closed for good
//   Unavailable       the server is gone, likewise for good
//   DeadlineExceeded  no reply in time; after a map or unmap the connection is closed
//   another           as absl::ErrnoToStatus of the errno in the reply; Aborted for EIO, which
//                     stands in where there was no errno
// What a client lacks (see ClientAbility) is not called, and may return anything.
class ClientUnderTest {
 public:
  // Ends the connection, and waits for nobody but the client.
  virtual ~ClientUnderTest() = default;

  virtual absl::StatusOr<DeviceInfo> GetDeviceInfo() = 0;
  virtual absl::StatusOr<RegionInfo> GetRegionInfo(RegionIndex index) = 0;
  virtual absl::StatusOr<IrqInfo> GetIrqInfo(IrqIndex index) = 0;
  virtual absl::Status Reset() = 0;

  // One access of four bytes to BAR 0, by message.
  virtual absl::StatusOr<uint32_t> ReadRegister(uint64_t offset) = 0;
  virtual absl::Status WriteRegister(uint64_t offset, uint32_t value) = 0;

  // The same of BAR 2, which may be mapped: through the mapping where there is one.
  virtual absl::StatusOr<uint32_t> ReadMappable(uint64_t offset) = 0;

  // A write that is not waited for, and the wait for all of them.
  virtual absl::Status PostRegister(uint64_t offset, uint32_t value) = 0;
  virtual absl::Status Fence() = 0;

  // Writes `values` to BAR 0 from offset 0 on, one write of four bytes for each.
  virtual absl::Status WriteRegisters(std::span<const uint32_t> values) = 0;

  // Asks for the doorbells of BAR 0, and returns how many there are; and rings one of them.
  virtual absl::StatusOr<size_t> OpenDoorbells() = 0;
  virtual absl::Status RingDoorbell(size_t number) = 0;

  // Lends all of `memory` at `iova` without a descriptor, so that the device has to ask for each
  // access. Unmapping returns when the server has let go.
  virtual absl::Status Map(const LentMemory& memory, Iova iova) = 0;
  virtual absl::Status Unmap(Iova iova) = 0;

  // What the feature says, of which at most `max_bytes` are wanted.
  virtual absl::StatusOr<std::vector<uint8_t>> GetFeature(uint16_t feature, uint32_t max_bytes) = 0;

  // Logs what the device writes in pages of 4096 bytes, or of what it chooses; and how many pages
  // of 4096 bytes it wrote in `length` bytes from `first` on.
  virtual absl::Status StartDirtyLog() = 0;
  virtual absl::StatusOr<uint64_t> CountDirtyPages(Iova first, uint64_t length) = 0;

  // Lends as Map does, but with a descriptor, so that only the device knows what it writes; and
  // unmaps that with a request that asks in how many pages of 4096 bytes it did.
  // Unimplemented where the server does not say; it is unmapped then.
  virtual absl::Status MapByDescriptor(const LentMemory& memory, Iova iova) = 0;
  virtual absl::StatusOr<uint64_t> UnmapAndCountDirtyPages(Iova iova) = 0;

  // All of the device's state, and giving it another. The device runs before and afterwards.
  virtual absl::StatusOr<std::vector<uint8_t>> SaveState() = 0;
  virtual absl::Status LoadState(std::span<const uint8_t> state) = 0;

  // Binds one vector, in the place of the one that was bound before.
  virtual absl::Status BindInterrupt(IrqIndex index, uint32_t vector) = 0;
  // How often it was signalled since the last call, at least 1; DeadlineExceeded for never.
  virtual absl::StatusOr<uint64_t> WaitForInterrupt(absl::Duration timeout) = 0;
  virtual void UnbindInterrupt() = 0;

  // OK, or why the connection is closed.
  virtual absl::Status connection() = 0;
};

// Starts clients.
class ClientAdapter {
 public:
  virtual ~ClientAdapter() = default;

  // Connects to the UNIX socket at `path`. Besides the codes above: Unimplemented for a server of
  // another major version.
  virtual absl::StatusOr<std::unique_ptr<ClientUnderTest>> Connect(
      const std::string& path, const ClientPatience& patience) const = 0;

  virtual bool Can(ClientAbility ability) const = 0;

  // Of the process that the client is in; -1 without kCountDescriptors. The suite's own are among
  // them where the client is in this process.
  virtual int OpenDescriptors() const = 0;
};

}  // namespace vfio_user

#endif  // TESTS_CONFORMANCE_CLIENT_CLIENT_UNDER_TEST_H_
