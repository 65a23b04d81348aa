#include "tests/testing/allocation_count.h"

#include <malloc.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>

#include "absl/base/config.h"

#ifndef ABSL_HAVE_THREAD_SANITIZER
namespace {

std::atomic<int> allocations = 0;
std::atomic<int64_t> bytes_in_use = 0;

int64_t UsableBytes(void* memory) { return static_cast<int64_t>(::malloc_usable_size(memory)); }

}  // namespace

// The forms with a size, an array or std::nothrow_t are the library's, and come down to these.
void* operator new(size_t bytes) {
  void* const memory = std::malloc(bytes);
  if (memory == nullptr) std::abort();
  ++allocations;
  bytes_in_use += UsableBytes(memory);
  return memory;
}
void operator delete(void* memory) noexcept {
  bytes_in_use -= UsableBytes(memory);
  std::free(memory);
}
void operator delete(void* memory, size_t) noexcept { operator delete(memory); }

namespace vfio_user {
int AllocationCount() { return allocations; }
int64_t AllocatedBytes() { return bytes_in_use; }
}  // namespace vfio_user
#else
namespace vfio_user {
int AllocationCount() { return -1; }
int64_t AllocatedBytes() { return -1; }
}  // namespace vfio_user
#endif
