// One behaviour that a server must have.
#ifndef TESTS_CONFORMANCE_SERVER_SERVER_CHECK_H_
#define TESTS_CONFORMANCE_SERVER_SERVER_CHECK_H_

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "tests/conformance/check.h"
#include "tests/conformance/server/server_under_test.h"

namespace vfio_user {

struct ServerCheck {
  // FAMILY/BEHAVIOUR, a sentence about the server: "dma-map/size-0-is-refused".
  std::string_view name;
  // Where it comes from: a section of QEMU's docs/interop/vfio-user.rst, or in words.
  std::string_view section;
  Requirement requirement;
  // Connects on its own, and leaves the device as it found it, as far as that is in its hands. What
  // it returns is an outcome: see outcome.h.
  absl::Status (*run)(ServerUnderTest& server);
};

struct ServerCheckResult {
  CheckOutcome outcome;
  // Of one that passed: what is legal and still worth a word. One line, or empty.
  std::string remark;
  absl::Duration took;
};

// Runs it against the server at the options' socket; ends at its check_timeout.
ServerCheckResult RunCheck(const ServerCheck& check, const SuiteOptions& options,
                           const ServerTraits& traits);

}  // namespace vfio_user

#endif  // TESTS_CONFORMANCE_SERVER_SERVER_CHECK_H_
