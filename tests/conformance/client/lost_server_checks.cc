// A server that goes away, or stops in the middle of what it says.
#include <cstdint>
#include <functional>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/wire/command.h"
#include "proto_defs/wire/header.h"
#include "tests/conformance/client/model_device.h"
#include "tests/conformance/client/raw_message.h"
#include "tests/conformance/client/reply_checks.h"
#include "tests/conformance/client/request_kinds.h"
#include "tests/conformance/client/scripted_server.h"
#include "tests/conformance/client/stage.h"

namespace vfio_user {
namespace {

using absl::StatusCode;

enum class Then { kClose, kSilence };

// How much of the reply is sent before the server stops.
struct Loss {
  std::string_view name;
  std::string_view expects;
  // Of the length of the reply.
  std::function<size_t(size_t)> sent;
  Then then = Then::kClose;
  bool needs_body = false;
};

std::vector<Loss> Closings() {
  return {
      {"server-closes", "A server that closes instead of answering is gone.",
       [](size_t) { return size_t{0}; }},
      {"server-closes-within-the-header", "Half a header is no reply.",
       [](size_t) { return size_t{9}; }},
      {"server-closes-before-the-body", "A header without its body is no reply.",
       [](size_t) { return size_t{kHeaderBytes}; }, Then::kClose, true},
      {"server-closes-within-the-body", "Half a body is no reply.",
       [](size_t length) { return length - 1; }, Then::kClose, true},
      {"server-closes-after-the-reply", "What was answered before the end was done.",
       [](size_t length) { return length; }},
  };
}

std::vector<Loss> Silences() {
  return {
      {"server-stops-within-the-header", "Half a header does not hold the client for ever.",
       [](size_t) { return size_t{9}; }, Then::kSilence},
      {"server-stops-within-the-body", "Half a body does not hold the client for ever.",
       [](size_t length) { return length - 1; }, Then::kSilence, true},
  };
}

absl::Status RunLoss(Stage& stage, const RequestKind& kind, const Loss& loss) {
  if (kind.prepare) VFIO_USER_RETURN_IF_ERROR(kind.prepare(stage));
  bool whole = false;
  std::future<absl::Status> script =
      stage.server().Next(kind.command, [&loss, &whole](Exchange& exchange) -> absl::Status {
        VFIO_USER_ASSIGN_OR_RETURN(const ModelDevice::Response good, exchange.GoodResponse());
        const std::vector<uint8_t> bytes = MessageBytes(exchange.header().Reply(), good.body);
        const size_t sent = loss.sent(bytes.size());
        whole = sent == bytes.size();
        VFIO_USER_RETURN_IF_ERROR(exchange.main().SendBytes({bytes.data(), sent}));
        if (loss.then == Then::kClose) exchange.main().Shutdown();
        return absl::OkStatus();
      });
  const absl::Status got = kind.call(stage);
  VFIO_USER_RETURN_IF_ERROR(Outcome(script));
  const std::vector<StatusCode> gone = {StatusCode::kUnavailable, StatusCode::kDataLoss};
  VFIO_USER_RETURN_IF_ERROR(whole && !kind.goes_on ? Want("the request", got, {StatusCode::kOk})
                                                   : Want("the request", got, gone));
  return stage.CheckClosed(gone);
}

ClientCheck LossCheckOf(const RequestKind& kind, const Loss& loss, Sockets sockets) {
  ClientCheck check = CheckOf(kind, loss.name, sockets);
  check.description.expects = loss.expects;
  check.run = [&kind, loss](Stage& stage) { return RunLoss(stage, kind, loss); };
  return check;
}

}  // namespace

std::vector<ClientCheck> LostServerChecks() {
  std::vector<ClientCheck> checks;
  for (const RequestKind& kind : RequestKinds()) {
    for (const Loss& loss : Closings()) {
      if (loss.needs_body && !kind.reply_has_body) continue;
      for (const Sockets sockets : kBothSockets) {
        checks.push_back(LossCheckOf(kind, loss, sockets));
      }
    }
    // Once, not for each kind: a client may take seconds to lose its patience.
    if (kind.command != Command::kRegionRead) continue;
    for (const Loss& loss : Silences()) checks.push_back(LossCheckOf(kind, loss, Sockets::kMain));
  }
  return checks;
}

}  // namespace vfio_user
