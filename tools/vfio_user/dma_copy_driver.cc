#include "tools/vfio_user/dma_copy_driver.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/client.h"
#include "client/interrupt.h"
#include "client/pci_function.h"
#include "client/region.h"
#include "fmt/format.h"
#include "proto_defs/base/errno_status.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/transport/deadline.h"
#include "proto_defs/wire/device_info.h"
#include "proto_defs/wire/iova.h"
#include "tools/vfio_user/dma_buffer.h"

namespace vfio_user {

// In the ring, little endian.
struct DmaCopyDriver::Descriptor {
  uint32_t opcode;
  uint32_t flags;
  uint64_t source;
  uint64_t destination;
  uint64_t length;
  // From here on the device writes, `status` last.
  uint32_t status;
  uint32_t error;  // An errno.
  uint64_t result;
  std::array<uint8_t, 16> zero;
};

namespace {

static_assert(std::endian::native == std::endian::little,
              "descriptors and registers are used as they lie in memory");

constexpr uint64_t kMagicOffset = 0x00;
constexpr uint64_t kRevisionOffset = 0x04;
constexpr uint64_t kStatusOffset = 0x08;
constexpr uint64_t kRingIovaOffset = 0x10;
constexpr uint64_t kRingEntriesOffset = 0x18;
constexpr uint64_t kDoorbellOffset = 0x1c;

constexpr uint32_t kMagic = 0x59504344;
constexpr uint32_t kRevision = 1;
constexpr uint32_t kBusy = 1;
constexpr uint32_t kMinRingEntries = 2;
constexpr uint32_t kMaxRingEntries = 4096;

constexpr uint32_t kInterruptWhenDone = 1;
constexpr uint32_t kPending = 0;
constexpr uint32_t kDone = 1;

// How long to go without an interrupt before asking whether the server is still there: an eventfd
// does not say so. Short for whoever watches, long against the round trip that it costs.
constexpr absl::Duration kCheckInterval = absl::Milliseconds(100);

absl::Status WrongDevice(std::string_view what) {
  return absl::FailedPreconditionError(
      fmt::format("{}; this needs one that `vfio-user serve dma-copy` serves, or its like", what));
}

absl::StatusOr<PciFunction> OpenDmaCopy(const Client& client) {
  absl::StatusOr<PciFunction> pci = client.OpenPci();
  if (absl::IsNotFound(pci.status()) || absl::IsUnimplemented(pci.status())) {
    return WrongDevice("the device has no PCI config space");
  }
  VFIO_USER_RETURN_IF_ERROR(pci.status());
  VFIO_USER_ASSIGN_OR_RETURN(const PciDeviceIdentity identity, pci->ReadIdentity());
  if (identity.vendor_id != kDmaCopyVendorId || identity.device_id != kDmaCopyDeviceId) {
    return WrongDevice(fmt::format("the device is {:04x}:{:04x}, not dma-copy ({:04x}:{:04x})",
                                   identity.vendor_id, identity.device_id, kDmaCopyVendorId,
                                   kDmaCopyDeviceId));
  }
  return pci;
}

absl::Status CheckRevision(const Region& registers) {
  VFIO_USER_ASSIGN_OR_RETURN(const uint32_t magic, registers.Read<uint32_t>(kMagicOffset));
  VFIO_USER_ASSIGN_OR_RETURN(const uint32_t revision, registers.Read<uint32_t>(kRevisionOffset));
  if (magic == kMagic && revision == kRevision) return absl::OkStatus();
  return WrongDevice(
      fmt::format("the device's magic number is {:#x} and its revision {}, not {:#x} and {}", magic,
                  revision, kMagic, kRevision));
}

std::string_view NameOf(uint32_t opcode) {
  switch (DmaCopyOpcode{opcode}) {
    case DmaCopyOpcode::kNop:
      return "nop";
    case DmaCopyOpcode::kCopy:
      return "copy";
    case DmaCopyOpcode::kFill:
      return "fill";
    case DmaCopyOpcode::kCrc32:
      return "crc-32";
  }
  return "unknown operation";
}

}  // namespace

DmaCopyDriver::DmaCopyDriver(const DmaCopyOptions& options, Region registers, DmaBuffer ring,
                             Interrupt interrupt)
    : options_(options),
      registers_(std::move(registers)),
      ring_memory_(std::move(ring)),
      interrupt_(std::move(interrupt)) {
  static_assert(sizeof(Descriptor) == 64);
  ring_ = {new (ring_memory_.bytes().data()) Descriptor[options.ring_entries](),
           options.ring_entries};
}

absl::StatusOr<std::unique_ptr<DmaCopyDriver>> DmaCopyDriver::Open(const Client& client,
                                                                   const DmaCopyOptions& options) {
  if (!std::has_single_bit(options.ring_entries) || options.ring_entries < kMinRingEntries ||
      options.ring_entries > kMaxRingEntries) {
    return absl::InvalidArgumentError(
        fmt::format("ring of {} entries, want a power of two, {} to {}", options.ring_entries,
                    kMinRingEntries, kMaxRingEntries));
  }
  VFIO_USER_ASSIGN_OR_RETURN(const PciFunction pci, OpenDmaCopy(client));
  VFIO_USER_ASSIGN_OR_RETURN(Region registers, client.OpenRegion(RegionIndex::kBar0));
  VFIO_USER_RETURN_IF_ERROR(CheckRevision(registers));
  VFIO_USER_RETURN_IF_ERROR(client.Reset());
  VFIO_USER_RETURN_IF_ERROR(
      pci.SetCommand(PciCommandFlags(PciCommandFlag::kMemorySpace) | PciCommandFlag::kBusMaster));
  VFIO_USER_ASSIGN_OR_RETURN(Interrupt interrupt, client.BindInterrupt(IrqIndex::kMsix, 0));
  VFIO_USER_ASSIGN_OR_RETURN(
      DmaBuffer ring,
      DmaBuffer::Create(client, options.ring_entries * sizeof(Descriptor), options.path));
  std::unique_ptr<DmaCopyDriver> driver(
      new DmaCopyDriver(options, std::move(registers), std::move(ring), std::move(interrupt)));
  VFIO_USER_RETURN_IF_ERROR(driver->Start());
  return driver;
}

absl::Status DmaCopyDriver::Start() {
  VFIO_USER_RETURN_IF_ERROR(
      registers_.Write<uint64_t>(kRingIovaOffset, ToU64(ring_memory_.iova())));
  return registers_.Write<uint32_t>(kRingEntriesOffset, options_.ring_entries);
}

absl::Status DmaCopyDriver::Submit(const DmaCopyOperation& operation) {
  if (in_flight() == options_.ring_entries) {
    return absl::ResourceExhaustedError(
        fmt::format("{} operations are in flight, which is all that the ring holds: wait for one",
                    in_flight()));
  }
  // The doorbell's message, which follows, makes the descriptor visible to the device.
  ring_[producer_ % options_.ring_entries] = {
      .opcode = static_cast<uint32_t>(operation.opcode),
      .flags = kInterruptWhenDone,
      .source = operation.source,
      .destination = ToU64(operation.destination),
      .length = operation.length,
      .status = kPending,
      .error = 0,
      .result = 0,
      .zero = {},
  };
  VFIO_USER_RETURN_IF_ERROR(registers_.Write<uint32_t>(kDoorbellOffset, producer_ + 1));
  ++producer_;
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> DmaCopyDriver::WaitForOldest() {
  if (in_flight() == 0) {
    return absl::FailedPreconditionError("no operation is in flight: submit one first");
  }
  Descriptor& descriptor = ring_[waited_ % options_.ring_entries];
  ++waited_;
  VFIO_USER_RETURN_IF_ERROR(WaitUntilWritten(descriptor));
  if (descriptor.status == kDone) return descriptor.result;
  const int error =
      descriptor.error > 0 && descriptor.error <= 4095 ? static_cast<int>(descriptor.error) : EIO;
  return ErrnoStatus(error, fmt::format("the device's {} of {:#x} bytes from {:#x} to {:#x}",
                                        NameOf(descriptor.opcode), descriptor.length,
                                        descriptor.source, descriptor.destination));
}

absl::Status DmaCopyDriver::WaitUntilWritten(Descriptor& descriptor) {
  const Deadline deadline = Deadline::In(options_.timeout);
  // What the device wrote before the status is there once the status is.
  std::atomic_ref<uint32_t> status(descriptor.status);
  while (status.load(std::memory_order_acquire) == kPending) {
    if (deadline.passed()) {
      return absl::DeadlineExceededError(fmt::format(
          "the device's {} of {:#x} bytes is not done after {}", NameOf(descriptor.opcode),
          descriptor.length, absl::FormatDuration(options_.timeout)));
    }
    const absl::Duration wait =
        std::min(kCheckInterval,
                 absl::Milliseconds(deadline.never() ? INT32_MAX : deadline.PollMilliseconds()));
    const absl::StatusOr<uint64_t> signalled = interrupt_.Wait(wait);
    if (signalled.ok()) continue;
    if (signalled.status().code() != absl::StatusCode::kDeadlineExceeded) return signalled.status();
    VFIO_USER_RETURN_IF_ERROR(IsBusy().status());
  }
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> DmaCopyDriver::Run(const DmaCopyOperation& operation) {
  if (in_flight() != 0) {
    return absl::FailedPreconditionError(
        fmt::format("{} operations are in flight: wait for them first", in_flight()));
  }
  VFIO_USER_RETURN_IF_ERROR(Submit(operation));
  return WaitForOldest();
}

absl::StatusOr<bool> DmaCopyDriver::IsBusy() const {
  VFIO_USER_ASSIGN_OR_RETURN(const uint32_t status, registers_.Read<uint32_t>(kStatusOffset));
  return (status & kBusy) != 0;
}

}  // namespace vfio_user
