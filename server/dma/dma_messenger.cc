#include "server/dma/dma_messenger.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "absl/container/inlined_vector.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fmt/format.h"
#include "proto_defs/base/errno_status.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/transport/deadline.h"
#include "proto_defs/wire/command.h"
#include "proto_defs/wire/dma_access.h"
#include "proto_defs/wire/iova.h"

namespace vfio_user {
namespace {

// What one transfer has in flight, in messages and in bytes of data; the last message may pass the
// bytes. Enough to keep the client busy while answers travel; more would only queue.
constexpr size_t kMaxInFlight = 64;
constexpr size_t kMaxBytesInFlight = 128 << 10;
constexpr size_t kMaxLongInFlight = 4;  // Messages of the longest kind, where that is more.
// What is sent together, in bytes of data, the last message not counted: it costs both sides less
// than as many messages one by one, and others that send wait for it.
constexpr size_t kMaxBytesTogether = 64 << 10;

struct ReadDirection {
  using Piece = DmaReadPiece;
  static constexpr Command kCommand = Command::kDmaRead;
  static constexpr std::string_view kReply = "DMA_READ reply";

  static Iova Address(const Piece& piece) { return piece.from; }
  static std::span<std::byte> Bytes(const Piece& piece) { return piece.into; }
  static std::span<std::byte> ReplyData(const Piece& piece) { return piece.into; }
  static std::span<const std::byte> RequestData(const Piece&) { return {}; }
  static absl::StatusOr<DmaAccess> Parse(std::span<const uint8_t> reply) {
    return DmaAccess::Parse(reply, kReply);
  }
};

struct WriteDirection {
  using Piece = DmaWritePiece;
  static constexpr Command kCommand = Command::kDmaWrite;
  static constexpr std::string_view kReply = "DMA_WRITE reply";

  static Iova Address(const Piece& piece) { return piece.to; }
  static std::span<const std::byte> Bytes(const Piece& piece) { return piece.from; }
  static std::span<std::byte> ReplyData(const Piece&) { return {}; }
  static std::span<const std::byte> RequestData(const Piece& piece) { return piece.from; }
  static absl::StatusOr<DmaAccess> Parse(std::span<const uint8_t> reply) {
    return DmaAccess::ParseWriteReply(reply);
  }
};

// Deals out pieces in parts that fit a message.
template <typename Direction>
class MessageCutter {
 public:
  using Piece = typename Direction::Piece;

  MessageCutter(std::span<const Piece> pieces, size_t max_bytes)
      : pieces_(pieces), max_bytes_(max_bytes) {}

  // nullopt after the last.
  std::optional<Piece> Next() {
    while (!pieces_.empty() && done_ == Direction::Bytes(pieces_.front()).size()) {
      pieces_ = pieces_.subspan(1);
      done_ = 0;
    }
    if (pieces_.empty()) return std::nullopt;
    const auto bytes = Direction::Bytes(pieces_.front());
    const Iova at{ToU64(Direction::Address(pieces_.front())) + done_};
    const size_t count = std::min(max_bytes_, bytes.size() - done_);
    const size_t begin = done_;
    done_ += count;
    return Piece{at, bytes.subspan(begin, count)};
  }

 private:
  std::span<const Piece> pieces_;  // Beginning with the one that is being dealt out.
  const size_t max_bytes_;
  size_t done_ = 0;  // Of the first piece, in bytes.
};

}  // namespace

// A message on its way, until its reply has come.
struct DmaMessenger::Exchange {
  Exchange(const DmaAccess& asked, std::span<const std::byte> request, std::span<std::byte> reply,
           Deadline answer_by)
      : access(asked),
        body(asked.ToBytes()),
        request_data(request),
        reply_data(reply),
        deadline(answer_by) {}

  const DmaAccess access;
  const std::array<uint8_t, DmaAccess::kBytes> body;
  const std::span<const std::byte> request_data;
  const std::span<std::byte> reply_data;
  PendingCall call{DmaAccess::kBytes, std::span(&reply_data, 1)};
  const Deadline deadline;
};

// What one transfer has in flight, in the order in which it was sent.
class DmaMessenger::Flight {
 public:
  explicit Flight(size_t max_data_bytes)
      : max_bytes_(std::max(kMaxBytesInFlight, kMaxLongInFlight * max_data_bytes)) {}

  bool empty() const { return oldest_ == end_; }
  bool HasRoom() const { return end_ - oldest_ < kMaxInFlight && bytes_ < max_bytes_; }
  bool IsHalfEmpty() const {
    return end_ - oldest_ <= kMaxInFlight / 2 && bytes_ <= max_bytes_ / 2;
  }

