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
  const WriterLock lock(mu_);
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
    const ReaderLock lock(mu_);
    connection = connection_;
  }
  if (connection == nullptr) return NoClient();
  VFIO_USER_ASSIGN_OR_RETURN(DirectPath path, OpenDirectPath(request, std::move(fds), pool_));
  const auto memory =
      std::make_shared<ClientMemory>(request.flags, std::move(path), std::move(connection));

  const WriterLock lock(mu_);
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
    const WriterLock lock(mu_);
    memory = table_.Remove(address, *last);
    if (memory) KeepInUse(*memory);
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
    const WriterLock lock(mu_);
    memories = table_.RemoveAll();
    for (const auto& memory : memories) KeepInUse(memory);
  }
  for (const auto& memory : memories) memory->NotifyWhenReleased(notice);
}

void ClientDmaSpace::CancelTransfers() {
  cancellation_.Cancel();
  std::shared_ptr<DmaMessenger> messenger;
  {
    const ReaderLock lock(mu_);
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
    const WriterLock lock(mu_);
    messenger = std::move(messenger_);
    connection = std::move(connection_);
    memories = table_.RemoveAll();
    for (const auto& memory : memories) KeepInUse(memory);
  }
  cancellation_.CancelBegun();
  messenger->Close(absl::UnavailableError("the client is gone"));
  memories.clear();
  connection.reset();
  all_released_.get();
  write_log_.Stop();
}

size_t ClientDmaSpace::mapping_count() const {
  const ReaderLock lock(mu_);
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
  // Unmapped meanwhile, and maybe the last shares of it: dropped with no lock, at the very end.
  std::vector<std::shared_ptr<ClientMemory>> unmapped;
  DmaTransfer<Byte> transfer;
  std::shared_ptr<DmaMessenger> messenger;
  size_t stripe = 0;
  {
    const ReaderLock lock(mu_);
    if (messenger_ == nullptr) return NoClient();
    stripe = lock.stripe();
    if (path != DmaAccessPath::kMessage && MoveAtOnce<Byte>(stripe, pieces)) {
      return absl::OkStatus();
    }
    for (const auto& piece : pieces) {
      VFIO_USER_RETURN_IF_ERROR(transfer.Add(table_, lanes_[stripe].recent, piece, path));
    }
    if (transfer.needs_messenger()) messenger = messenger_;
    lanes_[stripe].uses.Begin(transfer.use());
  }
  absl::Status status = Run<Byte>(transfer, pieces, messenger.get(), token);
  if (lanes_[stripe].uses.EndAlone(transfer.use())) return status;
  const ReaderLock lock(mu_, stripe);
  unmapped = lanes_[stripe].uses.End(transfer.use());
  return status;
}

template <typename Byte>
bool ClientDmaSpace::MoveAtOnce(size_t stripe,
                                std::span<const typename DmaTransfer<Byte>::Piece> pieces) {
  if (pieces.size() != 1) return false;
  // What is logged has to be checked first.
  if (DmaTransfer<Byte>::kIsWrite && write_log_.on()) return false;
  if (!DmaTransfer<Byte>::MoveAtOnce(table_, lanes_[stripe].recent, pieces.front())) return false;
  // Logging may have begun meanwhile: see Writing.
  if constexpr (DmaTransfer<Byte>::kIsWrite) DmaWriteLog::Writing(write_log_, pieces);
  return true;
}

template <typename Byte>
absl::Status ClientDmaSpace::Run(const DmaTransfer<Byte>& transfer,
                                 std::span<const typename DmaTransfer<Byte>::Piece> pieces,
                                 DmaMessenger* messenger, const DmaCancellation::Token& token) {
  if constexpr (DmaTransfer<Byte>::kIsWrite) {
    // Over before the memory is let go of: until then a DMA_UNMAP waits, which reads the log.
    const DmaWriteLog::Writing writing(write_log_, pieces);
    return transfer.Run(messenger, token);
  } else {
    return transfer.Run(messenger, token);
  }
}

void ClientDmaSpace::KeepInUse(const std::shared_ptr<ClientMemory>& memory) {
  for (Lane& lane : lanes_) lane.uses.Keep(memory);
}

}  // namespace vfio_user
