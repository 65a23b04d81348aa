// The requests that every client makes, for checks that do the same to each.
#ifndef TESTS_CONFORMANCE_CLIENT_REQUEST_KINDS_H_
#define TESTS_CONFORMANCE_CLIENT_REQUEST_KINDS_H_

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "proto_defs/wire/command.h"
#include "tests/conformance/client/client_check.h"
#include "tests/conformance/client/client_under_test.h"
#include "tests/conformance/client/scripted_server.h"
#include "tests/conformance/client/stage.h"

namespace vfio_user {

struct RequestKind {
  std::string_view family;   // Of the names of its checks.
  std::string_view section;  // Of the specification.
  Command command{};
  std::optional<ClientAbility> needs{};
  // What has to have happened, each time; may be empty.
  std::function<absl::Status(Stage&)> prepare{};
  // Makes the client send one such request, and returns what it says.
  std::function<absl::Status(Stage&)> call{};
  bool reply_has_body = false;
  // Whether `call` makes more requests after the reply.
  bool goes_on = false;
  // Whether the device's memory is at stake, so that a client which does not know what became of
  // the request has to close the connection.
  bool outcome_must_be_known = false;
  // Whether a refusal leaves that open too.
  bool refusal_closes = false;
};

const std::vector<RequestKind>& RequestKinds();

// A check of `kind`, to be completed. Its name says which sockets it has.
ClientCheck CheckOf(const RequestKind& kind, std::string_view name, Sockets sockets);

// A client reads a main socket that carries the server's commands too in another way than one that
// does not: what is about reading is tried with both.
inline constexpr Sockets kBothSockets[] = {Sockets::kMain, Sockets::kMainAndTwin};

// Prepares and calls.
absl::Status Round(const RequestKind& kind, Stage& stage);

}  // namespace vfio_user

#endif  // TESTS_CONFORMANCE_CLIENT_REQUEST_KINDS_H_
