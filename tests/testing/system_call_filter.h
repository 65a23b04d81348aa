// System calls that fail although there is nothing wrong with them, as in sandboxes and when a
// signal comes.
#ifndef TESTS_TESTING_SYSTEM_CALL_FILTER_H_
#define TESTS_TESTING_SYSTEM_CALL_FILTER_H_

#include <cstdint>
#include <functional>

namespace vfio_user {

// From here on, and for good, system call `number` (SYS_...) fails with `error` for this thread and
// for the processes and threads that it starts. False where the kernel does not do that.
bool RefuseSystemCall(uint32_t number, uint16_t error);
// The same for one command of fcntl() (F_...).
bool RefuseFcntl(uint32_t command, uint16_t error);

// Runs `body` on a thread whose first system call `number` does nothing and fails with `error`; the
// later ones do what they always do. Returns how many there were; -1, and has not run it, where the
// kernel does not do that.
int RunWithOneFailure(uint32_t number, int error, const std::function<void()>& body);

}  // namespace vfio_user

#endif  // TESTS_TESTING_SYSTEM_CALL_FILTER_H_
