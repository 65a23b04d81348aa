// Lends memory to the device, by the best path there is.
#ifndef CLIENT_DMA_MAPPER_H_
#define CLIENT_DMA_MAPPER_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/client_options.h"
#include "client/dirty_pages.h"
#include "client/dma/dma_table.h"
#include "client/dma/live_mappings.h"
#include "client/dma/self_memory.h"
#include "client/dma_mapping.h"
#include "client/session/session.h"
#include "proto_defs/transport/unique_fd.h"
#include "proto_defs/wire/dma_map.h"
#include "proto_defs/wire/iova.h"

namespace vfio_user {

// The ladder: with kAuto, each path that is possible is asked for in turn, best first, until the
// server takes one:
//   mmap     a descriptor and no mode bit, for memory that has a file. A server from before the
//            mode bits knows only this form, and a newer one takes it for the same.
//   file-io  a descriptor and the bit, whose offset is an address: of the memory's own file, else
//            of /proc/self/mem, if the server may have that.
//   message  no descriptor.
// Nothing announces file I/O. A server that does not know it answers EINVAL, as it does to much
// else; so it is taken for unknown, and not tried again by kAuto, only once the same mapping was
// taken by message.
//
// A range is in the session's table before the server is told of it: it may use it before its reply
// is here. It leaves the table after the server let go. Thread-safe.
class DmaMapper : public std::enable_shared_from_this<DmaMapper> {
 public:
  // `may_lend_memory` is what peer_trust.h says of the server.
  static std::shared_ptr<DmaMapper> Create(std::shared_ptr<Session> session,
                                           absl::Status may_lend_memory);

  // See Client.
  absl::StatusOr<DmaMapping> Map(std::span<std::byte> memory, const MapOptions& options);
  absl::StatusOr<DmaMapping> Map(std::span<const std::byte> memory, const MapOptions& options);
  absl::StatusOr<DmaMapping> MapFile(const FileMemory& memory, const MapOptions& options);
  absl::StatusOr<std::vector<DmaMapping>> MapMany(std::span<const std::span<std::byte>> buffers,
                                                  const MapOptions& options);
  absl::Status UnmapAll();

  // A part of the address space itself, at its own addresses, by file I/O.
  absl::StatusOr<DmaMapping> MapAddresses(const IovaRange& range, DmaMapFlags access);

  const std::shared_ptr<Session>& session() const { return session_; }
  const LiveMappings& live() const { return live_; }

 private:
  friend class DmaMapping;

  // Memory, and the file that it is too, if any.
  struct Lent {
    DmaMemory memory;
    const FileMemory* file = nullptr;
  };
  // One way to ask for a mapping.
  struct Rung {
    DmaPath path = DmaPath::kMessage;
    DmaMapFlags mode;  // Besides the access.
    FdView fd = FdView(-1);
    uint64_t file_offset = 0;
  };
  using Ladder = absl::InlinedVector<Rung, 3>;

  DmaMapper(std::shared_ptr<Session> session, absl::Status may_lend_memory)
      : session_(std::move(session)), may_lend_memory_(std::move(may_lend_memory)) {}

  absl::StatusOr<DmaMapping> MapLent(const Lent& lent, const MapOptions& options);
  // Memory of many that has its bus address, and a path once it is mapped.
  struct Placed {
    Iova iova{};
    DmaMemory memory;
    std::optional<DmaPath> path;
  };
  // On an error `placed` has those that are in the table.
  absl::Status Place(std::span<const std::span<std::byte>> buffers, const IovaChoice& choice,
                     std::vector<Placed>& placed);
  absl::Status MapPlaced(std::span<Placed> placed, DmaPath path);
  // Those that are not mapped, by one path; an error only where the connection is gone.
  absl::Status MapAlike(DmaPath path, std::span<Placed> placed);

  // ResourceExhausted where the server takes less than `count` more.
  absl::Status CheckRoom(size_t count) const;
  absl::StatusOr<Iova> Insert(const DmaMemory& memory, const IovaChoice& choice);

  // What may be asked for, best first; never empty.
  absl::StatusOr<Ladder> LadderFor(const Lent& lent, DmaPath path);
  absl::StatusOr<Rung> MmapRung(const Lent& lent) const;
  absl::StatusOr<Rung> FileIoRung(const Lent& lent);

  absl::StatusOr<DmaPath> Climb(const Ladder& ladder, Iova iova, const DmaMemory& memory);
  static DmaMapRequest RequestFor(const Rung& rung, Iova iova, const DmaMemory& memory);
  absl::Status Ask(const Rung& rung, Iova iova, const DmaMemory& memory);

  absl::Status Unmap(LiveMappings::Id id);
  // The page size of the log in bytes. FailedPrecondition without one.
  absl::StatusOr<uint64_t> CheckLogging() const;
  // Marks what the device wrote in `pages`.
  absl::Status UnmapAndReport(LiveMappings::Id id, uint64_t log_page_size, DirtyPages& pages);
  absl::Status UnmapAtServer(const LiveMapping& mapping);
  absl::Status UnmapAtServer(const LiveMapping& mapping, uint64_t log_page_size, DirtyPages& pages);
  void Forget(LiveMappings::Id id, const LiveMapping& mapping);

  const std::shared_ptr<Session> session_;
  const absl::Status may_lend_memory_;
  SelfMemory self_memory_;
  LiveMappings live_;
  // A server that has taken file I/O once knows it, whatever it refuses later.
  std::atomic<bool> file_io_known_ = false;
  std::atomic<bool> file_io_unknown_ = false;
};

}  // namespace vfio_user

#endif  // CLIENT_DMA_MAPPER_H_
