// How often a test program has allocated memory, and how much of it.
#ifndef TESTS_TESTING_ALLOCATION_COUNT_H_
#define TESTS_TESTING_ALLOCATION_COUNT_H_

#include <cstdint>

namespace vfio_user {

// Calls of operator new by any thread so far. -1 under ThreadSanitizer, whose runtime
// has an operator new that cannot be replaced: skip the test then, and say so.
int AllocationCount();
// What they have given out and has not been given back.
int64_t AllocatedBytes();

inline bool CountsAllocations() { return AllocationCount() >= 0; }

}  // namespace vfio_user

#endif  // TESTS_TESTING_ALLOCATION_COUNT_H_
