// Memory for tests that free it while it is still lent.
#ifndef TESTS_TESTING_FAR_MEMORY_H_
#define TESTS_TESTING_FAR_MEMORY_H_

#include <cstddef>
#include <span>

namespace vfio_user {

// New pages, to be given back with munmap(), where the kernel puts nothing else by itself: what is
// freed stays free, whatever other threads and the sanitizers allocate meanwhile. Empty on failure.
std::span<std::byte> MapFarMemory(size_t bytes);

}  // namespace vfio_user

#endif  // TESTS_TESTING_FAR_MEMORY_H_
