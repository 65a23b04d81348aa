// What becomes of checks: each verdict, of a check that deserves it.
#include "tests/conformance/client/client_check.h"

#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/transport/unique_fd.h"
#include "proto_defs/wire/command.h"
#include "proto_defs/wire/header.h"
#include "tests/conformance/check.h"
#include "tests/conformance/client/client_under_test.h"
#include "tests/conformance/client/scripted_server.h"
#include "tests/conformance/client/stage.h"
#include "tests/testing/fd_count.h"
#include "tests/testing/memfd.h"
#include "tests/testing/scripted_peer.h"

namespace vfio_user {
namespace {

using ::testing::HasSubstr;

// Its clients never connect: the checks below are the clients, where one is wanted.
class NoClients : public ClientAdapter {
 public:
  absl::StatusOr<std::unique_ptr<ClientUnderTest>> Connect(const std::string&,
                                                           const ClientPatience&) const override {
    return absl::UnavailableError("there is no client");
  }
  bool Can(ClientAbility ability) const override {
    return ability != ClientAbility::kTwinSocket && ability != ClientAbility::kDoorbells;
  }
  int OpenDescriptors() const override { return OpenFdCount(); }
};

ClientCheck CheckThat(std::function<absl::Status(Stage&)> run) {
  ClientCheck check;
  check.description.name = "family/name";
  check.opening = ClientCheck::Opening::kNotConnected;
  check.run = std::move(run);
  return check;
}

void ExpectFailed(const CheckOutcome& outcome, const std::string& why) {
  EXPECT_EQ(outcome.kind, CheckOutcome::Kind::kFailed);
  EXPECT_THAT(outcome.words, HasSubstr(why));
}

TEST(ClientCheckTest, PassesWhenTheCheckSaysSo) {
  const CheckOutcome outcome =
      RunClientCheck(CheckThat([](Stage&) { return absl::OkStatus(); }), NoClients());

  EXPECT_EQ(outcome.kind, CheckOutcome::Kind::kPassed) << outcome.words;
}

TEST(ClientCheckTest, FailsInTheWordsOfTheCheck) {
  const ClientCheck check = CheckThat([](Stage&) { return Wrong("it is green, want red"); });

  ExpectFailed(RunClientCheck(check, NoClients()), "it is green, want red");
}

TEST(ClientCheckTest, FailsWhenTheClientDoesNotConnect) {
  ClientCheck check = CheckThat([](Stage&) { return absl::OkStatus(); });
  check.opening = ClientCheck::Opening::kConnected;

  ExpectFailed(RunClientCheck(check, NoClients()), "there is no client");
}

TEST(ClientCheckTest, SkipsWhatTheClientLacks) {
  ClientCheck needs_doorbells = CheckThat([](Stage&) { return Wrong("it was run"); });
  needs_doorbells.needs = {ClientAbility::kReset, ClientAbility::kDoorbells};
  ClientCheck needs_twin = CheckThat([](Stage&) { return Wrong("it was run"); });
  needs_twin.stage.sockets = Sockets::kMainAndTwin;

  const CheckOutcome doorbells = RunClientCheck(needs_doorbells, NoClients());
  const CheckOutcome twin = RunClientCheck(needs_twin, NoClients());

  EXPECT_EQ(doorbells.kind, CheckOutcome::Kind::kSkipped);
  EXPECT_EQ(doorbells.words, "the client lacks ringing doorbells");
  EXPECT_EQ(twin.kind, CheckOutcome::Kind::kSkipped);
  EXPECT_EQ(twin.words, "the client lacks a twin socket");
}

TEST(ClientCheckTest, FailsWhenTheClientSendsWhatNoneMay) {
  const ClientCheck check = CheckThat([](Stage& stage) -> absl::Status {
    VFIO_USER_ASSIGN_OR_RETURN(ScriptedPeer client, ScriptedPeer::Connect(stage.server().path()));
    VFIO_USER_RETURN_IF_ERROR(client.Reply({.command = Command::kDmaRead}));
    return stage.server().WaitForClose();
  });

  ExpectFailed(RunClientCheck(check, NoClients()), "a reply that nobody waits for");
}

TEST(ClientCheckTest, FailsWhenARequestOfTheClientsIsMalformed) {
  const ClientCheck check = CheckThat([](Stage& stage) -> absl::Status {
    VFIO_USER_ASSIGN_OR_RETURN(ScriptedPeer client, ScriptedPeer::Connect(stage.server().path()));
    VFIO_USER_RETURN_IF_ERROR(client.Send({.command = Command::kDeviceGetInfo}, {{1, 2, 3}}));
    return client.Receive().status();
  });

  ExpectFailed(RunClientCheck(check, NoClients()), "DEVICE_GET_INFO: body is 3 bytes");
}

TEST(ClientCheckTest, FailsWhenADescriptorIsLeft) {
  UniqueFd left;
  const ClientCheck check = CheckThat([&left](Stage&) {
    left = Memfd("left");
    return absl::OkStatus();
  });

  ExpectFailed(RunClientCheck(check, NoClients()), "descriptors are open after the client's end");
}

TEST(ClientCheckTest, FailsWhenTheClientReturnsOnlyBecauseItsServerIsClosed) {
  const ClientCheck check = CheckThat([](Stage& stage) -> absl::Status {
    VFIO_USER_ASSIGN_OR_RETURN(ScriptedPeer client, ScriptedPeer::Connect(stage.server().path()));
    return client.ReceiveEof();
  });

  ExpectFailed(RunClientCheck(check, NoClients(), {.check = std::chrono::milliseconds(50)}),
               "the client did not return before its server was closed");
}

TEST(ClientCheckDeathTest, EndsTheProgramWithTheNameWhenTheClientHangsAllTheSame) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  std::promise<void> never;
  const ClientCheck check = CheckThat([&never](Stage&) {
    never.get_future().wait();
    return absl::OkStatus();
  });

  EXPECT_DEATH(RunClientCheck(check, NoClients(),
                              {.check = std::chrono::milliseconds(50),
                               .notice = std::chrono::milliseconds(50)}),
               "family/name: the client hangs, although its server is gone");
}

}  // namespace
}  // namespace vfio_user
