// The memory that one client after another lends to a device.
#ifndef SERVER_DMA_CLIENT_DMA_SPACE_H_
#define SERVER_DMA_CLIENT_DMA_SPACE_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <future>
#include <memory>
#include <span>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "proto_defs/base/mutex.h"
#include "proto_defs/transport/channel.h"
#include "proto_defs/transport/socket.h"
#include "proto_defs/transport/unique_fd.h"
#include "proto_defs/wire/dma_map.h"
#include "proto_defs/wire/iova.h"
#include "server/dma/dma_cancellation.h"
#include "server/dma/dma_messenger.h"
#include "server/dma/dma_transfer.h"
#include "server/dma/dma_write_log.h"
#include "server/dma/file_pool.h"
#include "server/dma/memory_use.h"
#include "server/dma/striped_mutex.h"
#include "server/dma_space.h"

namespace vfio_user {

enum class BusMastering { kOff, kOn };

// Thread-safe, but for Connect and Disconnect, which take turns. Only transfers and Disconnect
// block, and no lock is held while they do.
class ClientDmaSpace final : public DmaSpace {
 public:
  struct Options {
    uint32_t max_maps = 65535;                          // Mappings of one client.
    absl::Duration message_timeout = absl::Seconds(5);  // For the answer to a DMA message.
    bool process_vm = true;  // Long and scattered file I/O by ProcessMemory, where there is one.
  };

  explicit ClientDmaSpace(const Options& options) : options_(options) {}
  // No transfer may begin any more.
  ~ClientDmaSpace() override { Disconnect(); }
  ClientDmaSpace(const ClientDmaSpace&) = delete;
  ClientDmaSpace& operator=(const ClientDmaSpace&) = delete;

  // A client came, where there was none. DMA messages go over `channel`, with at most
  // `max_message_data_bytes` (not 0) of data each; somebody must read the channel, if not the
  // waiting transfers themselves. `client` is whose process may lend its memory, if that is known.
  void Connect(std::shared_ptr<Channel> channel, uint32_t max_message_data_bytes,
               const PeerCredentials& client = {});

  // Lends the device what `request`, which Parse accepted, describes. InvalidArgument (EINVAL) and
  // more, see OpenDirectPath; AlreadyExists (EEXIST) where it overlaps another mapping,
  // ResourceExhausted (ENOSPC) for one too many, Unavailable without a client. On error, no change.
  absl::Status Map(const DmaMapRequest& request, std::vector<UniqueFd> fds);

  // Takes back the mapping with exactly this range, or NotFound (ENOENT) and nothing else. No
  // transfer that begins now finds it; those that found it go on. `released` is called once, with
  // no lock held, when none uses it any more and its descriptor is closed: before this returns, or
  // else on the thread of the last such transfer. Does not wait for them: their messages may need
  // the calling thread to be read.
  absl::Status Unmap(Iova address, uint64_t size, std::function<void()> released);
  // The same for all mappings, also when there are none.
  void UnmapAll(std::function<void()> released);

  // Until ResumeTransfers, new transfers are Cancelled, and those under way end with Cancelled as
  // soon as they can: after some milliseconds, or with the answer to a message where the waiting
  // thread itself reads the channel.
  void CancelTransfers();
  void ResumeTransfers() { cancellation_.Resume(); }

  // The client went. Breaks the channel, ends the transfers under way (Cancelled or Unavailable),
  // waits for them, and has then let go of everything that was the client's; each `released` that
  // was still owed has been called. Nothing if there is no client. Not during a transfer of the
  // calling thread.
  void Disconnect();

  // Whether the device may transfer at all: it may from the start. Where it may not, new transfers
  // are PermissionDenied (EPERM); those that have begun go on.
  void SwitchBusMastering(BusMastering state) { bus_mastering_ = state; }

  size_t mapping_count() const;

  // Where writes are logged, on whichever path, while a client has that on. Off after Disconnect.
  DmaWriteLog& write_log() { return write_log_; }

  using DmaSpace::Read;
  using DmaSpace::Write;
  absl::Status Read(std::span<const DmaReadPiece> pieces, DmaAccessPath path) override;
  absl::Status Write(std::span<const DmaWritePiece> pieces, DmaAccessPath path) override;

 private:
  // What belongs to a stripe of mu_, for whoever has that.
  struct alignas(64) Lane {
    ClientMemoryTable::Recent recent;
    MemoryUses uses;
  };

  template <typename Byte>
  absl::Status Transfer(std::span<const typename DmaTransfer<Byte>::Piece> pieces,
                        DmaAccessPath path);
  // The whole transfer, if it is as DmaTransfer::MoveAtOnce wants it.
  template <typename Byte>
  bool MoveAtOnce(size_t stripe, std::span<const typename DmaTransfer<Byte>::Piece> pieces)
      ABSL_SHARED_LOCKS_REQUIRED(mu_);
  template <typename Byte>
  absl::Status Run(const DmaTransfer<Byte>& transfer,
                   std::span<const typename DmaTransfer<Byte>::Piece> pieces,
                   DmaMessenger* messenger, const DmaCancellation::Token& token);
  // Transfers that use it may go on, and release it in the end.
  void KeepInUse(const std::shared_ptr<ClientMemory>& memory) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const Options options_;
  DmaWriteLog write_log_;
  DmaCancellation cancellation_;
  std::atomic<BusMastering> bus_mastering_ = BusMastering::kOn;

  // Held while a descriptor is looked at and mapped. Before mu_, never after.
  Mutex open_mu_;
  FilePool pool_ ABSL_GUARDED_BY(open_mu_);

  // Held for a few lookups and to copy some bytes, never across a system call on a client's file.
  // Before the write log's.
  mutable StripedMutex mu_;
  std::array<Lane, StripedMutex::kStripes> lanes_;
  ClientMemoryTable table_ ABSL_GUARDED_BY(mu_);
  // nullptr without a client.
  std::shared_ptr<DmaMessenger> messenger_ ABSL_GUARDED_BY(mu_);
  // A share of it is in all memory of the client: when the last is dropped, all_released_ is set.
  std::shared_ptr<void> connection_ ABSL_GUARDED_BY(mu_);
  std::future<void> all_released_;  // Connect's and Disconnect's.
};

}  // namespace vfio_user

#endif  // SERVER_DMA_CLIENT_DMA_SPACE_H_
