// A device server in a process of its own, for tests of two processes.
#ifndef TESTS_TESTING_SERVER_PROCESS_H_
#define TESTS_TESTING_SERVER_PROCESS_H_

#include <sys/types.h>

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "tools/vfio_user/child_server.h"

namespace vfio_user {

// `vfio-user serve DEVICE ARGUMENTS`, which listens when this returns. The test names
// //tools/vfio_user:vfio-user in its `data`.
absl::StatusOr<ChildServer> StartServer(const std::string& device = "dma-copy",
                                        const std::vector<std::string>& arguments = {});

// How many descriptors of process `pid` name a file whose path ends in `suffix`; -1 when they
// cannot be looked at.
int FdsNaming(pid_t pid, std::string_view suffix);

}  // namespace vfio_user

#endif  // TESTS_TESTING_SERVER_PROCESS_H_
