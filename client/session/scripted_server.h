// A session whose server is the test.
#ifndef CLIENT_SESSION_SCRIPTED_SERVER_H_
#define CLIENT_SESSION_SCRIPTED_SERVER_H_

#include <cstdint>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/session/session.h"
#include "proto_defs/transport/unique_fd.h"
#include "tests/testing/scripted_peer.h"

namespace vfio_user {

// Answers the next request on a thread of its own; what comes out is the request.
using ServedRequest = std::future<absl::StatusOr<ScriptedPeer::Message>>;
ServedRequest AnswerNext(ScriptedPeer& server, std::vector<uint8_t> body = {},
                         std::vector<UniqueFd> fds = {});
ServedRequest RefuseNext(ScriptedPeer& server, uint32_t wire_errno);

// Answers one request for each of `errnos`: with success and no body for 0, else with the errno.
using ServedRequests = std::future<absl::StatusOr<std::vector<ScriptedPeer::Message>>>;
ServedRequests AnswerAll(ScriptedPeer& server, std::vector<uint32_t> errnos);

// Answers one request for each of `answers`: with its errno, or for 0 with success and its body.
struct ScriptedAnswer {
  uint32_t wire_errno = 0;
  std::vector<uint8_t> body = {};
};
ServedRequests AnswerInOrder(ScriptedPeer& server, std::vector<ScriptedAnswer> answers);

// A client's socket, with the server's part of VERSION said in advance, so that a test needs no
// thread to connect.
struct GreetedSocket {
  ScriptedPeer server;
  std::optional<ScriptedPeer> twin;  // The server's end, if it was granted.
  UniqueFd client;
};
absl::StatusOr<GreetedSocket> Greet(const std::string& version_json);

// Grants a twin socket; refuses it; and grants it together with REGION_WRITE_MULTI, which no
// libvfio-user does.
inline constexpr char kTwinGranted[] =
    R"({"capabilities":{"twin_socket":{"supported":true,"fd_index":0}}})";
inline constexpr char kWriteMultiple[] =
    R"({"capabilities":{"write_multiple":true,"twin_socket":{"supported":true,"fd_index":0}}})";
inline constexpr char kNoTwin[] = R"({"capabilities":{}})";

struct ScriptedSession {
  ScriptedPeer server;
  std::optional<ScriptedPeer> twin;
  std::shared_ptr<Session> session;
};
absl::StatusOr<ScriptedSession> StartScriptedSession(const std::string& version_json,
                                                     const SessionOptions& options = {});

}  // namespace vfio_user

#endif  // CLIENT_SESSION_SCRIPTED_SERVER_H_
