// VERSION replies that a check writes itself.
#ifndef TESTS_CONFORMANCE_CLIENT_VERSION_REPLY_H_
#define TESTS_CONFORMANCE_CLIENT_VERSION_REPLY_H_

#include <cstdint>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "tests/conformance/check.h"
#include "tests/conformance/client/client_check.h"
#include "tests/conformance/client/scripted_server.h"
#include "tests/conformance/client/stage.h"

namespace vfio_user {

// Version 0.2 and `data` as it is, with its NUL if it has one.
std::vector<uint8_t> VersionBody(std::string_view data);

// {"capabilities":{`capabilities`}} and a NUL, of version 0.2.
std::vector<uint8_t> CapabilitiesBody(std::string_view capabilities);

// Replies with `body` and no descriptor.
AnswerScript ReplyWith(std::vector<uint8_t> body);

struct VersionReply {
  std::string_view name;
  std::string_view expects;
  AnswerScript script{};
  // What connecting returns. After OK, requests have to work.
  std::vector<absl::StatusCode> codes{};
  Requirement requirement = Requirement::kRequired;
};

// A check in which a client connects and gets that.
ClientCheck CheckOf(const VersionReply& reply);

}  // namespace vfio_user

#endif  // TESTS_CONFORMANCE_CLIENT_VERSION_REPLY_H_
