// A second process for benchmarks of two.
#ifndef TESTS_BENCH_PEER_PROCESS_H_
#define TESTS_BENCH_PEER_PROCESS_H_

#include <sys/types.h>

#include <functional>
#include <utility>

#include "proto_defs/transport/unique_fd.h"

namespace vfio_user {

// A child of this process, with the other end of a stream socket; killed with this object. To be
// made before this process has threads. Aborts the program where none is to be had.
class PeerProcess {
 public:
  explicit PeerProcess(const std::function<void(UniqueFd)>& run);
  PeerProcess(const PeerProcess&) = delete;
  PeerProcess& operator=(const PeerProcess&) = delete;
  ~PeerProcess();

  UniqueFd TakeSocket() { return std::move(socket_); }
  pid_t pid() const { return pid_; }

 private:
  UniqueFd socket_;
  pid_t pid_ = -1;
};

// Sends each byte that comes back, to its end; and a byte there and back, false where it is not.
// No exchange between two processes costs less.
void Echo(UniqueFd socket);
bool PingPong(FdView socket);

}  // namespace vfio_user

#endif  // TESTS_BENCH_PEER_PROCESS_H_
