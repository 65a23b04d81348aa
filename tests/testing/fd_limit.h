// A process that runs out of descriptors, for as long as a test wants.
#ifndef TESTS_TESTING_FD_LIMIT_H_
#define TESTS_TESTING_FD_LIMIT_H_

#include <sys/resource.h>

namespace vfio_user {

// While it lives, this process can open `more` descriptors, and then no more (EMFILE). For tests
// with one thread. What is open stays open. Matchers are best applied after its end: the sanitizers
// need descriptors themselves.
class ScopedFdLimit {
 public:
  explicit ScopedFdLimit(int more);
  ~ScopedFdLimit();
  ScopedFdLimit(const ScopedFdLimit&) = delete;
  ScopedFdLimit& operator=(const ScopedFdLimit&) = delete;

 private:
  rlimit old_ = {};
};

}  // namespace vfio_user

#endif  // TESTS_TESTING_FD_LIMIT_H_
