// What another thread is doing: for tests in which one thread has to wait before another goes on.
#ifndef TESTS_TESTING_THREAD_STATE_H_
#define TESTS_TESTING_THREAD_STATE_H_

#include <sys/types.h>

namespace vfio_user {

// Returns once thread `tid` (gettid()) of this process sleeps: waits for a condition, a lock or a
// socket. To be called when that is the next thing it does. Gives up after 20 s, or when the thread
// is gone, and returns false.
bool AwaitAsleep(pid_t tid);

}  // namespace vfio_user

#endif  // TESTS_TESTING_THREAD_STATE_H_
