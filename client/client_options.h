// How a Client connects, waits and trusts, and how it maps memory.
#ifndef CLIENT_CLIENT_OPTIONS_H_
#define CLIENT_CLIENT_OPTIONS_H_

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <variant>
#include <vector>

#include "absl/time/time.h"
#include "proto_defs/wire/iova.h"

namespace vfio_user {

// Who serves the device's DMA messages while no call of the application is waiting.
enum class DmaService {
  kBackgroundThread,  // A thread of the library.
  kPoll,              // The application, by calling Client::Poll() when poll_fd() is readable.
};

struct ClientOptions {
  // For connecting and negotiating together. A server that is busy with another client may leave
  // a new one without an answer.
  absl::Duration connect_timeout = absl::Seconds(5);
  // For each request. The device may be slow; after this the call returns DeadlineExceeded.
  absl::Duration reply_timeout = absl::Seconds(5);
  // What one message may carry, in bytes, in either direction; the server may ask for less.
  uint32_t max_data_xfer_bytes = 1 << 20;
  DmaService dma_service = DmaService::kBackgroundThread;
  // How long whoever waits for the server, the library's own thread among them, tries over and over
  // before it blocks. A register read then takes an eighth of the time if the server does the same
  // (ServerOptions), and a processor is busy meanwhile; after that time nothing is used. 0, or some
  // tens of microseconds to a millisecond where there are processors to spare.
  absl::Duration busy_poll = absl::ZeroDuration();
  // Users, besides this process's own and root, whose servers may be given /proc/self/mem, and
  // with it all of this process's memory: see DmaPath::kFileIo.
  std::vector<uid_t> trusted_uids = {};
};

// How the device's accesses reach the memory.
enum class DmaPath {
  // The best of those below that this memory, this server and the trust in it allow.
  kAuto,
  // The server maps the memory's file. No copy; only for memory that has a file (MapFile).
  kMmap,
  // The server reads and writes the memory through a descriptor: of its file if it has one, else
  // of /proc/self/mem. One copy, by the kernel. Whoever holds /proc/self/mem reaches *all* of this
  // process's memory, so only a trusted server gets it.
  kFileIo,
  // The server asks this library for each access, which is checked against the mapping: for any
  // memory, and for servers that are not trusted.
  kMessage,
};

// The bus address is the buffer's virtual address, so that a pointer can be given to the device as
// it stands.
struct IdentityIova {};

// The lowest bus address that is free for the whole mapping, in [first, first + length).
struct IovaWindow {
  Iova first{};
  uint64_t length = 0;        // In bytes.
  uint64_t alignment = 4096;  // In bytes, of the address that is chosen; a power of two.
};

using IovaChoice = std::variant<IdentityIova, Iova, IovaWindow>;

struct MapOptions {
  DmaPath path = DmaPath::kAuto;
  IovaChoice iova = IdentityIova{};
};

// Memory of this process that is also a file's: a memfd, a file in /dev/shm, hugetlb pages.
struct FileMemory {
  int fd = -1;          // Borrowed until MapFile returns.
  uint64_t offset = 0;  // Of the memory's first byte in the file, in bytes.
  // The caller's own shared mapping of that part of the file; it must outlive the DmaMapping.
  std::span<std::byte> memory = {};
};

}  // namespace vfio_user

#endif  // CLIENT_CLIENT_OPTIONS_H_
