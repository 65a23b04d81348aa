// A lock for what is read all the time by some threads, and changed now and then.
#ifndef SERVER_DMA_STRIPED_MUTEX_H_
#define SERVER_DMA_STRIPED_MUTEX_H_

#include <array>
#include <cstddef>
#include <mutex>

#include "absl/base/thread_annotations.h"

namespace vfio_user {

// Made of several locks, each on a cache line of its own: a reader takes one of them, which no
// other thread has as a rule, and a writer takes all. So readers on different processors share
// nothing that is written, not even the count of a reader-writer lock. Not to be taken twice by a
// thread.
class ABSL_LOCKABLE StripedMutex {
 public:
  static constexpr size_t kStripes = 8;  // More threads than this transfer rarely.

  StripedMutex() = default;
  StripedMutex(const StripedMutex&) = delete;
  StripedMutex& operator=(const StripedMutex&) = delete;

  // For writing.
  void Lock() ABSL_EXCLUSIVE_LOCK_FUNCTION();
  void Unlock() ABSL_UNLOCK_FUNCTION();

  // For reading. Returns the stripe, which is this thread's until it is unlocked: what belongs to
  // that stripe alone may be written too.
  size_t LockStripe() ABSL_SHARED_LOCK_FUNCTION();
  // The same for a certain one.
  void LockStripe(size_t stripe) ABSL_SHARED_LOCK_FUNCTION() { stripes_[stripe].mu.lock(); }
  void UnlockStripe(size_t stripe) ABSL_UNLOCK_FUNCTION() { stripes_[stripe].mu.unlock(); }

 private:
  struct alignas(64) Stripe {
    std::mutex mu;
  };

  std::array<Stripe, kStripes> stripes_;
};

class ABSL_SCOPED_LOCKABLE WriterLock {
 public:
  explicit WriterLock(StripedMutex& mu) ABSL_EXCLUSIVE_LOCK_FUNCTION(mu) : mu_(mu) { mu_.Lock(); }
  ~WriterLock() ABSL_UNLOCK_FUNCTION() { mu_.Unlock(); }
  WriterLock(const WriterLock&) = delete;
  WriterLock& operator=(const WriterLock&) = delete;

 private:
  StripedMutex& mu_;
};

class ABSL_SCOPED_LOCKABLE ReaderLock {
 public:
  explicit ReaderLock(StripedMutex& mu) ABSL_SHARED_LOCK_FUNCTION(mu)
      : mu_(mu), stripe_(mu.LockStripe()) {}
  ReaderLock(StripedMutex& mu, size_t stripe) ABSL_SHARED_LOCK_FUNCTION(mu)
      : mu_(mu), stripe_(stripe) {
    mu_.LockStripe(stripe);
  }
  ~ReaderLock() ABSL_UNLOCK_FUNCTION() { mu_.UnlockStripe(stripe_); }
  ReaderLock(const ReaderLock&) = delete;
  ReaderLock& operator=(const ReaderLock&) = delete;

  size_t stripe() const { return stripe_; }

 private:
  StripedMutex& mu_;
  const size_t stripe_;
};

}  // namespace vfio_user

#endif  // SERVER_DMA_STRIPED_MUTEX_H_
