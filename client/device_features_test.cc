#include "client/device_features.h"

#include <cerrno>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/client.h"
#include "client/session/scripted_server.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/wire/command.h"
#include "proto_defs/wire/device_feature.h"
#include "proto_defs/wire/hex_bytes.h"
#include "tests/testing/scripted_peer.h"
#include "tests/testing/status_matchers.h"

namespace vfio_user {
namespace {

using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class DeviceFeaturesTest : public testing::Test {
 protected:
  void SetUp() override {
    absl::StatusOr<GreetedSocket> greeted = Greet(kNoTwin);
    ASSERT_THAT(greeted, IsOk());
    server_.emplace(std::move(greeted->server));
    absl::StatusOr<Client> client = Client::Adopt(std::move(greeted->client));
    ASSERT_THAT(client, IsOk());
    client_.emplace(*std::move(client));
    ASSERT_THAT(server_->Receive(), IsOk());  // VERSION.
  }

  std::optional<ScriptedPeer> server_;
  std::optional<Client> client_;
};

TEST_F(DeviceFeaturesTest, ProbeAsksForTheOperations) {
  ServedRequest served = AnswerNext(*server_, Hex("08000000 01000500"));

  EXPECT_THAT(client_->features().Probe(Feature::kMigration, FeatureOp::kGet), IsOkAndHolds(true));

  const absl::StatusOr<ScriptedPeer::Message> request = served.get();
  ASSERT_THAT(request, IsOk());
  EXPECT_EQ(request->header.command, Command::kDeviceFeature);
  EXPECT_THAT(request->body, ElementsAreArray(Hex("08000000 01000500")));
}

TEST_F(DeviceFeaturesTest, ProbeTakesRefusalsForNo) {
  for (const int error : {EINVAL, ENOTTY, EOPNOTSUPP, 0}) {
    ServedRequest served = RefuseNext(*server_, static_cast<uint32_t>(error));

    EXPECT_THAT(client_->features().Probe(Feature::kMigration, FeatureOp::kGet),
                IsOkAndHolds(false));
    EXPECT_THAT(served.get(), IsOk());
  }
}

TEST_F(DeviceFeaturesTest, ProbeDoesNotTakeALostConnectionForNo) {
  server_->Close();

  EXPECT_THAT(client_->features().Probe(Feature::kMigration, FeatureOp::kGet),
              StatusIs(absl::StatusCode::kUnavailable));
}

TEST_F(DeviceFeaturesTest, GetGivesTheDataThatCameBack) {
  ServedRequest served = AnswerNext(*server_, Hex("10000000 01000100 0500000000000000"));

  EXPECT_THAT(client_->features().Get(Feature::kMigration, {}, 8),
              IsOkAndHolds(ElementsAre(5, 0, 0, 0, 0, 0, 0, 0)));

  const absl::StatusOr<ScriptedPeer::Message> request = served.get();
  ASSERT_THAT(request, IsOk());
  EXPECT_THAT(request->body, ElementsAreArray(Hex("10000000 01000100")));
}

TEST_F(DeviceFeaturesTest, SetSendsTheDataAndTakesAnEchoWithOrWithoutIt) {
  const std::vector<uint8_t> data = Hex("02000000 ffffffff");
  ServedRequests served = AnswerInOrder(
      *server_,
      {{.body = Hex("10000000 02000200 02000000ffffffff")}, {.body = Hex("08000000 02000200")}});

  EXPECT_THAT(client_->features().Set(Feature::kMigDeviceState, data), IsOkAndHolds(data));
  EXPECT_THAT(client_->features().Set(Feature::kMigDeviceState, data), IsOkAndHolds(IsEmpty()));

  const auto requests = served.get();
  ASSERT_THAT(requests, IsOk());
  EXPECT_THAT((*requests)[0].body, ElementsAreArray(Hex("10000000 02000200 02000000 ffffffff")));
}

TEST_F(DeviceFeaturesTest, RepliesToAnotherRequestEndTheConnection) {
  const std::vector<std::pair<std::string, std::string>> bad = {
      {"10000000 02000100 0500000000000000", "want get migration"},
      {"10000000 01000200 0500000000000000", "want get migration"},
      {"11000000 01000100 0500000000000000 00", "data is 9 bytes, want at most 8"},
      {"10000000 010001", "body is 7 bytes"},
      {"", "body is 0 bytes"},
  };
  for (const auto& [body, why] : bad) {
    SetUp();
    ServedRequest served = AnswerNext(*server_, Hex(body));

    EXPECT_THAT(client_->features().Get(Feature::kMigration, {}, 8),
                StatusIs(absl::StatusCode::kDataLoss, HasSubstr(why)));

    EXPECT_THAT(served.get(), IsOk());
    EXPECT_THAT(server_->ReceiveEof(), IsOk());
  }
}

TEST_F(DeviceFeaturesTest, RejectsMoreThanAMessageTakesUnsent) {
  const std::vector<uint8_t> data(1 << 20);

  EXPECT_THAT(client_->features().Set(Feature::kPciVfToken, data),
              StatusIs(absl::StatusCode::kResourceExhausted));
}

}  // namespace
}  // namespace vfio_user
