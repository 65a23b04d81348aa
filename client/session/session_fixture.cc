#include "client/session/session_fixture.h"

#include <utility>

#include "absl/status/statusor.h"
#include "tests/testing/status_matchers.h"

namespace vfio_user {

void SessionFixture::TearDown() {
  if (server_) server_->Close();
}

void SessionFixture::Start(const std::string& version_json, const SessionOptions& options) {
  absl::StatusOr<ScriptedSession> started = StartScriptedSession(version_json, options);
  ASSERT_THAT(started, IsOk());
  server_.emplace(std::move(started->server));
  twin_ = std::move(started->twin);
  session_ = std::move(started->session);
}

void SessionFixture::ExpectClosed(const absl::Status& reason) {
  EXPECT_THAT(reason, StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_THAT(session_->Reset(), StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_THAT(server_->ReceiveEof(), IsOk());
  EXPECT_THAT(twin_->ReceiveEof(), IsOk());
}

}  // namespace vfio_user
