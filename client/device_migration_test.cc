#include "client/device_migration.h"

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
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

using ::testing::AllOf;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;

using Messages = std::vector<ScriptedPeer::Message>;

ScriptedAnswer Ok(const std::string& body) { return {.body = Hex(body)}; }
ScriptedAnswer Refusal(int error) { return {.wire_errno = static_cast<uint32_t>(error)}; }

// The answers of a server to the requests of a migration.
const ScriptedAnswer kFlags = Ok("10000000 01000100 0500000000000000");
const ScriptedAnswer kError = Ok("10000000 02000100 00000000 ffffffff");
const ScriptedAnswer kStop = Ok("10000000 02000100 01000000 ffffffff");
const ScriptedAnswer kRunning = Ok("10000000 02000100 02000000 ffffffff");
const ScriptedAnswer kStopCopy = Ok("10000000 02000100 03000000 ffffffff");
const ScriptedAnswer kResuming = Ok("10000000 02000100 04000000 ffffffff");
const ScriptedAnswer kSet = Ok("08000000 02000200");
const ScriptedAnswer kEnd = Ok("08000000 00000000");
const ScriptedAnswer kDone = Ok("");

// What a request asks the device to become; 0 for other requests.
int StateSetBy(const ScriptedPeer::Message& request) {
  const std::vector<uint8_t> head = Hex("10000000 02000200");
  const bool sets = request.header.command == Command::kDeviceFeature &&
                    request.body.size() == 16 &&
                    std::memcmp(request.body.data(), head.data(), 8) == 0;
  return sets ? request.body[8] : 0;
}

std::vector<int> StatesSetBy(const Messages& requests) {
  std::vector<int> states;
  for (const ScriptedPeer::Message& request : requests) {
    if (StateSetBy(request) != 0) states.push_back(StateSetBy(request));
  }
  return states;
}

int ResetsIn(const Messages& requests) {
  return static_cast<int>(std::ranges::count_if(requests, [](const ScriptedPeer::Message& request) {
    return request.header.command == Command::kDeviceReset;
  }));
}

class DeviceMigrationTest : public testing::Test {
 protected:
  // Opens the migration of a server with these answers.
  void Start(std::vector<ScriptedAnswer> answers) {
    absl::StatusOr<GreetedSocket> greeted = Greet(kNoTwin);
    ASSERT_THAT(greeted, IsOk());
    server_.emplace(std::move(greeted->server));
    absl::StatusOr<Client> client = Client::Adopt(std::move(greeted->client));
    ASSERT_THAT(client, IsOk());
    client_.emplace(*std::move(client));
    ASSERT_THAT(server_->Receive(), IsOk());  // VERSION.
    answers.insert(answers.begin(), kFlags);
    served_ = AnswerInOrder(*server_, std::move(answers));
    absl::StatusOr<DeviceMigration> migration = client_->OpenMigration();
    ASSERT_THAT(migration, IsOk());
    migration_.emplace(*std::move(migration));
  }

  Messages Requests() {
    absl::StatusOr<Messages> requests = served_.get();
    EXPECT_THAT(requests, IsOk());
    return requests.ok() ? *std::move(requests) : Messages();
  }

  DeviceMigration::Sink Collect() {
    return [this](std::span<const std::byte> piece) {
      saved_.insert(saved_.end(), piece.begin(), piece.end());
      return absl::OkStatus();
    };
  }
  // Gives `text` in pieces of at most 3 bytes.
  static DeviceMigration::Source Give(std::string text) {
    return [text = std::move(text)](std::span<std::byte> into) mutable -> absl::StatusOr<size_t> {
      const std::string piece = text.substr(0, 3);
      std::memcpy(into.data(), piece.data(), piece.size());
      text.erase(0, piece.size());
      return piece.size();
    };
  }
  // Gives `text`, and fails when there should be more.
  static DeviceMigration::Source GiveAndFail(std::string text) {
    return [text = std::move(text)](std::span<std::byte> into) mutable -> absl::StatusOr<size_t> {
      if (text.empty()) return absl::NotFoundError("file gone");
      std::memcpy(into.data(), text.data(), text.size());
      return std::exchange(text, "").size();
    };
  }
  std::string Saved() const {
    return std::string(reinterpret_cast<const char*>(saved_.data()), saved_.size());
  }

  std::optional<ScriptedPeer> server_;
  std::optional<Client> client_;
  std::optional<DeviceMigration> migration_;
  ServedRequests served_;
  std::vector<std::byte> saved_;
};

TEST_F(DeviceMigrationTest, TellsFlagsAndState) {
  Start({kStopCopy});

  EXPECT_EQ(migration_->flags(),
            MigrationFlags(MigrationFlag::kStopCopy) | MigrationFlag::kPreCopy);
  EXPECT_THAT(migration_->state(), IsOkAndHolds(MigState::kStopCopy));
  Requests();
}

