#include "server/dma/striped_mutex.h"

#include <atomic>

namespace vfio_user {
namespace {

// The stripe that this thread tries first: another than other threads', until there are too many.
size_t& HomeStripe() {
  static std::atomic<size_t> next = 0;
  thread_local size_t home = next.fetch_add(1, std::memory_order_relaxed) % StripedMutex::kStripes;
  return home;
}

}  // namespace

void StripedMutex::Lock() ABSL_NO_THREAD_SAFETY_ANALYSIS {
  for (Stripe& stripe : stripes_) stripe.mu.lock();
}

void StripedMutex::Unlock() ABSL_NO_THREAD_SAFETY_ANALYSIS {
  for (Stripe& stripe : stripes_) stripe.mu.unlock();
}

size_t StripedMutex::LockStripe() ABSL_NO_THREAD_SAFETY_ANALYSIS {
  size_t& home = HomeStripe();
  for (size_t i = 0; i < kStripes; ++i) {
    if (stripes_[home].mu.try_lock()) return home;
    home = (home + 1) % kStripes;  // Somebody else's too. It moves out.
  }
  stripes_[home].mu.lock();
  return home;
}

}  // namespace vfio_user
