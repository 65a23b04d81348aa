#include "server/dma/dma_messenger.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fmt/format.h"
#include "proto_defs/base/errno_status.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/transport/deadline.h"
#include "proto_defs/wire/command.h"
#include "proto_defs/wire/dma_access.h"
#include "proto_defs/wire/iova.h"
#include "proto_defs/wire/wire_writer.h"

namespace vfio_user {
namespace {

// Enough to keep the client busy while answers travel; more would only queue.
constexpr size_t kMaxInFlight = 8;

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
  DmaAccess access;
  std::vector<uint8_t> body;
  std::span<std::byte> reply_data;
  std::optional<PendingCall> call;
  Deadline deadline = Deadline::Never();
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
  std::array<Exchange, kMaxInFlight> ring;
  size_t started = 0;
  size_t finished = 0;
  absl::Status first_error;
  do {
    while (first_error.ok() && started - finished < ring.size()) {
      const auto piece = cutter.Next();
      if (!piece) break;
      first_error = Start<Direction>(*piece, token, ring[started % ring.size()]);
      if (first_error.ok()) ++started;
    }
    if (finished < started) {
      const absl::Status status = Finish<Direction>(ring[finished++ % ring.size()]);
      if (first_error.ok()) first_error = status;
    }
  } while (finished < started);
  return first_error;
}

template <typename Direction>
absl::Status DmaMessenger::Start(const typename Direction::Piece& piece,
                                 const DmaCancellation::Token& token, Exchange& exchange) {
  if (token.cancelled()) return absl::CancelledError("DMA was cancelled");
  exchange.access = {Direction::Address(piece), Direction::Bytes(piece).size()};
  exchange.body.clear();
  WireWriter out(exchange.body);
  exchange.access.AppendTo(out);
  exchange.reply_data = Direction::ReplyData(piece);
  exchange.call.emplace(DmaAccess::kBytes, std::span(&exchange.reply_data, 1));
  exchange.deadline = Deadline::In(options_.timeout);

  const std::span<const std::byte> data = Direction::RequestData(piece);
  VFIO_USER_RETURN_IF_ERROR(channel_->Start(
      Direction::kCommand, {.body = exchange.body, .payload = std::span(&data, 1), .fds = {}},
      *exchange.call, exchange.deadline));
  MutexLock lock(mu_);
  waiting_.push_back({&*exchange.call, token});
  // CancelWaiting may have run since the token was looked at.
  if (token.cancelled()) channel_->Cancel(*exchange.call, cancelled_);
  return absl::OkStatus();
}

template <typename Direction>
absl::Status DmaMessenger::Finish(Exchange& exchange) {
  const absl::Status replied = channel_->Wait(*exchange.call, exchange.deadline);
  {
    MutexLock lock(mu_);
    std::erase_if(waiting_, [&](const Waiting& one) { return one.call == &*exchange.call; });
  }
  const DmaAccess& asked = exchange.access;
  if (!replied.ok()) {
    return Annotate(replied, fmt::format("{} bytes at {:#x}", asked.count, ToU64(asked.address)));
  }
  const auto answered = Direction::Parse(exchange.call->body());
  absl::Status wrong;
  if (!answered.ok()) {
    wrong = absl::DataLossError(std::string(answered.status().message()));
  } else if (*answered != asked) {
    wrong = absl::DataLossError(fmt::format("{}: address {:#x} and count {}, want {:#x} and {}",
                                            Direction::kReply, ToU64(answered->address),
                                            answered->count, ToU64(asked.address), asked.count));
  } else if (exchange.call->scattered_bytes() != exchange.reply_data.size()) {
    wrong =
        absl::DataLossError(fmt::format("{}: data is {} bytes, want count, {}", Direction::kReply,
                                        exchange.call->scattered_bytes(), asked.count));
  }
  if (!wrong.ok()) channel_->Close(wrong);
  return wrong;
}

}  // namespace vfio_user
