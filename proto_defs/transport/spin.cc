#include "proto_defs/transport/spin.h"

#include <sched.h>

#if defined(__x86_64__) || defined(__i386__)
#include <immintrin.h>
#endif

namespace vfio_user {
namespace {

// Attempts between two sched_yield(). So many that they cost little where nobody else wants this
// processor, so few that two who spin on one processor pass it on sooner than blocking would.
constexpr unsigned kAttemptsPerYield = 4;

// Tells the processor that this is a loop, for the sake of its other hyperthread.
void Relax() {
#if defined(__x86_64__) || defined(__i386__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace

bool Spin::Again() {
  if (!on_ || until_.passed()) return on_ = false;
  if (++attempts_ % kAttemptsPerYield == 0) {
    ::sched_yield();
  } else {
    Relax();
  }
  return true;
}

}  // namespace vfio_user
