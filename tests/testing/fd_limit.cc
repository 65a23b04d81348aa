#include "tests/testing/fd_limit.h"

#include <fcntl.h>
#include <sys/resource.h>

#include <vector>

#include "proto_defs/transport/unique_fd.h"

namespace vfio_user {

ScopedFdLimit::ScopedFdLimit(int more) {
  // A new descriptor gets the lowest free number, and the limit is on numbers: it has to be the
  // first free number after `more` others.
  std::vector<UniqueFd> taken;
  for (int i = 0; i <= more; ++i) {
    taken.emplace_back(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  }
  ::getrlimit(RLIMIT_NOFILE, &old_);
  rlimit limit = old_;
  limit.rlim_cur = static_cast<rlim_t>(taken.back().get());
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

ScopedFdLimit::~ScopedFdLimit() { ::setrlimit(RLIMIT_NOFILE, &old_); }

}  // namespace vfio_user
