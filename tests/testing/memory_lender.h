// Another process that lends its memory, as a client does.
#ifndef TESTS_TESTING_MEMORY_LENDER_H_
#define TESTS_TESTING_MEMORY_LENDER_H_

#include <sys/types.h>

#include <functional>

#include "proto_defs/transport/socket.h"
#include "proto_defs/transport/unique_fd.h"

namespace vfio_user {

// A forked child: what was in this process's memory is in the child's, at the same addresses. It
// ends with this. Thread-compatible.
class MemoryLender {
 public:
  // `prepare` runs in the child before its memory is lent; only what may run between fork and exec
  // should be called there where the test has threads. Ends the program when it cannot be done.
  explicit MemoryLender(const std::function<void()>& prepare = {});
  ~MemoryLender();
  MemoryLender(const MemoryLender&) = delete;
  MemoryLender& operator=(const MemoryLender&) = delete;

  // The child's /proc/self/mem, open for reading and writing.
  FdView mem() const { return mem_; }

  // As of a socket that the child connected.
  PeerCredentials credentials() const;

  // Ends the child, or has it become another program; returns when that is done.
  void Exit();
  void Exec();

 private:
  pid_t pid_ = -1;
  UniqueFd control_;
  UniqueFd mem_;
};

}  // namespace vfio_user

#endif  // TESTS_TESTING_MEMORY_LENDER_H_
