#include "server/devices/dma_copy_engine.h"

#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>

#include "absl/functional/function_ref.h"
#include "fmt/format.h"
#include "proto_defs/base/errno_status.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/wire/wire_reader.h"

namespace vfio_user {
namespace {

enum Opcode : uint32_t { kNop = 0, kCopy = 1, kFill = 2, kCrc32 = 3 };

constexpr uint32_t kFlagInterrupt = 1;
constexpr uint32_t kKnownFlags = kFlagInterrupt;

constexpr uint64_t kMostBytes = uint64_t{1} << 30;

// What is read before it is written. Large enough that the cost of a transfer is its bytes, small
// enough for a server of many devices.
constexpr uint64_t kChunkBytes = 1 << 20;

absl::Status CheckRange(std::string_view what, Iova start, uint64_t length) {
  if (length == 0 || LastByte(start, length).has_value()) return absl::OkStatus();
  return ErrnoStatus(EFAULT, fmt::format("dma-copy: {} {:#x} + {:#x}", what, ToU64(start), length));
}

Iova Advance(Iova start, uint64_t offset) { return Iova{ToU64(start) + offset}; }

// Calls `each` with the offset and length of one chunk after the other, until one fails.
absl::Status ForEachChunk(uint64_t length,
                          absl::FunctionRef<absl::Status(uint64_t, uint64_t)> each) {
  for (uint64_t offset = 0; offset < length; offset += kChunkBytes) {
    VFIO_USER_RETURN_IF_ERROR(each(offset, std::min(kChunkBytes, length - offset)));
  }
  return absl::OkStatus();
}

// The same chunks, the last one first.
absl::Status ForEachChunkBackwards(uint64_t length,
                                   absl::FunctionRef<absl::Status(uint64_t, uint64_t)> each) {
  uint64_t end = length;
  while (end > 0) {
    const uint64_t offset = (end - 1) / kChunkBytes * kChunkBytes;
    VFIO_USER_RETURN_IF_ERROR(each(offset, end - offset));
    end = offset;
  }
  return absl::OkStatus();
}

}  // namespace

bool DmaCopyDescriptor::interrupts() const { return (flags & kFlagInterrupt) != 0; }

DmaCopyDescriptor DmaCopyDescriptor::Parse(std::span<const uint8_t, kBytes> bytes) {
  WireReader in(bytes);
  DmaCopyDescriptor out;
  out.opcode = in.Read<uint32_t>();
  out.flags = in.Read<uint32_t>();
  out.source = in.Read<uint64_t>();
  out.destination = Iova{in.Read<uint64_t>()};
  out.length = in.Read<uint64_t>();
  return out;
}

absl::StatusOr<uint64_t> DmaCopyEngine::Run(const DmaCopyDescriptor& descriptor, DmaSpace& dma) {
  if ((descriptor.flags & ~kKnownFlags) != 0) {
    return absl::InvalidArgumentError(
        fmt::format("dma-copy: unknown bits in flags {:#x}", descriptor.flags));
  }
  if (descriptor.opcode == kNop) return 0;
  if (descriptor.length > kMostBytes) {
    return absl::InvalidArgumentError(fmt::format("dma-copy: length is {:#x}, want at most {:#x}",
                                                  descriptor.length, kMostBytes));
  }
  switch (descriptor.opcode) {
    case kCopy:
      VFIO_USER_RETURN_IF_ERROR(Copy(descriptor, dma));
      return 0;
    case kFill:
      VFIO_USER_RETURN_IF_ERROR(Fill(descriptor, dma));
      return 0;
    case kCrc32:
      return Crc32(descriptor, dma);
    default:
      return absl::InvalidArgumentError(
          fmt::format("dma-copy: unknown opcode {}", descriptor.opcode));
  }
}

absl::Status DmaCopyEngine::Copy(const DmaCopyDescriptor& descriptor, DmaSpace& dma) {
  const Iova from{descriptor.source};
  const Iova to = descriptor.destination;
  VFIO_USER_RETURN_IF_ERROR(CheckRange("source", from, descriptor.length));
  VFIO_USER_RETURN_IF_ERROR(CheckRange("destination", to, descriptor.length));
  const auto copy = [&](uint64_t offset, uint64_t bytes) -> absl::Status {
    const std::span<std::byte> buffer = Buffer(bytes);
    VFIO_USER_RETURN_IF_ERROR(dma.Read(Advance(from, offset), buffer));
    return dma.Write(Advance(to, offset), buffer);
  };
  // Nothing is written that is still to be read, whichever way the ranges overlap.
  return from < to ? ForEachChunkBackwards(descriptor.length, copy)
                   : ForEachChunk(descriptor.length, copy);
}

absl::Status DmaCopyEngine::Fill(const DmaCopyDescriptor& descriptor, DmaSpace& dma) {
  VFIO_USER_RETURN_IF_ERROR(CheckRange("destination", descriptor.destination, descriptor.length));
  const std::span<std::byte> buffer = Buffer(std::min(descriptor.length, kChunkBytes));
  constexpr size_t kPatternBytes = sizeof(descriptor.source);
  static_assert(kChunkBytes % kPatternBytes == 0, "each chunk starts with a whole pattern");
  for (size_t at = 0; at < buffer.size(); at += kPatternBytes) {
    std::memcpy(buffer.data() + at, &descriptor.source,
                std::min(kPatternBytes, buffer.size() - at));
  }
  return ForEachChunk(descriptor.length, [&](uint64_t offset, uint64_t bytes) {
    return dma.Write(Advance(descriptor.destination, offset), buffer.first(bytes));
  });
}

absl::StatusOr<uint64_t> DmaCopyEngine::Crc32(const DmaCopyDescriptor& descriptor, DmaSpace& dma) {
  const Iova from{descriptor.source};
  VFIO_USER_RETURN_IF_ERROR(CheckRange("source", from, descriptor.length));
  uLong crc = ::crc32(0, nullptr, 0);
  const auto add = [&](uint64_t offset, uint64_t bytes) -> absl::Status {
    const std::span<std::byte> buffer = Buffer(bytes);
    VFIO_USER_RETURN_IF_ERROR(dma.Read(Advance(from, offset), buffer));
    crc = ::crc32(crc, reinterpret_cast<const Bytef*>(buffer.data()),
                  static_cast<uInt>(buffer.size()));
    return absl::OkStatus();
  };
  VFIO_USER_RETURN_IF_ERROR(ForEachChunk(descriptor.length, add));
  return crc;
}

std::span<std::byte> DmaCopyEngine::Buffer(uint64_t bytes) {
  if (buffer_.empty()) buffer_.resize(kChunkBytes);
  return std::span(buffer_).first(bytes);
}

}  // namespace vfio_user
