#include "tests/conformance/server/server_under_test.h"

#include <sys/socket.h>

#include "fmt/format.h"
#include "proto_defs/base/errno_status.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/wire/command.h"
#include "proto_defs/wire/header.h"
#include "tests/conformance/server/outcome.h"
#include "tests/testing/fd_count.h"

namespace vfio_user {

absl::StatusOr<WireClient> ServerUnderTest::ConnectWithoutVersion() {
  return WireClient::Connect(options_.socket_path, {options_.patience, deadline_, &remarks_});
}

absl::StatusOr<WireClient> ServerUnderTest::Connect(std::string_view json) {
  VFIO_USER_ASSIGN_OR_RETURN(WireClient client, ConnectWithoutVersion());
  const absl::StatusOr<WireClient::Message> version = client.Negotiate(json);
  VFIO_USER_RETURN_IF_ERROR(Annotate(version.status(), "VERSION"));
  if (version->header.error_flag) return PeerError(Command::kVersion, version->header.error);
  return client;
}

absl::Status ServerUnderTest::Refuses(const WireRequest& request,
                                      std::initializer_list<int> usual) {
  VFIO_USER_ASSIGN_OR_RETURN(WireClient client, Connect());
  return client.RefusedInStep(request, usual);
}

absl::Status ServerUnderTest::Does(const WireRequest& request) {
  VFIO_USER_ASSIGN_OR_RETURN(WireClient client, Connect());
  VFIO_USER_RETURN_IF_ERROR(client.Do(request).status());
  return client.InStep();
}

absl::StatusOr<int> ServerUnderTest::OpenFds(const WireClient& client) const {
  ucred peer = {};
  socklen_t length = sizeof(peer);
  if (::getsockopt(client.fd().get(), SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0) {
    return Skip("the server's process is not known (SO_PEERCRED)");
  }
  const int count = OpenFdCountOf(peer.pid);
  if (count < 0) {
    return Skip(
        fmt::format("the descriptors of the server, process {}, may not be counted", peer.pid));
  }
  return count;
}

absl::Status ServerUnderTest::WaitForFds(WireClient& client, int count) const {
  int found = 0;
  // A server may close what it was given after it has answered.
  const Deadline soon = Earlier(Deadline::In(options_.patience), deadline_);
  do {
    VFIO_USER_RETURN_IF_ERROR(client.InStep());
    VFIO_USER_ASSIGN_OR_RETURN(found, OpenFds(client));
    if (found <= count) return absl::OkStatus();
  } while (!soon.passed());
  return Misbehaved(fmt::format("the server has {} descriptors, and had {} before", found, count));
}

}  // namespace vfio_user
