// A BAR that is memory and nothing else.
#ifndef SERVER_DEVICES_BAR_MEMORY_H_
#define SERVER_DEVICES_BAR_MEMORY_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "proto_defs/base/mutex.h"

namespace vfio_user {

// All 0 at first. Accesses must be within it, which the server sees to, and may have any length and
// alignment. Thread-safe.
class BarMemory {
 public:
  explicit BarMemory(size_t bytes) : bytes_(bytes) {}

  void Read(uint64_t offset, std::span<std::byte> into) const {
    MutexLock lock(mu_);
    std::ranges::copy(std::span(bytes_).subspan(offset, into.size()), into.begin());
  }

  void Write(uint64_t offset, std::span<const std::byte> from) {
    MutexLock lock(mu_);
    std::ranges::copy(from, std::span(bytes_).subspan(offset, from.size()).begin());
  }

  void Clear() {
    MutexLock lock(mu_);
    std::ranges::fill(bytes_, std::byte{0});
  }

 private:
  mutable Mutex mu_;
  std::vector<std::byte> bytes_ ABSL_GUARDED_BY(mu_);
};

}  // namespace vfio_user

#endif  // SERVER_DEVICES_BAR_MEMORY_H_
