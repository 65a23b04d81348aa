#include <fcntl.h>

#include <cerrno>
#include <cstdint>
#include <future>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "fmt/format.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/wire/command.h"
#include "proto_defs/wire/device_info.h"
#include "tests/conformance/check.h"
#include "tests/conformance/client/client_check.h"
#include "tests/conformance/client/client_under_test.h"
#include "tests/conformance/client/order_checks.h"
#include "tests/conformance/client/scripted_server.h"
#include "tests/conformance/client/stage.h"

namespace vfio_user {
namespace {

using absl::StatusCode;

constexpr absl::Duration kSoon = absl::Seconds(20);

absl::Status Bind(Stage& stage) {
  return Want("binding", stage.client().BindInterrupt(IrqIndex::kMsix, 1), {StatusCode::kOk});
}

// The device signals in the course of a request.
absl::Status SignalDuringARequest(Stage& stage, uint64_t times) {
  std::future<absl::Status> script =
      stage.server().Next(Command::kRegionWrite, [times](Exchange& exchange) -> absl::Status {
        VFIO_USER_RETURN_IF_ERROR(exchange.device().Signal(IrqIndex::kMsix, 1, times));
        return exchange.AnswerWell();
      });
  VFIO_USER_RETURN_IF_ERROR(stage.client().WriteRegister(8, 1));
  return Outcome(script);
}

absl::Status WantSignals(Stage& stage, uint64_t times) {
  VFIO_USER_ASSIGN_OR_RETURN(const uint64_t got, stage.client().WaitForInterrupt(kSoon));
  if (got == times) return absl::OkStatus();
  return Wrong(fmt::format("{} signals came, want {}", got, times));
}

absl::Status Signalled(Stage& stage) {
  VFIO_USER_RETURN_IF_ERROR(Bind(stage));
  VFIO_USER_RETURN_IF_ERROR(SignalDuringARequest(stage, 1));
  VFIO_USER_RETURN_IF_ERROR(WantSignals(stage, 1));
  return Want("waiting for another one",
              stage.client().WaitForInterrupt(absl::ZeroDuration()).status(),
              {StatusCode::kDeadlineExceeded});
}

absl::Status SignalledOften(Stage& stage) {
  VFIO_USER_RETURN_IF_ERROR(Bind(stage));
  for (int i = 0; i < 3; ++i) VFIO_USER_RETURN_IF_ERROR(SignalDuringARequest(stage, 2));
  return WantSignals(stage, 6);
}

// As many as an eventfd counts.
absl::Status Saturated(Stage& stage) {
  VFIO_USER_RETURN_IF_ERROR(Bind(stage));
  VFIO_USER_RETURN_IF_ERROR(SignalDuringARequest(stage, UINT64_MAX - 1));
  VFIO_USER_RETURN_IF_ERROR(WantSignals(stage, UINT64_MAX - 1));
  return stage.CheckWorks();
}

absl::Status SignalledBeforeTheReply(Stage& stage) {
  std::future<absl::Status> script =
      stage.server().Next(Command::kDeviceSetIrqs, [](Exchange& exchange) -> absl::Status {
        VFIO_USER_ASSIGN_OR_RETURN(const ModelDevice::Response good, exchange.GoodResponse());
        VFIO_USER_RETURN_IF_ERROR(exchange.device().Signal(IrqIndex::kMsix, 1));
        return exchange.Answer(good);
      });
  VFIO_USER_RETURN_IF_ERROR(Bind(stage));
  VFIO_USER_RETURN_IF_ERROR(Outcome(script));
  return WantSignals(stage, 1);
}

// A server that shares the descriptor's mode would be held up by a full counter.
absl::Status NonBlocking(Stage& stage) {
  std::future<absl::Status> script =
      stage.server().Next(Command::kDeviceSetIrqs, [](Exchange& exchange) -> absl::Status {
        const bool one = exchange.request().fds.size() == 1;
        const int flags = one ? ::fcntl(exchange.request().fds[0].get(), F_GETFL) : 0;
        VFIO_USER_RETURN_IF_ERROR(exchange.AnswerWell());
        if (!one) return Wrong("a vector is bound without a descriptor");
        if ((flags & O_NONBLOCK) == 0) return Wrong("the eventfd blocks whoever signals it");
        return absl::OkStatus();
      });
  VFIO_USER_RETURN_IF_ERROR(Bind(stage));
  return Outcome(script);
}

absl::Status NotHad(Stage& stage) {
  VFIO_USER_RETURN_IF_ERROR(Want("binding a vector beyond the last",
                                 stage.client().BindInterrupt(IrqIndex::kMsix, 4),
                                 {StatusCode::kNotFound}));
  VFIO_USER_RETURN_IF_ERROR(Want("binding a vector of a type without any",
                                 stage.client().BindInterrupt(IrqIndex::kMsi, 0),
                                 {StatusCode::kNotFound}));
  return stage.CheckWorks();
}

absl::Status UnbindRefused(Stage& stage) {
  VFIO_USER_RETURN_IF_ERROR(Bind(stage));
  (void)stage.server().Next(Command::kDeviceSetIrqs, [](Exchange& exchange) {
    return exchange.main().ReplyError(exchange.header(), ENOENT);
  });
  stage.client().UnbindInterrupt();
  return stage.CheckWorks();
}

absl::Status Lost(Stage& stage) {
  VFIO_USER_RETURN_IF_ERROR(Bind(stage));
  VFIO_USER_RETURN_IF_ERROR(SignalDuringARequest(stage, 1));
  (void)stage.server().Next(Command::kRegionWrite, [](Exchange& exchange) {
    exchange.main().Shutdown();
    return absl::OkStatus();
  });
  VFIO_USER_RETURN_IF_ERROR(
      Want("the request", stage.client().WriteRegister(8, 1), {StatusCode::kUnavailable}));
  // What was signalled before the end was, and unbinding waits for nobody.
  VFIO_USER_RETURN_IF_ERROR(WantSignals(stage, 1));
  stage.client().UnbindInterrupt();
  return absl::OkStatus();
}

absl::Status BoundOften(Stage& stage) {
  VFIO_USER_RETURN_IF_ERROR(Bind(stage));
  const int before = stage.adapter().OpenDescriptors();
  for (int i = 0; i < 200; ++i) VFIO_USER_RETURN_IF_ERROR(Bind(stage));
  // Of two requests at the end, the first has the server close what it had before.
  VFIO_USER_RETURN_IF_ERROR(stage.CheckWorks());
  const int after = stage.adapter().OpenDescriptors();
  if (after > before) {
    return Wrong(
        fmt::format("{} descriptors are open after 200 bindings, {} before", after, before));
  }
  VFIO_USER_RETURN_IF_ERROR(SignalDuringARequest(stage, 1));
  return WantSignals(stage, 1);
}

struct Case {
  std::string_view name;
  std::string_view expects;
  absl::Status (*run)(Stage&);
  Requirement requirement = Requirement::kRequired;
};

constexpr Case kCases[] = {
    {"signalled", "A signal arrives once.", Signalled},
    {"signalled-often", "Signals add up.", SignalledOften},
    {"counter-full", "A counter that is full is read like any other.", Saturated},
    {"signalled-before-the-reply", "A vector may be signalled before its binding is answered.",
     SignalledBeforeTheReply},
    {"eventfd-does-not-block", "The eventfd does not block whoever signals it.", NonBlocking,
     Requirement::kRecommended},
    {"vectors-that-are-not-there", "A vector that the device does not have is not bound.", NotHad},
    {"unbinding-refused", "A server that refuses to unbind is of use still.", UnbindRefused},
    {"server-lost", "A signal outlives its server.", Lost},
    {"bound-200-times", "A vector that is bound anew leaves no descriptor behind.", BoundOften},
};

}  // namespace

std::vector<ClientCheck> InterruptChecks() {
  std::vector<ClientCheck> checks;
  for (const Case& one : kCases) {
    ClientCheck check;
    check.description = {.name = fmt::format("interrupt/{}", one.name),
                         .requirement = one.requirement,
                         .section = "VFIO_USER_DEVICE_SET_IRQS",
                         .expects = std::string(one.expects)};
    check.needs = {ClientAbility::kInterrupts};
    check.run = one.run;
    checks.push_back(std::move(check));
  }
  return checks;
}

}  // namespace vfio_user