  // Only with room.
  template <typename Direction>
  Exchange& Add(const typename Direction::Piece& piece, Deadline deadline) {
    const DmaAccess access = {Direction::Address(piece), Direction::Bytes(piece).size()};
    bytes_ += access.count;
    return ring_[end_++ % kMaxInFlight].emplace(access, Direction::RequestData(piece),
                                                Direction::ReplyData(piece), deadline);
  }
  Exchange& oldest() { return *ring_[oldest_ % kMaxInFlight]; }
  void DropOldest() { bytes_ -= ring_[oldest_++ % kMaxInFlight]->access.count; }
  void DropNewest() { bytes_ -= ring_[--end_ % kMaxInFlight]->access.count; }

 private:
  const size_t max_bytes_;
  std::array<std::optional<Exchange>, kMaxInFlight> ring_;
  size_t oldest_ = 0;
  size_t end_ = 0;
  size_t bytes_ = 0;
};

absl::Status DmaMessenger::Read(std::span<const DmaReadPiece> pieces,
                                const DmaCancellation::Token& token) {
  return Transfer<ReadDirection>(pieces, token);
}

absl::Status DmaMessenger::Write(std::span<const DmaWritePiece> pieces,
                                 const DmaCancellation::Token& token) {
  return Transfer<WriteDirection>(pieces, token);
}

void DmaMessenger::CancelWaiting() {
  MutexLock lock(mu_);
  for (const Waiting& waiting : waiting_) {
    if (waiting.token.cancelled()) channel_->Cancel(*waiting.call, cancelled_);
  }
}

template <typename Direction>
absl::Status DmaMessenger::Transfer(std::span<const typename Direction::Piece> pieces,
                                    const DmaCancellation::Token& token) {
  MessageCutter<Direction> cutter(pieces, options_.max_data_bytes);
  Flight flight(options_.max_data_bytes);
  absl::Status result;
  do {
    if (result.ok() && flight.IsHalfEmpty()) {
      result = Fill<Direction>([&cutter] { return cutter.Next(); }, token, flight);
    }
    if (flight.empty()) continue;
    result.Update(Finish<Direction>(flight.oldest()));
    flight.DropOldest();
  } while (!flight.empty());
  return result;
}

template <typename Direction>
absl::Status DmaMessenger::Fill(absl::FunctionRef<std::optional<typename Direction::Piece>()> next,
                                const DmaCancellation::Token& token, Flight& flight) {
  while (flight.HasRoom()) {
    if (token.cancelled()) return absl::CancelledError("DMA was cancelled");
    const Deadline deadline = Deadline::In(options_.timeout);
    absl::InlinedVector<Channel::Request, 4> batch;
    size_t bytes = 0;
    while (flight.HasRoom() && bytes < kMaxBytesTogether) {
      const auto piece = next();
      if (!piece) break;
      Exchange& one = flight.Add<Direction>(*piece, deadline);
      bytes += one.request_data.size();
      batch.push_back({.command = Direction::kCommand,
                       .content = {.body = one.body, .payload = {&one.request_data, 1}, .fds = {}},
                       .call = &one.call});
    }
    if (batch.empty()) return absl::OkStatus();
    const absl::Status started = channel_->StartMany(batch, deadline);
    if (!started.ok()) {
      for (size_t i = 0; i < batch.size(); ++i) flight.DropNewest();
      return started;
    }
    NoteWaiting(batch, token);
  }
  return absl::OkStatus();
}

void DmaMessenger::NoteWaiting(std::span<const Channel::Request> started,
                               const DmaCancellation::Token& token) {
  MutexLock lock(mu_);
  for (const Channel::Request& request : started) waiting_.push_back({request.call, token});
  // CancelWaiting may have run since the token was looked at.
  if (!token.cancelled()) return;
  for (const Channel::Request& request : started) channel_->Cancel(*request.call, cancelled_);
}

template <typename Direction>
absl::Status DmaMessenger::Finish(Exchange& exchange) {
  const absl::Status replied = channel_->Wait(exchange.call, exchange.deadline);
  {
    MutexLock lock(mu_);
    std::erase_if(waiting_, [&](const Waiting& one) { return one.call == &exchange.call; });
  }
  const DmaAccess& asked = exchange.access;
  if (!replied.ok()) {
    return Annotate(replied, fmt::format("{} bytes at {:#x}", asked.count, ToU64(asked.address)));
  }
  const auto answered = Direction::Parse(exchange.call.body());
  absl::Status wrong;
  if (!answered.ok()) {
    wrong = absl::DataLossError(std::string(answered.status().message()));
  } else if (*answered != asked) {
    wrong = absl::DataLossError(fmt::format("{}: address {:#x} and count {}, want {:#x} and {}",
                                            Direction::kReply, ToU64(answered->address),
                                            answered->count, ToU64(asked.address), asked.count));
  } else if (exchange.call.scattered_bytes() != exchange.reply_data.size()) {
    wrong =
        absl::DataLossError(fmt::format("{}: data is {} bytes, want count, {}", Direction::kReply,
                                        exchange.call.scattered_bytes(), asked.count));
  }
  if (!wrong.ok()) channel_->Close(wrong);
  return wrong;
}

}  // namespace vfio_user