TEST_F(DeviceMigrationTest, SavesUntilTheServerHasNoMoreAndGoesOn) {
  // A short piece that is not the last, and messages that are longer than their size says.
  Start({kRunning, kSet, Ok("0b000000 03000000 616263 0000000000"), Ok("09000000 01000000 64"),
         kEnd, kSet});

  EXPECT_THAT(migration_->Save(Collect()), IsOkAndHolds(4u));

  EXPECT_EQ(Saved(), "abcd");
  const Messages requests = Requests();
  EXPECT_THAT(StatesSetBy(requests), testing::ElementsAre(3, 2));
  EXPECT_THAT(requests[3].body, ElementsAreArray(Hex("08000100 00000100")));
}

TEST_F(DeviceMigrationTest, TellsHowMuchOfTheStateIsLeftWhereTheServerDoes) {
  Start({Ok("10000000 09000100 0010000000000000"), Refusal(EINVAL)});

  EXPECT_THAT(migration_->BytesLeft(), IsOkAndHolds(4096u));
  EXPECT_THAT(migration_->BytesLeft(), StatusIs(absl::StatusCode::kInvalidArgument));
  Requests();
}

TEST_F(DeviceMigrationTest, SaveLeavesTheDeviceStoppedWhenAskedTo) {
  Start({kRunning, kSet, kEnd, kSet});

  EXPECT_THAT(migration_->Save(Collect(), MigState::kStop), IsOkAndHolds(0u));
  EXPECT_THAT(StatesSetBy(Requests()), testing::ElementsAre(3, 1));
  EXPECT_THAT(migration_->Save(Collect(), MigState::kResuming),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST_F(DeviceMigrationTest, ASinkThatFailsLetsTheDeviceRunAgain) {
  Start({kRunning, kSet, Ok("09000000 01000000 64"), kSet});

  EXPECT_THAT(migration_->Save([](auto) { return absl::ResourceExhaustedError("disk full"); }),
              StatusIs(absl::StatusCode::kResourceExhausted,
                       HasSubstr("the device is in running again: disk full")));
  EXPECT_THAT(StatesSetBy(Requests()), testing::ElementsAre(3, 2));
}

TEST_F(DeviceMigrationTest, AServerThatFailsInBetweenLetsTheDeviceRunAgain) {
  Start({kRunning, kSet, Refusal(EIO), kSet});

  EXPECT_THAT(migration_->Save(Collect()), StatusIs(absl::StatusCode::kAborted));
  EXPECT_THAT(StatesSetBy(Requests()), testing::ElementsAre(3, 2));
}

TEST_F(DeviceMigrationTest, RepliesThatDoNotHoldTheirSizeEndTheConnection) {
  const std::vector<std::string> bad = {"10000000 08000000 61", "08000000 ffffffff", "08000000",
                                        ""};
  for (const std::string& body : bad) {
    Start({kRunning, kSet, Ok(body)});

    EXPECT_THAT(migration_->Save(Collect()), StatusIs(absl::StatusCode::kDataLoss)) << body;

    Requests();
    EXPECT_THAT(server_->ReceiveEof(), IsOk());
  }
}

TEST_F(DeviceMigrationTest, APieceThatIsLargerThanAskedForEndsTheConnection) {
  std::vector<uint8_t> body = Hex("09000100 01000100");
  body.resize(8 + 0x10001);
  Start({kRunning, kSet, {.body = body}});

  EXPECT_THAT(
      migration_->Save(Collect()),
      StatusIs(absl::StatusCode::kDataLoss, HasSubstr("size is 65537, want at most 65536")));
  Requests();
}

TEST_F(DeviceMigrationTest, LoadsInPiecesAndRuns) {
  Start({kRunning, kSet, kDone, kDone, kSet});

  EXPECT_THAT(migration_->Load(Give("abcd")), IsOkAndHolds(4u));

  const Messages requests = Requests();
  EXPECT_THAT(StatesSetBy(requests), testing::ElementsAre(4, 2));
  EXPECT_EQ(requests[3].header.command, Command::kMigDataWrite);
  EXPECT_THAT(requests[3].body, ElementsAreArray(Hex("0b000000 03000000 616263")));
  EXPECT_THAT(requests[4].body, ElementsAreArray(Hex("09000000 01000000 64")));
}

TEST_F(DeviceMigrationTest, AFailedSaveDoesNotResetADeviceThatIsNotInError) {
  // To stop-copy, and back, from which it is still on its way.
  Start({kRunning, Refusal(EIO), Refusal(EBUSY), kStop});

  EXPECT_THAT(
      migration_->Save(Collect()),
      StatusIs(absl::StatusCode::kAborted, AllOf(HasSubstr("the device was left in stop"),
                                                 HasSubstr("does not go back to running now"))));

  EXPECT_EQ(ResetsIn(Requests()), 0);
}

TEST_F(DeviceMigrationTest, AFailedSaveResetsADeviceThatIsInError) {
  Start({kStop, Refusal(EIO), Refusal(EINVAL), kError, kDone, kSet});

  EXPECT_THAT(
      migration_->Save(Collect()),
      StatusIs(absl::StatusCode::kAborted,
               AllOf(HasSubstr("was in error"), HasSubstr("lost its state, and is in stop"))));

  const Messages requests = Requests();
  EXPECT_EQ(ResetsIn(requests), 1);
  EXPECT_THAT(StatesSetBy(requests), testing::ElementsAre(3, 1, 1));
}

TEST_F(DeviceMigrationTest, ALoadThatEndsBeforeTheFirstByteLetsTheDeviceRunAgain) {
  Start({kRunning, kSet, kSet});

  EXPECT_THAT(migration_->Load(GiveAndFail("")),
              StatusIs(absl::StatusCode::kNotFound,
                       HasSubstr("the device is in running again: file gone")));

  const Messages requests = Requests();
  EXPECT_THAT(StatesSetBy(requests), testing::ElementsAre(4, 2));
  EXPECT_EQ(ResetsIn(requests), 0);
}

TEST_F(DeviceMigrationTest, ALoadThatIsBrokenOffResetsTheDeviceAndDoesNotRunWhatItHas) {
  // To resuming; a piece; reset; its state; to stop.
  Start({kStop, kSet, kDone, kDone, kRunning, kSet});

  EXPECT_THAT(migration_->Load(GiveAndFail("abc")),
              StatusIs(absl::StatusCode::kNotFound,
                       AllOf(HasSubstr("was reset, has lost its own, and is in stop"),
                             HasSubstr("file gone"))));

  const Messages requests = Requests();
  EXPECT_THAT(StatesSetBy(requests), testing::ElementsAre(4, 1));
  ASSERT_EQ(requests.size(), 7u);
  EXPECT_EQ(requests[4].header.command, Command::kDeviceReset);
}

TEST_F(DeviceMigrationTest, APieceThatIsRefusedMayHaveBeenTakenInAllTheSame) {
  Start({kRunning, kSet, Refusal(EIO), kDone, kRunning, kSet});

  EXPECT_THAT(migration_->Load(Give("abc")),
              StatusIs(absl::StatusCode::kAborted, HasSubstr("was reset")));

  EXPECT_EQ(ResetsIn(Requests()), 1);
}

TEST_F(DeviceMigrationTest, ResetsOnceMoreWhereAResetLeavesTheDeviceInResuming) {
  // To resuming; a piece; reset; its state; to running, by which it takes in the piece; reset; to
  // running.
  Start({kRunning, kSet, kDone, kDone, kResuming, kSet, kDone, kSet});

  EXPECT_THAT(migration_->Load(GiveAndFail("abc")),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("is in running")));

  const Messages requests = Requests();
  EXPECT_EQ(ResetsIn(requests), 2);
  EXPECT_EQ(requests[7].header.command, Command::kDeviceReset);
}

TEST_F(DeviceMigrationTest, StateThatIsRefusedAtTheEndLeadsToAReset) {
  // To resuming; a piece; to running; reset; its state; to running.
  Start({kRunning, kSet, kDone, Refusal(EINVAL), kDone, kRunning, kSet});

  EXPECT_THAT(migration_->Load(Give("abc")),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("was reset")));

  const Messages requests = Requests();
  EXPECT_EQ(requests[5].header.command, Command::kDeviceReset);
}

