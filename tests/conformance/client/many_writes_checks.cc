#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <future>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fmt/format.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/wire/command.h"
#include "tests/conformance/check.h"
#include "tests/conformance/client/client_check.h"
#include "tests/conformance/client/client_under_test.h"
#include "tests/conformance/client/device_memory_checks.h"
#include "tests/conformance/client/model_device.h"
#include "tests/conformance/client/reply_body.h"
#include "tests/conformance/client/scripted_server.h"
#include "tests/conformance/client/stage.h"
#include "tests/conformance/client/version_reply.h"
#include "tests/testing/scripted_peer.h"

namespace vfio_user {
namespace {

using absl::StatusCode;

// A posted write comes with No_reply, or is an ordinary one for a client that knows better.
absl::Status AnswerIfAsked(Exchange& exchange) { return exchange.AnswerWell(); }

absl::Status PostsArrive(Stage& stage) {
  for (uint32_t i = 0; i < 600; ++i) {
    VFIO_USER_RETURN_IF_ERROR(
        Want("a posted write", stage.client().PostRegister(8, i), {StatusCode::kOk}));
  }
  VFIO_USER_RETURN_IF_ERROR(Want("the fence", stage.client().Fence(), {StatusCode::kOk}));
  VFIO_USER_ASSIGN_OR_RETURN(const uint32_t value, stage.client().ReadRegister(8));
  if (value != 599) return Wrong(fmt::format("the last posted write left {}, want 599", value));
  return stage.CheckWorks();
}

// What rust-vmm does with a posted write that failed, and once did with every one.
absl::Status AnsweredAllTheSame(Stage& stage, bool refused) {
  VFIO_USER_RETURN_IF_ERROR(stage.CheckWorks());
  std::future<absl::Status> script =
      stage.server().Next(Command::kRegionWrite, [refused](Exchange& exchange) -> absl::Status {
        MessageHeader reply = exchange.header();
        reply.no_reply = false;
        if (refused) return exchange.main().ReplyError(reply, EINVAL);
        VFIO_USER_ASSIGN_OR_RETURN(const ModelDevice::Response good, exchange.GoodResponse());
        return exchange.main().Reply(reply, good.body);
      });
  VFIO_USER_RETURN_IF_ERROR(
      Want("a posted write", stage.client().PostRegister(8, 1), {StatusCode::kOk}));
  VFIO_USER_RETURN_IF_ERROR(Want("the fence", stage.client().Fence(), {StatusCode::kOk}));
  VFIO_USER_RETURN_IF_ERROR(Outcome(script));
  return stage.CheckWorks();
}

absl::Status RefusedAllTheSame(Stage& stage) { return AnsweredAllTheSame(stage, true); }
absl::Status DoneAllTheSame(Stage& stage) { return AnsweredAllTheSame(stage, false); }

absl::Status FenceOfALostServer(Stage& stage) {
  VFIO_USER_RETURN_IF_ERROR(stage.CheckWorks());
  (void)stage.server().Next(Command::kRegionWrite, [](Exchange& exchange) {
    exchange.main().Shutdown();
    return absl::OkStatus();
  });
  VFIO_USER_RETURN_IF_ERROR(
      Want("a posted write", stage.client().PostRegister(8, 1), {StatusCode::kOk}));
  VFIO_USER_RETURN_IF_ERROR(Want("the fence", stage.client().Fence(), {StatusCode::kUnavailable}));
  return stage.CheckClosed({StatusCode::kUnavailable});
}

// 100 writes, of which the third is answered by `script`.
absl::Status WriteHundred(Stage& stage, AnswerScript script, StatusCode code) {
  VFIO_USER_RETURN_IF_ERROR(stage.CheckWorks());
  (void)stage.server().Next(Command::kRegionWrite, AnswerIfAsked);
  (void)stage.server().Next(Command::kRegionWrite, AnswerIfAsked);
  (void)stage.server().Next(Command::kRegionWrite, std::move(script));
  // The first register stays what CheckWorks wants to see.
  std::vector<uint32_t> values(100, 7);
  values[0] = ModelDevice::kFirstRegister;
  VFIO_USER_RETURN_IF_ERROR(Want("the writes", stage.client().WriteRegisters(values), {code}));
  if (code == StatusCode::kUnavailable || code == StatusCode::kDataLoss) {
    return stage.CheckClosed({code});
  }
  return stage.CheckWorks();
}

absl::Status AllWritten(Stage& stage) {
  VFIO_USER_RETURN_IF_ERROR(WriteHundred(stage, AnswerIfAsked, StatusCode::kOk));
  VFIO_USER_ASSIGN_OR_RETURN(const uint32_t value, stage.client().ReadRegister(4 * 99));
  return value == 7 ? absl::OkStatus() : Wrong("the last write is not there");
}

absl::Status OneRefused(Stage& stage) {
  return WriteHundred(
      stage,
      [](Exchange& exchange) { return exchange.main().ReplyError(exchange.header(), EPERM); },
      StatusCode::kPermissionDenied);
}

absl::Status ServerLost(Stage& stage) {
  return WriteHundred(
      stage,
      [](Exchange& exchange) {
        exchange.main().Shutdown();
        return absl::OkStatus();
      },
      StatusCode::kUnavailable);
}

absl::Status OneWithAnotherOffset(Stage& stage) {
  return WriteHundred(
      stage,
      [](Exchange& exchange) -> absl::Status {
        VFIO_USER_ASSIGN_OR_RETURN(ModelDevice::Response good, exchange.GoodResponse());
        ++good.body.at(0);
        return exchange.Answer(good);
      },
      StatusCode::kDataLoss);
}

// A server that said that it takes several writes in one message.
absl::Status Multi(Stage& stage, std::vector<uint8_t> reply, StatusCode code) {
  (void)stage.server().Next(Command::kVersion,
                            ReplyWith(CapabilitiesBody(R"("write_multiple":true)")));
  VFIO_USER_RETURN_IF_ERROR(Want("connecting", stage.Connect(), {StatusCode::kOk}));
  VFIO_USER_RETURN_IF_ERROR(stage.CheckWorks());
  (void)stage.server().Next(Command::kRegionWriteMulti, ReplyWith(std::move(reply)));
  std::vector<uint32_t> values(10, 7);
  values[0] = ModelDevice::kFirstRegister;
  const absl::Status written = stage.client().WriteRegisters(values);
  // A client that does not use the message has nothing to be told.
  if (written.ok() && code != StatusCode::kOk) return stage.CheckWorks();
  VFIO_USER_RETURN_IF_ERROR(Want("the writes", written, {code}));
  return code == StatusCode::kOk ? stage.CheckWorks() : stage.CheckClosed({code});
}

absl::Status MultiAll(Stage& stage) {
  return Multi(stage, Body().U64(10).bytes(), StatusCode::kOk);
}
absl::Status MultiTooMany(Stage& stage) {
  return Multi(stage, Body().U64(11).bytes(), StatusCode::kDataLoss);
}
absl::Status MultiAllBits(Stage& stage) {
  return Multi(stage, Body().U64(UINT64_MAX).bytes(), StatusCode::kDataLoss);
}
absl::Status MultiShort(Stage& stage) {
  return Multi(stage, Body().U32(10).bytes(), StatusCode::kDataLoss);
}
absl::Status MultiEmpty(Stage& stage) { return Multi(stage, {}, StatusCode::kDataLoss); }

struct Case {
  std::string_view name;
  std::string_view expects;
  absl::Status (*run)(Stage&);
  ClientAbility needs = ClientAbility::kManyWrites;
  Sockets sockets = Sockets::kMainAndTwin;
  ClientCheck::Opening opening = ClientCheck::Opening::kConnected;
  Requirement requirement = Requirement::kRequired;
};

std::vector<Case> Cases() {
  constexpr auto kPosted = ClientAbility::kPostedWrites;
  constexpr auto kMany = ClientAbility::kManyWrites;
  constexpr auto kTwin = Sockets::kMainAndTwin;
  constexpr auto kMain = Sockets::kMain;
  constexpr auto kConnected = ClientCheck::Opening::kConnected;
  constexpr auto kNot = ClientCheck::Opening::kNotConnected;
  constexpr std::string_view kCount = "No more writes were done than were sent.";
  return {
      {"posted/all-arrive", "Posted writes arrive, in order.", PostsArrive, kPosted},
      {"posted/all-arrive-without-a-twin", "Posted writes arrive, in order.", PostsArrive, kPosted,
       kMain},
      {"posted/refused-all-the-same", "An error reply that was not asked for is dropped.",
       RefusedAllTheSame, kPosted, kTwin, kConnected, Requirement::kPeerQuirk},
      {"posted/done-all-the-same", "A reply that was not asked for is dropped.", DoneAllTheSame,
       kPosted, kTwin, kConnected, Requirement::kPeerQuirk},
      {"posted/server-lost", "The fence says that the server is gone.", FenceOfALostServer,
       kPosted},
      {"many/all", "Each write is done.", AllWritten},
      {"many/all-without-a-twin", "Each write is done.", AllWritten, kMany, kMain},
      {"many/one-refused", "The first refusal comes out, and the connection lives.", OneRefused},
      {"many/server-lost", "The end comes out.", ServerLost},
      {"many/one-with-another-offset", "Each reply is held against its own request.",
       OneWithAnotherOffset},
      {"multi/all", "Several writes may be one message.", MultiAll, kMany, kMain, kNot},
      {"multi/one-more-than-sent", kCount, MultiTooMany, kMany, kMain, kNot},
      {"multi/all-bits", kCount, MultiAllBits, kMany, kMain, kNot},
      {"multi/short", kCount, MultiShort, kMany, kMain, kNot},
      {"multi/empty", kCount, MultiEmpty, kMany, kMain, kNot},
  };
}

}  // namespace

std::vector<ClientCheck> ManyWritesChecks() {
  std::vector<ClientCheck> checks;
  for (const Case& one : Cases()) {
    ClientCheck check;
    check.description = {.name = std::string(one.name),
                         .requirement = one.requirement,
                         .section = "VFIO_USER_REGION_WRITE, VFIO_USER_REGION_WRITE_MULTI",
                         .expects = std::string(one.expects)};
    check.needs = {one.needs};
    check.stage.sockets = one.sockets;
    check.opening = one.opening;
    check.run = one.run;
    checks.push_back(std::move(check));
  }
  return checks;
}

}  // namespace vfio_user
