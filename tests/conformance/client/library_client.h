// The suite's view of this tree's client library.
#ifndef TESTS_CONFORMANCE_CLIENT_LIBRARY_CLIENT_H_
#define TESTS_CONFORMANCE_CLIENT_LIBRARY_CLIENT_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "tests/conformance/client/client_under_test.h"

namespace vfio_user {

// Clients in this process, with a background thread each.
class LibraryAdapter : public ClientAdapter {
 public:
  absl::StatusOr<std::unique_ptr<ClientUnderTest>> Connect(
      const std::string& path, const ClientPatience& patience) const override;
  bool Can(ClientAbility ability) const override;
  int OpenDescriptors() const override;
};

}  // namespace vfio_user

#endif  // TESTS_CONFORMANCE_CLIENT_LIBRARY_CLIENT_H_
