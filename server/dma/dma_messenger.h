// Memory that is reached through its owner: DMA_READ and DMA_WRITE.
#ifndef SERVER_DMA_DMA_MESSENGER_H_
#define SERVER_DMA_DMA_MESSENGER_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "proto_defs/base/mutex.h"
#include "proto_defs/transport/channel.h"
#include "server/dma/dma_cancellation.h"
#include "server/dma_space.h"

namespace vfio_user {

// One client's. Thread-safe. A transfer blocks its thread, which may be reading the channel
// meanwhile, and holds no lock while it waits.
class DmaMessenger {
 public:
  struct Options {
    uint32_t max_data_bytes = 0;  // Of one message; not 0.
    absl::Duration timeout;       // Of one message, to be sent and answered.
  };

  // Messages, at least their answers, go over `channel`.
  DmaMessenger(std::shared_ptr<Channel> channel, const Options& options)
      : channel_(std::move(channel)), options_(options) {}
  DmaMessenger(const DmaMessenger&) = delete;
  DmaMessenger& operator=(const DmaMessenger&) = delete;

  // Many messages are in flight at once, and sent together, so that neither side waits for the
  // other between two of them. On an error the others are waited for: after the call returns,
  // nothing touches the pieces' memory. An answer that is not to the question is DataLoss, and
  // breaks the channel. Cancelled once `token` is; otherwise what the client answered, and
  // Channel's errors.
  absl::Status Read(std::span<const DmaReadPiece> pieces, const DmaCancellation::Token& token);
  absl::Status Write(std::span<const DmaWritePiece> pieces, const DmaCancellation::Token& token);

  // Wakes transfers whose token is cancelled. What they wait for is dropped when it comes.
  void CancelWaiting();

  // Breaks the channel.
  void Close(const absl::Status& reason) { channel_->Close(reason); }

 private:
  struct Exchange;
  class Flight;
  struct Waiting {
    PendingCall* call;
    DmaCancellation::Token token;
  };

  template <typename Direction>
  absl::Status Transfer(std::span<const typename Direction::Piece> pieces,
                        const DmaCancellation::Token& token);
  // Sends as many of the pieces that `next` deals out as there is room for in `flight`.
  template <typename Direction>
  absl::Status Fill(absl::FunctionRef<std::optional<typename Direction::Piece>()> next,
                    const DmaCancellation::Token& token, Flight& flight);
  void NoteWaiting(std::span<const Channel::Request> started, const DmaCancellation::Token& token);
  template <typename Direction>
  absl::Status Finish(Exchange& exchange);

  const std::shared_ptr<Channel> channel_;
  const Options options_;
  // One for all: a Status that the last of several threads deletes is a race to ThreadSanitizer,
  // which does not see how the distribution's Abseil counts its shares.
  const absl::Status cancelled_ = absl::CancelledError("DMA was cancelled");

  // Acquired before the channel's, never after.
  Mutex mu_;
  // All that a thread waits for, or is about to.
  std::vector<Waiting> waiting_ ABSL_GUARDED_BY(mu_);
};

}  // namespace vfio_user

#endif  // SERVER_DMA_DMA_MESSENGER_H_
