// How many descriptors a process has: a test that looks before and after finds what leaks.
#ifndef TESTS_TESTING_FD_COUNT_H_
#define TESTS_TESTING_FD_COUNT_H_

#include <sys/types.h>

namespace vfio_user {

// Of this process, without those that the counting needs itself; -1 when they cannot be counted.
int OpenFdCount();

// Of process `pid`, which has to be of the same user; -1 when it is gone.
int OpenFdCountOf(pid_t pid);

}  // namespace vfio_user

#endif  // TESTS_TESTING_FD_COUNT_H_
