#include "server/devices/dma_copy_registers.h"

#include <bit>
#include <cstring>

#include "fmt/format.h"
#include "proto_defs/base/status_macros.h"

namespace vfio_user {
namespace {

static_assert(std::endian::native == std::endian::little,
              "registers are copied as they lie in memory");

enum RegisterOffset : uint64_t {
  kMagic = 0x00,
  kRevision = 0x04,
  kStatus = 0x08,
  kRingIovaLow = 0x10,
  kRingIovaHigh = 0x14,
  kRingEntries = 0x18,
  kDoorbell = 0x1c,
  kConsumer = 0x20,
  kKick = DmaCopyRegisters::kKickOffset,
};

constexpr uint32_t kMagicValue = 0x59504344;
constexpr uint32_t kRevisionValue = 1;
constexpr uint32_t kStatusBusy = 1;

constexpr uint32_t kLeastRingEntries = 2;
constexpr uint32_t kMostRingEntries = 4096;

constexpr size_t kWordBytes = sizeof(uint32_t);

absl::Status CheckShape(uint64_t offset, size_t bytes) {
  if ((bytes == 4 || bytes == 8) && offset % bytes == 0) return absl::OkStatus();
  return absl::InvalidArgumentError(fmt::format(
      "dma-copy: {} bytes at {:#x} of BAR0, want 4 or 8 at a multiple of that", bytes, offset));
}

}  // namespace

absl::Status DmaCopyRegisters::Read(uint64_t offset, std::span<std::byte> into) const {
  VFIO_USER_RETURN_IF_ERROR(CheckShape(offset, into.size()));
  for (size_t at = 0; at < into.size(); at += kWordBytes) {
    const uint32_t word = ReadWord(offset + at);
    std::memcpy(into.data() + at, &word, kWordBytes);
  }
  return absl::OkStatus();
}

absl::Status DmaCopyRegisters::Write(uint64_t offset, std::span<const std::byte> from) {
  VFIO_USER_RETURN_IF_ERROR(CheckShape(offset, from.size()));
  // Both words or neither.
  DmaCopyRegisters after = *this;
  for (size_t at = 0; at < from.size(); at += kWordBytes) {
    uint32_t word = 0;
    std::memcpy(&word, from.data() + at, kWordBytes);
    VFIO_USER_RETURN_IF_ERROR(after.WriteWord(offset + at, word));
  }
  *this = after;
  return absl::OkStatus();
}

absl::StatusOr<DmaCopyRegisters> DmaCopyRegisters::Parse(WireReader& in) {
  const auto ring_iova = in.Read<uint64_t>();
  const auto ring_entries = in.Read<uint32_t>();
  const auto producer = in.Read<uint32_t>();
  const auto consumer = in.Read<uint32_t>();
  DmaCopyRegisters out(consumer);
  out.ring_iova_ = ring_iova;
  if (ring_entries != 0) VFIO_USER_RETURN_IF_ERROR(out.WriteRingEntries(ring_entries));
  if (producer != consumer) VFIO_USER_RETURN_IF_ERROR(out.SetDoorbell(producer));
  return out;
}

void DmaCopyRegisters::AppendTo(WireWriter& out) const {
  out.Write<uint64_t>(ring_iova_);
  out.Write<uint32_t>(ring_entries_);
  out.Write<uint32_t>(producer_);
  out.Write<uint32_t>(consumer_);
}

uint32_t DmaCopyRegisters::ReadWord(uint64_t offset) const {
  switch (offset) {
    case kMagic:
      return kMagicValue;
    case kRevision:
      return kRevisionValue;
    case kStatus:
      return busy() ? kStatusBusy : 0;
    case kRingIovaLow:
      return static_cast<uint32_t>(ring_iova_);
    case kRingIovaHigh:
      return static_cast<uint32_t>(ring_iova_ >> 32);
    case kRingEntries:
      return ring_entries_;
    case kDoorbell:
      return producer_;
    case kConsumer:
      return consumer_;
    default:
      return 0;
  }
}

absl::Status DmaCopyRegisters::WriteWord(uint64_t offset, uint32_t value) {
  if (offset == kDoorbell) return SetDoorbell(value);
  if (offset == kKick) return Kick(value);
  if (busy()) return absl::OkStatus();
  switch (offset) {
    case kRingIovaLow:
      ring_iova_ = (ring_iova_ >> 32 << 32) | value;
      return absl::OkStatus();
    case kRingIovaHigh:
      ring_iova_ = uint64_t{value} << 32 | static_cast<uint32_t>(ring_iova_);
      return absl::OkStatus();
    case kRingEntries:
      return WriteRingEntries(value);
    default:
      return absl::OkStatus();
  }
}

absl::Status DmaCopyRegisters::WriteRingEntries(uint32_t entries) {
  if (!std::has_single_bit(entries) || entries < kLeastRingEntries || entries > kMostRingEntries) {
    return absl::InvalidArgumentError(
        fmt::format("dma-copy: RING_ENTRIES is {}, want a power of two from {} to {}", entries,
                    kLeastRingEntries, kMostRingEntries));
  }
  ring_entries_ = entries;
  return absl::OkStatus();
}

absl::Status DmaCopyRegisters::SetDoorbell(uint32_t producer) {
  if (ring_entries_ == 0) {
    return absl::InvalidArgumentError("dma-copy: DOORBELL before RING_ENTRIES");
  }
  if (!LastByte(Iova{ring_iova_}, ring_entries_ * kDescriptorBytes)) {
    return absl::InvalidArgumentError(
        fmt::format("dma-copy: the ring at {:#x} passes the end of the address space", ring_iova_));
  }
  // Free running: the differences are right when the numbers have wrapped.
  const uint32_t pending = producer - consumer_;
  if (pending > ring_entries_ || pending < producer_ - consumer_) {
    return absl::InvalidArgumentError(fmt::format("dma-copy: DOORBELL is {}, want {} to {}",
                                                  producer, producer_, consumer_ + ring_entries_));
  }
  producer_ = producer;
  return absl::OkStatus();
}

absl::Status DmaCopyRegisters::Kick(uint64_t descriptors) {
  // Before it is cut to the 32 bits of an index.
  if (descriptors > ring_entries_) {
    return absl::InvalidArgumentError(
        fmt::format("dma-copy: {} descriptors more, want at most {}", descriptors, ring_entries_));
  }
  return SetDoorbell(producer_ + static_cast<uint32_t>(descriptors));
}

std::optional<Iova> DmaCopyRegisters::NextDescriptor() const {
  if (!busy()) return std::nullopt;
  return Iova{ring_iova_ + (consumer_ % ring_entries_) * kDescriptorBytes};
}

}  // namespace vfio_user