TEST_F(DeviceMigrationTest, SaysWhenTheDeviceCouldNotBeReset) {
  Start({kRunning, kSet, Refusal(EINVAL), Refusal(EINVAL), kResuming, kSet, Refusal(EINVAL)});

  EXPECT_THAT(migration_->Load(Give("abc")), StatusIs(absl::StatusCode::kInvalidArgument,
                                                      HasSubstr("reset it before it is used")));
  Requests();
}

TEST_F(DeviceMigrationTest, DoesNotBeginFromAnotherState) {
  Start({kStopCopy, kStopCopy});

  EXPECT_THAT(migration_->Save(Collect()),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("stop-copy")));
  EXPECT_THAT(migration_->Load(Give("abc")), StatusIs(absl::StatusCode::kFailedPrecondition));
  Requests();
}

TEST(DeviceMigrationOpenTest, SaysThatTheDeviceCannotMigrate) {
  absl::StatusOr<GreetedSocket> greeted = Greet(kNoTwin);
  ASSERT_THAT(greeted, IsOk());
  const absl::StatusOr<Client> client = Client::Adopt(std::move(greeted->client));
  ASSERT_THAT(client, IsOk());
  ASSERT_THAT(greeted->server.Receive(), IsOk());
  ServedRequests served = AnswerAll(greeted->server, {EINVAL, EINVAL});

  EXPECT_THAT(client->OpenMigration(),
              StatusIs(absl::StatusCode::kUnimplemented, HasSubstr("cannot migrate")));
  EXPECT_THAT(served.get(), IsOk());
}

}  // namespace
}  // namespace vfio_user
