#include "server/dma/client_dma_space.h"

#include <cerrno>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fmt/format.h"
#include "proto_defs/base/errno_status.h"
#include "proto_defs/base/status_macros.h"
#include "server/dma/client_memory.h"
#include "server/dma/dma_write_log.h"

namespace vfio_user {
namespace {

// Calls a function when it is destroyed; shared by those whose end it announces.
class Notice {
 public:
  explicit Notice(std::function<void()> then) : then_(std::move(then)) {}
  Notice(const Notice&) = delete;
  Notice& operator=(const Notice&) = delete;
  ~Notice() { then_(); }

 private:
  const std::function<void()> then_;
};

absl::Status NoClient() { return absl::UnavailableError("DMA: no client is connected"); }

}  // namespace

void ClientDmaSpace::Connect(std::shared_ptr<Channel> channel, uint32_t max_message_data_bytes,
                             const PeerCredentials& client) {
  auto all_released = std::make_shared<std::promise<void>>();
  all_released_ = all_released->get_future();
  MutexLock open_lock(open_mu_);
  pool_.set_client(options_.process_vm ? client : PeerCredentials{});
  MutexLock lock(mu_);
  messenger_ = std::make_shared<DmaMessenger>(
      std::move(channel), DmaMessenger::Options{.max_data_bytes = max_message_data_bytes,
                                                .timeout = options_.message_timeout});
  connection_ = std::make_shared<Notice>([all_released] { all_released->set_value(); });
}

absl::Status ClientDmaSpace::Map(const DmaMapRequest& request, std::vector<UniqueFd> fds) {
  const std::optional<Iova> last = LastByte(request.address, request.size);
  if (!last) {
    return ErrnoStatus(EINVAL, fmt::format("DMA_MAP: address {:#x} and size {:#x} are no range",
                                           ToU64(request.address), request.size));
  }
  MutexLock open_lock(open_mu_);
  std::shared_ptr<void> connection;
  {
    MutexLock lock(mu_);
    connection = connection_;
  }
  if (connection == nullptr) return NoClient();
  VFIO_USER_ASSIGN_OR_RETURN(DirectPath path, OpenDirectPath(request, std::move(fds), pool_));
  const auto memory =
      std::make_shared<ClientMemory>(request.flags, std::move(path), std::move(connection));

  MutexLock lock(mu_);
  if (connection_ != memory->connection()) return NoClient();
  if (table_.size() >= options_.max_maps) {
    return ErrnoStatus(ENOSPC, fmt::format("DMA_MAP: {} mappings already, want at most {}",
                                           table_.size(), options_.max_maps));
  }
  if (!table_.Insert({request.address, *last, memory})) {
    return ErrnoStatus(EEXIST, fmt::format("DMA_MAP: [{:#x}, +{:#x}) overlaps another mapping",
                                           ToU64(request.address), request.size));
  }
  return absl::OkStatus();
}

absl::Status ClientDmaSpace::Unmap(Iova address, uint64_t size, std::function<void()> released) {
  std::optional<std::shared_ptr<ClientMemory>> memory;
  if (const std::optional<Iova> last = LastByte(address, size)) {
    MutexLock lock(mu_);
    memory = table_.Remove(address, *last);
  }
  if (!memory) {
    return ErrnoStatus(
        ENOENT, fmt::format("DMA_UNMAP: [{:#x}, +{:#x}) is no mapping", ToU64(address), size));
  }
  (*memory)->NotifyWhenReleased(std::make_shared<Notice>(std::move(released)));
  return absl::OkStatus();
}

void ClientDmaSpace::UnmapAll(std::function<void()> released) {
  const std::shared_ptr<void> notice = std::make_shared<Notice>(std::move(released));
  std::vector<std::shared_ptr<ClientMemory>> memories;
  {
    MutexLock lock(mu_);
    memories = table_.RemoveAll();
  }
  for (const auto& memory : memories) memory->NotifyWhenReleased(notice);
}

void ClientDmaSpace::CancelTransfers() {
  cancellation_.Cancel();
  std::shared_ptr<DmaMessenger> messenger;
  {
    MutexLock lock(mu_);
    messenger = messenger_;
  }
  if (messenger != nullptr) messenger->CancelWaiting();
}

void ClientDmaSpace::Disconnect() {
  if (!all_released_.valid()) return;
  std::shared_ptr<DmaMessenger> messenger;
  std::shared_ptr<void> connection;
  std::vector<std::shared_ptr<ClientMemory>> memories;
  {
    MutexLock lock(mu_);
    messenger = std::move(messenger_);
    connection = std::move(connection_);
    memories = table_.RemoveAll();
  }
  cancellation_.CancelBegun();
  messenger->Close(absl::UnavailableError("the client is gone"));
  memories.clear();
  connection.reset();
  all_released_.get();
  write_log_.Stop();
}

size_t ClientDmaSpace::mapping_count() const {
  MutexLock lock(mu_);
  return table_.size();
}

absl::Status ClientDmaSpace::Read(std::span<const DmaReadPiece> pieces, DmaAccessPath path) {
  return Transfer<std::byte>(pieces, path);
}

absl::Status ClientDmaSpace::Write(std::span<const DmaWritePiece> pieces, DmaAccessPath path) {
  return Transfer<const std::byte>(pieces, path);
}

template <typename Byte>
absl::Status ClientDmaSpace::Transfer(std::span<const typename DmaTransfer<Byte>::Piece> pieces,
                                      DmaAccessPath path) {
  const DmaCancellation::Token token = cancellation_.Begin();
  if (token.cancelled()) return absl::CancelledError("DMA is cancelled");
  if (bus_mastering_.load(std::memory_order_relaxed) == BusMastering::kOff) {
    return ErrnoStatus(EPERM, "DMA: bus mastering is off, which the driver has to switch on");
  }
  // Destroyed last, and never with the lock: the memory it lets go of may be the last share.
  DmaTransfer<Byte> transfer;
  std::shared_ptr<DmaMessenger> messenger;
  {
    MutexLock lock(mu_);
    if (messenger_ == nullptr) return NoClient();
    for (const auto& piece : pieces) {
      VFIO_USER_RETURN_IF_ERROR(transfer.Add(table_, piece, path));
    }
    if (transfer.needs_messenger()) messenger = messenger_;
  }
  // Before `transfer` lets go of the memory: until then a DMA_UNMAP waits, which reads the log.
  std::optional<DmaWriteLog::Writing> writing;
  if constexpr (DmaTransfer<Byte>::kIsWrite) writing.emplace(write_log_, pieces);
  return transfer.Run(messenger.get(), token);
}

}  // namespace vfio_user
