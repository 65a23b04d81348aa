// Threads that stay where they are: whether the scheduler puts two on one processor or on two makes
// more difference than most of what is measured.
#ifndef TESTS_BENCH_STAY_ON_H_
#define TESTS_BENCH_STAY_ON_H_

#include <cstddef>

namespace vfio_user {

// Keeps this thread, and what it starts from now on, on one processor: the one of that number, from
// 0, among those that the first thread to call this could use. Where there are not as many, or it
// is not permitted, nothing changes. Thread-safe.
void StayOn(size_t processor);

}  // namespace vfio_user

#endif  // TESTS_BENCH_STAY_ON_H_
