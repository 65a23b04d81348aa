#include "client/session/scripted_server.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/session/negotiation.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/transport/deadline.h"
#include "proto_defs/transport/socket.h"
#include "proto_defs/wire/command.h"
#include "proto_defs/wire/header.h"
#include "proto_defs/wire/limits.h"

namespace vfio_user {

ServedRequest AnswerNext(ScriptedPeer& server, std::vector<uint8_t> body,
                         std::vector<UniqueFd> fds) {
  return std::async(std::launch::async,
                    [&server, body = std::move(body),
                     fds = std::move(fds)]() -> absl::StatusOr<ScriptedPeer::Message> {
                      VFIO_USER_ASSIGN_OR_RETURN(ScriptedPeer::Message request, server.Receive());
                      const std::vector<FdView> views(fds.begin(), fds.end());
                      VFIO_USER_RETURN_IF_ERROR(server.Reply(request.header, body, views));
                      return request;
                    });
}

ServedRequest RefuseNext(ScriptedPeer& server, uint32_t wire_errno) {
  return std::async(std::launch::async,
                    [&server, wire_errno]() -> absl::StatusOr<ScriptedPeer::Message> {
                      VFIO_USER_ASSIGN_OR_RETURN(ScriptedPeer::Message request, server.Receive());
                      VFIO_USER_RETURN_IF_ERROR(server.ReplyError(request.header, wire_errno));
                      return request;
                    });
}

ServedRequests AnswerAll(ScriptedPeer& server, std::vector<uint32_t> errnos) {
  std::vector<ScriptedAnswer> answers;
  for (const uint32_t error : errnos) answers.push_back({.wire_errno = error});
  return AnswerInOrder(server, std::move(answers));
}

ServedRequests AnswerInOrder(ScriptedPeer& server, std::vector<ScriptedAnswer> answers) {
  return std::async(
      std::launch::async,
      [&server,
       answers = std::move(answers)]() -> absl::StatusOr<std::vector<ScriptedPeer::Message>> {
        std::vector<ScriptedPeer::Message> requests;
        for (const ScriptedAnswer& answer : answers) {
          VFIO_USER_ASSIGN_OR_RETURN(ScriptedPeer::Message request, server.Receive());
          VFIO_USER_RETURN_IF_ERROR(answer.wire_errno == 0
                                        ? server.Reply(request.header, answer.body)
                                        : server.ReplyError(request.header, answer.wire_errno));
          requests.push_back(std::move(request));
        }
        return requests;
      });
}

absl::StatusOr<GreetedSocket> Greet(const std::string& version_json) {
  VFIO_USER_ASSIGN_OR_RETURN(ScriptedPeer::Connected connected, ScriptedPeer::Pair());
  VFIO_USER_ASSIGN_OR_RETURN(ScriptedPeer::Connected twin, ScriptedPeer::Pair());
  // Version 0.2, the text, and its NUL.
  std::vector<uint8_t> body(4 + version_json.size() + 1);
  body[2] = 2;
  std::ranges::copy(version_json, body.begin() + 4);
  const MessageHeader version = {.command = Command::kVersion};
  GreetedSocket greeted = {std::move(connected.peer), std::nullopt, std::move(connected.socket)};
  if (version_json.find(R"("supported":true)") == std::string::npos) {
    VFIO_USER_RETURN_IF_ERROR(greeted.server.Reply(version, body));
    return greeted;
  }
  const FdView fd = twin.socket;
  VFIO_USER_RETURN_IF_ERROR(greeted.server.Reply(version, body, {&fd, 1}));
  greeted.twin = std::move(twin.peer);
  return greeted;
}

absl::StatusOr<ScriptedSession> StartScriptedSession(const std::string& version_json,
                                                     const SessionOptions& options) {
  VFIO_USER_ASSIGN_OR_RETURN(GreetedSocket greeted, Greet(version_json));
  VFIO_USER_ASSIGN_OR_RETURN(Socket socket, Socket::Adopt(std::move(greeted.client)));
  VFIO_USER_ASSIGN_OR_RETURN(
      Negotiated negotiated,
      Negotiate(std::move(socket), kDefaultMaxDataXferBytes, Deadline::In(absl::Seconds(20))));
  // The client's VERSION.
  VFIO_USER_RETURN_IF_ERROR(greeted.server.Receive().status());
  VFIO_USER_ASSIGN_OR_RETURN(std::shared_ptr<Session> session,
                             Session::Start(std::move(negotiated), options));
  return ScriptedSession{std::move(greeted.server), std::move(greeted.twin), std::move(session)};
}

}  // namespace vfio_user
