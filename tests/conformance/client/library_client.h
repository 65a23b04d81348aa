// The suite's view of this tree's client library.
#ifndef TESTS_CONFORMANCE_CLIENT_LIBRARY_CLIENT_H_
#define TESTS_CONFORMANCE_CLIENT_LIBRARY_CLIENT_H_

#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "client/client_options.h"
#include "tests/conformance/client/client_under_test.h"

namespace vfio_user {

// Clients in this process, with `options` but for the timeouts, which the checks choose. With
// DmaService::kPoll each has a loop on a thread of the adapter's that polls it, as an application
// would.
class LibraryAdapter : public ClientAdapter {
 public:
  explicit LibraryAdapter(ClientOptions options = {}) : options_(std::move(options)) {}

  absl::StatusOr<std::unique_ptr<ClientUnderTest>> Connect(
      const std::string& path, const ClientPatience& patience) const override;
  bool Can(ClientAbility ability) const override;
  int OpenDescriptors() const override;

 private:
  ClientOptions options_;
};

}  // namespace vfio_user

#endif  // TESTS_CONFORMANCE_CLIENT_LIBRARY_CLIENT_H_
