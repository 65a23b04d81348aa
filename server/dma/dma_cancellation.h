// How transfers are told to stop.
#ifndef SERVER_DMA_DMA_CANCELLATION_H_
#define SERVER_DMA_DMA_CANCELLATION_H_

#include <atomic>
#include <cstdint>

namespace vfio_user {

// Thread-safe; no call blocks.
class DmaCancellation {
 public:
  // Held by one transfer from its begin to its end. Outlived by the DmaCancellation.
  class Token {
   public:
    // Whether the transfer is to stop; once true, always true.
    bool cancelled() const {
      return began_ % 2 != 0 || state_->load(std::memory_order_acquire) != began_;
    }

   private:
    friend class DmaCancellation;
    explicit Token(const std::atomic<uint64_t>& state) : state_(&state), began_(state.load()) {}

    const std::atomic<uint64_t>* state_;
    uint64_t began_;
  };

  Token Begin() const { return Token(state_); }

  // Cancels every transfer that has begun, and each that begins until Resume.
  void Cancel() { state_.fetch_or(1); }
  // Those that had begun before Cancel stay cancelled, even if they have not noticed yet.
  void Resume() {
    uint64_t state = state_.load();
    while (state % 2 != 0 && !state_.compare_exchange_weak(state, state + 1)) {
    }
  }

  // Cancels every transfer that has begun, and none that begins.
  void CancelBegun() { state_.fetch_add(2); }

 private:
  // Odd while cancelled; never the same again.
  std::atomic<uint64_t> state_{0};
};

}  // namespace vfio_user

#endif  // SERVER_DMA_DMA_CANCELLATION_H_
