#include "tools/vfio_user/device_report.h"

#include <future>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/client.h"
#include "gtest/gtest.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/wire/device_info.h"
#include "proto_defs/wire/wire_writer.h"
#include "tests/testing/scripted_peer.h"
#include "tests/testing/status_matchers.h"

namespace vfio_user {
namespace {

// Plays a server up to the answer to DEVICE_GET_INFO, which promises a hundred regions.
absl::Status AnswerAtFirst(ScriptedPeer& server) {
  VFIO_USER_RETURN_IF_ERROR(server.AnswerVersion(R"({"capabilities":{}})").status());
  VFIO_USER_ASSIGN_OR_RETURN(const ScriptedPeer::Message asked, server.Receive());
  DeviceInfo info;
  info.num_regions = 100;
  info.num_irqs = 50;
  return server.Reply(asked.header, Serialize(info));
}

TEST(DeviceReportTest, AsksNothingMoreOfAServerThatNoLongerAnswers) {
  absl::StatusOr<ScriptedPeer::Connected> pair = ScriptedPeer::Pair();
  ASSERT_THAT(pair, IsOk());
  ScriptedPeer& server = pair->peer;
  auto answered = std::async(std::launch::async, [&server] { return AnswerAtFirst(server); });
  absl::StatusOr<Client> client =
      Client::Adopt(std::move(pair->socket), {.reply_timeout = absl::Milliseconds(20)});
  ASSERT_THAT(client, IsOk());

  const absl::Status gathered = GatherDeviceReport(*client).status();

  EXPECT_THAT(gathered, StatusIs(absl::StatusCode::kDeadlineExceeded));
  EXPECT_THAT(answered.get(), IsOk());
  { const Client ended = *std::move(client); }
  ASSERT_THAT(server.Receive(), IsOk());  // The one that got no answer.
  EXPECT_THAT(server.ReceiveEof(), IsOk());
}

}  // namespace
}  // namespace vfio_user
