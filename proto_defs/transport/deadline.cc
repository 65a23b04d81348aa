#include "proto_defs/transport/deadline.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <limits>

#include "absl/time/time.h"

namespace vfio_user {
namespace {

// Far enough to mean never, near enough that adding it to now() cannot overflow.
constexpr absl::Duration kLongest = absl::Hours(24 * 365 * 100);

}  // namespace

Deadline Deadline::In(absl::Duration timeout) {
  if (timeout > kLongest) return Never();
  const absl::Duration bounded = std::max(timeout, absl::ZeroDuration());
  return Deadline(std::chrono::steady_clock::now() + absl::ToChronoNanoseconds(bounded));
}

absl::Duration Deadline::TimeLeft() const {
  if (never()) return absl::InfiniteDuration();
  if (past()) return absl::ZeroDuration();
  return std::max(absl::FromChrono(at_ - std::chrono::steady_clock::now()), absl::ZeroDuration());
}

int Deadline::PollMilliseconds() const {
  if (never()) return -1;
  if (past()) return 0;
  const auto left =
      std::chrono::ceil<std::chrono::milliseconds>(at_ - std::chrono::steady_clock::now());
  constexpr int64_t kMost = std::numeric_limits<int>::max();
  return static_cast<int>(std::clamp<int64_t>(left.count(), 0, kMost));
}

timeval Deadline::SocketTimeout() const {
  if (never()) return {};
  constexpr absl::Duration kLeast = absl::Microseconds(1);
  return absl::ToTimeval(std::max(absl::Ceil(TimeLeft(), kLeast), kLeast));
}

}  // namespace vfio_user
