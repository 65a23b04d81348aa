#include "tests/testing/allocation_count.h"

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>

#include "absl/base/config.h"

#ifndef ABSL_HAVE_THREAD_SANITIZER
namespace {

std::atomic<int> allocations = 0;

}  // namespace

// The forms with a size, an array or std::nothrow_t are the library's, and come down to these.
void* operator new(size_t bytes) {
  ++allocations;
  if (void* const memory = std::malloc(bytes)) return memory;
  std::abort();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }

namespace vfio_user {
int AllocationCount() { return allocations; }
}  // namespace vfio_user
#else
namespace vfio_user {
int AllocationCount() { return -1; }
}  // namespace vfio_user
#endif
