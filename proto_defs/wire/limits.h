// Every bound of the protocol, in one place: its value, its unit, and why that number.
#ifndef PROTO_DEFS_WIRE_LIMITS_H_
#define PROTO_DEFS_WIRE_LIMITS_H_

#include <cstddef>
#include <cstdint>

namespace vfio_user {

// Bytes of a message header. Source: QEMU docs/interop/vfio-user.rst, "Header".
inline constexpr uint32_t kHeaderBytes = 16;

// The most descriptors that the kernel passes with one message (SCM_MAX_FD).
inline constexpr size_t kMaxFdsPerMessage = 253;

// The highest errno that fits a reply: Linux keeps numbers above it for itself (MAX_ERRNO).
inline constexpr uint32_t kMaxWireErrno = 4095;

// Capabilities that hold when VERSION does not name them. Source: the specification's table of
// capabilities.
inline constexpr uint64_t kDefaultMaxMsgFds = 1;
inline constexpr uint64_t kDefaultMaxDataXferBytes = 1 << 20;
inline constexpr uint64_t kDefaultMaxDmaMaps = 65535;
inline constexpr uint64_t kDefaultPageSizes = 4096;

// What a peer may ask for at most. QEMU gives up above 16 descriptors; libvfio-user takes 1,024.
inline constexpr uint64_t kMaxAdvertisedMsgFds = 1024;
// QEMU's bound. Above it a peer would be naming how much of our memory one message may take.
inline constexpr uint64_t kMaxAdvertisedDataXferBytes = 64 << 20;

// Bytes of VERSION's JSON that are read at all: real ones have about 200.
inline constexpr size_t kMaxVersionDataBytes = 4096;

// The bytes of a message beyond its data: the header, and the largest fixed part that comes
// before data of a peer's choice (REGION_WRITE, DMA_WRITE: 16; the rest rounds up).
inline constexpr uint32_t kMessageOverheadBytes = kHeaderBytes + 48;

// The largest message when both sides keep to the default transfer size.
inline constexpr uint32_t kDefaultMaxMessageBytes =
    static_cast<uint32_t>(kDefaultMaxDataXferBytes) + kMessageOverheadBytes;

// Bytes of data in one message to a server. libvfio-user reads a body with one recv(), and a UNIX
// socket queues data in pieces of about 36 KiB, so that a larger one may reach it in part, which it
// takes for an error (see ARCHITECTURE.md).
inline constexpr uint32_t kSafeWriteBytes = 32 << 10;

// Bytes of data in one DMA message to a client without a twin socket. QEMU does not wait for room
// when it sends: of a reply that the socket queues in several pieces it may send the first and
// forget the rest. One of this size is one piece, which is queued whole or is sent again.
inline constexpr uint32_t kSafeDmaMessageBytes = 32 << 10;

// Regions and interrupt types that a client looks at. QEMU's bounds; a PCI device has 9 and 5.
inline constexpr uint32_t kMaxRegions = 100;
inline constexpr uint32_t kMaxIrqTypes = 50;

// Bytes of the longest region description (a sparse list of 4,000 areas) and of the longest list
// of doorbell descriptors that a client fetches.
inline constexpr uint32_t kMaxRegionInfoBytes = 64 << 10;

// Vectors of one interrupt type: what an MSI-X table can hold.
inline constexpr uint32_t kMaxIrqVectors = 2048;

// Data of one entry of REGION_WRITE_MULTI, in bytes, and entries in a message (QEMU sends 200).
inline constexpr uint32_t kWriteMultiDataBytes = 8;
inline constexpr uint64_t kMaxWriteMultiEntries = 4096;

}  // namespace vfio_user

#endif  // PROTO_DEFS_WIRE_LIMITS_H_
