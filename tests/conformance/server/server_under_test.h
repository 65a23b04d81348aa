// The server that a check looks at, as the check sees it.
#ifndef TESTS_CONFORMANCE_SERVER_SERVER_UNDER_TEST_H_
#define TESTS_CONFORMANCE_SERVER_SERVER_UNDER_TEST_H_

#include <sys/types.h>

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "proto_defs/transport/deadline.h"
#include "tests/conformance/server/server_traits.h"
#include "tests/conformance/server/wire_client.h"

namespace vfio_user {

struct SuiteOptions {
  std::string socket_path;
  // How long the server may take to answer one message.
  absl::Duration patience = absl::Seconds(5);
  // How long one check may take; what is under way then fails.
  absl::Duration check_timeout = absl::Seconds(60);
};

// Lives as long as one check. Thread-compatible.
class ServerUnderTest {
 public:
  // Both are borrowed.
  ServerUnderTest(const SuiteOptions& options, const ServerTraits& traits)
      : options_(options), traits_(traits), deadline_(Deadline::In(options.check_timeout)) {}

  const ServerTraits& traits() const { return traits_; }

  // A client that has negotiated with `json`.
  absl::StatusOr<WireClient> Connect(std::string_view json = kUsualJson);
  // One that has said nothing yet.
  absl::StatusOr<WireClient> ConnectWithoutVersion();

  // A new client's request is refused, and its connection stays in step.
  absl::Status Refuses(const WireRequest& request, std::initializer_list<int> usual);
  // A new client's request is done, and its connection stays in step.
  absl::Status Does(const WireRequest& request);

  // How many descriptors the process at the other end of `client` has; an error, which says why the
  // check is skipped, where it may not be looked at.
  absl::StatusOr<int> OpenFds(const WireClient& client) const;
  // Waits until it has `count` descriptors, asking it things meanwhile.
  absl::Status WaitForFds(WireClient& client, int count) const;

  // What is legal and still worth a word.
  const std::vector<std::string>& remarks() const { return remarks_; }
  void Remark(std::string what) { remarks_.push_back(std::move(what)); }
  Deadline deadline() const { return deadline_; }

 private:
  const SuiteOptions& options_;
  const ServerTraits& traits_;
  const Deadline deadline_;
  std::vector<std::string> remarks_;
};

}  // namespace vfio_user

#endif  // TESTS_CONFORMANCE_SERVER_SERVER_UNDER_TEST_H_
