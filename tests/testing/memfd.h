// Files without a name, for tests that pass descriptors.
#ifndef TESTS_TESTING_MEMFD_H_
#define TESTS_TESTING_MEMFD_H_

#include <string>
#include <string_view>

#include "proto_defs/transport/unique_fd.h"

namespace vfio_user {

// A file that holds `content`. Not valid when none could be made.
UniqueFd Memfd(std::string_view content);

// What the file behind `fd` holds, whatever its position; empty when it cannot be read.
std::string ContentOf(FdView fd);

// Whether both descriptors name the same file, or the same eventfd. All eventfds of a system are
// one inode, and so are all epolls: those it does not tell apart.
bool IsSameFile(FdView one, FdView other);

}  // namespace vfio_user

#endif  // TESTS_TESTING_MEMFD_H_
