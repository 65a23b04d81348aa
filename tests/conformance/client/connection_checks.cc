#include <algorithm>
#include <chrono>
#include <cstdint>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fmt/format.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/wire/command.h"
#include "proto_defs/wire/region_access.h"
#include "tests/conformance/client/client_check.h"
#include "tests/conformance/client/client_under_test.h"
#include "tests/conformance/client/model_device.h"
#include "tests/conformance/client/order_checks.h"
#include "tests/conformance/client/scripted_server.h"
#include "tests/conformance/client/stage.h"
#include "tests/conformance/client/version_reply.h"
#include "tests/testing/scripted_peer.h"

namespace vfio_user {
namespace {

using absl::StatusCode;

// The server answers a request, or does not, and ends one of the sockets.
absl::Status EndOne(Stage& stage, ScriptedPeer& (Exchange::*socket)(), bool answers) {
  VFIO_USER_RETURN_IF_ERROR(stage.CheckWorks());
  std::future<absl::Status> script = stage.server().Next(
      Command::kRegionWrite, [socket, answers](Exchange& exchange) -> absl::Status {
        if (answers) VFIO_USER_RETURN_IF_ERROR(exchange.AnswerWell());
        (exchange.*socket)().Shutdown();
        return absl::OkStatus();
      });
  const absl::Status written = stage.client().WriteRegister(8, 1);
  VFIO_USER_RETURN_IF_ERROR(Outcome(script));
  VFIO_USER_RETURN_IF_ERROR(
      Want("the request", written, {answers ? StatusCode::kOk : StatusCode::kUnavailable}));
  VFIO_USER_RETURN_IF_ERROR(stage.server().WaitForClose());
  return stage.CheckClosed({StatusCode::kUnavailable});
}

absl::Status TwinEnds(Stage& stage) { return EndOne(stage, &Exchange::commands, true); }
absl::Status TwinEndsFirst(Stage& stage) { return EndOne(stage, &Exchange::commands, false); }
absl::Status MainEnds(Stage& stage) { return EndOne(stage, &Exchange::main, true); }
absl::Status MainEndsFirst(Stage& stage) { return EndOne(stage, &Exchange::main, false); }

// Replies belong to the socket of their requests.
absl::Status ReplyOnTheTwin(Stage& stage) {
  VFIO_USER_RETURN_IF_ERROR(stage.CheckWorks());
  std::future<absl::Status> script =
      stage.server().Next(Command::kRegionWrite, [](Exchange& exchange) -> absl::Status {
        VFIO_USER_ASSIGN_OR_RETURN(const ModelDevice::Response good, exchange.GoodResponse());
        return exchange.commands().Reply(exchange.header(), good.body);
      });
  const absl::Status written = stage.client().WriteRegister(8, 1);
  VFIO_USER_RETURN_IF_ERROR(Outcome(script));
  VFIO_USER_RETURN_IF_ERROR(Want("the request", written, {StatusCode::kDataLoss}));
  return stage.CheckClosed({StatusCode::kDataLoss});
}

absl::Status Reconnect(Stage& stage) {
  for (int i = 0; i < 20; ++i) {
    (void)stage.server().Next(Command::kRegionWrite, [](Exchange& exchange) {
      exchange.main().Shutdown();
      return absl::OkStatus();
    });
    VFIO_USER_RETURN_IF_ERROR(
        Want("the request", stage.client().WriteRegister(8, 1), {StatusCode::kUnavailable}));
    VFIO_USER_RETURN_IF_ERROR(Want("connecting again", stage.Connect(), {StatusCode::kOk}));
    VFIO_USER_RETURN_IF_ERROR(stage.CheckWorks());
  }
  return absl::OkStatus();
}

// An access wider than a server takes is cut or refused, but not sent.
absl::Status TinyTransfers(Stage& stage) {
  (void)stage.server().Next(Command::kVersion,
                            ReplyWith(CapabilitiesBody(R"("max_data_xfer_size":2)")));
  VFIO_USER_RETURN_IF_ERROR(Want("connecting", stage.Connect(), {StatusCode::kOk}));
  uint32_t widest = 0;
  const auto look = [&widest](Exchange& exchange) -> absl::Status {
    const auto access = RegionAccess::ParsePrefix(exchange.request().body, "an access");
    if (access.ok()) widest = std::max(widest, access->count);
    return exchange.AnswerWell();
  };
  (void)stage.server().Next(Command::kRegionWrite, look);
  (void)stage.server().Next(Command::kRegionRead, look);
  const std::vector<StatusCode> codes = {StatusCode::kOk, StatusCode::kResourceExhausted};
  VFIO_USER_RETURN_IF_ERROR(Want("a write", stage.client().WriteRegister(8, 1), codes));
  VFIO_USER_RETURN_IF_ERROR(Want("a read", stage.client().ReadRegister(8).status(), codes));
  // The scripts run on the server's thread: over, before what they saw is looked at.
  const absl::Status fault = stage.server().Stop();
  VFIO_USER_RETURN_IF_ERROR(fault);
  if (widest <= 2) return absl::OkStatus();
  return Wrong(fmt::format("an access of {} bytes was sent to a server that takes 2", widest));
}

// One mapping more than the server takes is refused here, and not sent.
absl::Status FewMappings(Stage& stage) {
  (void)stage.server().Next(Command::kVersion, ReplyWith(CapabilitiesBody(R"("max_dma_maps":2)")));
  VFIO_USER_RETURN_IF_ERROR(Want("connecting", stage.Connect(), {StatusCode::kOk}));
  VFIO_USER_RETURN_IF_ERROR(stage.Lend().status());
  VFIO_USER_ASSIGN_OR_RETURN(const Stage::Lent second, stage.Lend());
  std::future<absl::Status> sent = stage.server().Next(
      Command::kDmaMap, [](Exchange& exchange) { return exchange.AnswerWell(); });
  VFIO_USER_RETURN_IF_ERROR(
      Want("a third mapping", stage.Lend().status(), {StatusCode::kResourceExhausted}));
  if (sent.wait_for(std::chrono::seconds(0)) == std::future_status::ready) {
    return Wrong("a third mapping was sent to a server that takes two");
  }
  VFIO_USER_RETURN_IF_ERROR(stage.client().Unmap(second.iova));
  return Want("a mapping in place of another", stage.Lend().status(), {StatusCode::kOk});
}

struct Case {
  std::string_view name;
  std::string_view expects;
  absl::Status (*run)(Stage&);
  Sockets sockets = Sockets::kMainAndTwin;
  ClientCheck::Opening opening = ClientCheck::Opening::kConnected;
  std::optional<ClientAbility> needs{};
};

std::vector<Case> Cases() {
  constexpr std::string_view kTogether = "The two sockets of a connection end together.";
  return {
      {"twin/twin-ends", kTogether, TwinEnds},
      {"twin/twin-ends-instead-of-a-reply", kTogether, TwinEndsFirst},
      {"twin/main-ends", kTogether, MainEnds},
      {"twin/main-ends-instead-of-a-reply", kTogether, MainEndsFirst},
      {"twin/reply-on-the-twin", "A reply on the other socket is no reply.", ReplyOnTheTwin},
      {"connection/again-after-a-lost-server", "A lost server can be connected to again.",
       Reconnect, Sockets::kMain},
      {"connection/again-after-a-lost-server-with-a-twin",
       "A lost server can be connected to again.", Reconnect},
      {"limits/max-data-xfer-size-2", "A client keeps to what the server takes in a message.",
       TinyTransfers, Sockets::kMain, ClientCheck::Opening::kNotConnected},
      {"limits/max-dma-maps-2", "A client keeps to the number of mappings that the server takes.",
       FewMappings, Sockets::kMain, ClientCheck::Opening::kNotConnected, ClientAbility::kMapMemory},
  };
}

}  // namespace

std::vector<ClientCheck> ConnectionChecks() {
  std::vector<ClientCheck> checks;
  for (const Case& one : Cases()) {
    ClientCheck check;
    check.description = {.name = std::string(one.name),
                         .section = "VFIO_USER_VERSION",
                         .expects = std::string(one.expects)};
    if (one.needs) check.needs.push_back(*one.needs);
    check.stage.sockets = one.sockets;
    check.opening = one.opening;
    check.run = one.run;
    checks.push_back(std::move(check));
  }
  return checks;
}

}  // namespace vfio_user
