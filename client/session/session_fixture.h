// For tests of what a session, or what stands on one, asks of a server.
#ifndef CLIENT_SESSION_SESSION_FIXTURE_H_
#define CLIENT_SESSION_SESSION_FIXTURE_H_

#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "client/session/scripted_server.h"
#include "client/session/session.h"
#include "gtest/gtest.h"
#include "tests/testing/scripted_peer.h"

namespace vfio_user {

// A session with a server that has granted a twin socket, and is the test.
class SessionFixture : public testing::Test {
 protected:
  void SetUp() override { Start(kTwinGranted); }
  // Nothing that a failed test left may wait for a server that does not answer.
  void TearDown() override;

  // Another session, in place of that.
  void Start(const std::string& version_json, const SessionOptions& options = {});

  // After a reply that broke the protocol nothing goes on, on either socket.
  void ExpectClosed(const absl::Status& reason);

  std::optional<ScriptedPeer> server_;
  std::optional<ScriptedPeer> twin_;
  std::shared_ptr<Session> session_;
};

}  // namespace vfio_user

#endif  // CLIENT_SESSION_SESSION_FIXTURE_H_
