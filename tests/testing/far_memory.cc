#include "tests/testing/far_memory.h"

#include <sys/mman.h>

namespace vfio_user {

std::span<std::byte> MapFarMemory(size_t bytes) {
  constexpr int kProtection = PROT_READ | PROT_WRITE;
  constexpr int kFlags = MAP_PRIVATE | MAP_ANONYMOUS;
  void* const usual = ::mmap(nullptr, bytes, kProtection, kFlags, -1, 0);
  if (usual == MAP_FAILED) return {};
  ::munmap(usual, bytes);
  // The kernel takes the highest place that fits, and there is much room above this. Not farther:
  // for ThreadSanitizer the memory of programs ends there.
  constexpr size_t kFar = size_t{64} << 30;
  void* const far = ::mmap(static_cast<std::byte*>(usual) - kFar, bytes, kProtection,
                           kFlags | MAP_FIXED_NOREPLACE, -1, 0);
  if (far == MAP_FAILED) return {};
  return {static_cast<std::byte*>(far), bytes};
}

}  // namespace vfio_user
