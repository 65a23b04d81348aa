// One check of the suite, and what runs it.
#ifndef TESTS_CONFORMANCE_CLIENT_CLIENT_CHECK_H_
#define TESTS_CONFORMANCE_CLIENT_CLIENT_CHECK_H_

#include <chrono>
#include <functional>
#include <vector>

#include "absl/status/status.h"
#include "tests/conformance/check.h"
#include "tests/conformance/client/client_under_test.h"
#include "tests/conformance/client/stage.h"

namespace vfio_user {

struct ClientCheck {
  enum class Opening { kConnected, kNotConnected };

  CheckDescription description;
  std::vector<ClientAbility> needs = {};
  StageOptions stage = {};
  // Whether the client is connected when `run` begins.
  Opening opening = Opening::kConnected;
  // OK, or what was wrong.
  std::function<absl::Status(Stage&)> run;
};

// How long a check may take, the client's end included; and a client whose server was closed.
struct CheckPatience {
  // A check takes milliseconds, and a few of them a client's five seconds for half a message.
  std::chrono::milliseconds check = std::chrono::seconds(45);
  std::chrono::milliseconds notice = std::chrono::seconds(15);
};

// Runs one check. Besides what the check itself says it has failed when the client sends what no
// client may, when it keeps descriptors after its end (where they can be counted), and when it does
// not return: then the server is closed under it, and a client that does not even notice that ends
// this program, with the name of the check on stderr.
CheckOutcome RunClientCheck(const ClientCheck& check, const ClientAdapter& adapter,
                            const CheckPatience& patience = {});

}  // namespace vfio_user

#endif  // TESTS_CONFORMANCE_CLIENT_CLIENT_CHECK_H_
