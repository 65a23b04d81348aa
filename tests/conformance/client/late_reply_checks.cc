// Replies after the client has given up: dropped when they come, or not waited for at all.
#include <chrono>
#include <future>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "proto_defs/base/status_macros.h"
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

// Short, since each of these checks waits for it. Where a busy machine makes other requests late
// too, they are tried again; a map or unmap cannot be.
constexpr absl::Duration kShort = absl::Milliseconds(60);
constexpr absl::Duration kShortForMaps = absl::Milliseconds(400);

// Makes every request until it is in time.
absl::Status InTime(const RequestKind& kind, Stage& stage) {
  absl::Status result = absl::DeadlineExceededError("");
  for (int i = 0; i < 50 && absl::IsDeadlineExceeded(result); ++i) result = Round(kind, stage);
  return Want("a request in time", result, {StatusCode::kOk});
}

// Lets a script go on, at the latest when it goes away.
class Gate {
 public:
  ~Gate() { Open(); }
  void Open() {
    if (!std::exchange(open_, true)) promise_.set_value();
  }
  // For the script.
  std::shared_future<void> future() const { return future_; }

 private:
  bool open_ = false;
  std::promise<void> promise_;
  std::shared_future<void> future_ = promise_.get_future().share();
};

struct LateReply {
  std::string_view name;
  std::string_view expects;
  uint32_t wire_errno = 0;
};

// Before a request that is to be late: what it needs that is not to be late.
absl::Status WarmUp(Stage& stage, const RequestKind& kind) {
  if (!kind.outcome_must_be_known) VFIO_USER_RETURN_IF_ERROR(InTime(kind, stage));
  return kind.prepare && kind.outcome_must_be_known ? kind.prepare(stage) : absl::OkStatus();
}

absl::Status CheckAfterwards(Stage& stage, const RequestKind& kind) {
  if (kind.outcome_must_be_known) return stage.CheckClosed({StatusCode::kDeadlineExceeded});
  VFIO_USER_RETURN_IF_ERROR(stage.CheckWorks());
  return InTime(kind, stage);
}

absl::Status RunLate(Stage& stage, const RequestKind& kind, const LateReply& reply) {
  VFIO_USER_RETURN_IF_ERROR(WarmUp(stage, kind));
  Gate given_up;
  std::future<absl::Status> script = stage.server().Next(
      kind.command, [wait = given_up.future(), reply](Exchange& exchange) -> absl::Status {
        wait.wait();
        if (reply.wire_errno == 0) return exchange.AnswerWell();
        return exchange.main().ReplyError(exchange.header(), reply.wire_errno);
      });
  const absl::Status got = kind.call(stage);
  given_up.Open();
  VFIO_USER_RETURN_IF_ERROR(Want("the request", got, {StatusCode::kDeadlineExceeded}));
  // To a client that has closed it cannot be sent.
  if (!kind.outcome_must_be_known) VFIO_USER_RETURN_IF_ERROR(Outcome(script));
  return CheckAfterwards(stage, kind);
}

// The late reply and the one that is waited for come in one send, in either order.
absl::Status RunLateWithNext(Stage& stage, const RequestKind& kind, bool late_first) {
  VFIO_USER_RETURN_IF_ERROR(WarmUp(stage, kind));
  auto late = std::make_shared<std::vector<uint8_t>>();
  const auto bytes_of = [](Exchange& exchange) -> absl::StatusOr<std::vector<uint8_t>> {
    VFIO_USER_ASSIGN_OR_RETURN(const ModelDevice::Response good, exchange.GoodResponse());
    return MessageBytes(exchange.header().Reply(), good.body);
  };
  (void)stage.server().Next(kind.command, [late, bytes_of](Exchange& exchange) -> absl::Status {
    VFIO_USER_ASSIGN_OR_RETURN(*late, bytes_of(exchange));
    return absl::OkStatus();
  });
  VFIO_USER_RETURN_IF_ERROR(Want("the request", kind.call(stage), {StatusCode::kDeadlineExceeded}));
  (void)stage.server().Next(
      kind.command, [late, bytes_of, late_first](Exchange& exchange) -> absl::Status {
        VFIO_USER_ASSIGN_OR_RETURN(std::vector<uint8_t> next, bytes_of(exchange));
        std::vector<uint8_t> both = late_first ? *late : next;
        const std::vector<uint8_t>& second = late_first ? next : *late;
        both.insert(both.end(), second.begin(), second.end());
        return exchange.main().SendBytes(both);
      });
  VFIO_USER_RETURN_IF_ERROR(InTime(kind, stage));
  return stage.CheckWorks();
}

ClientCheck LateCheckOf(const RequestKind& kind, std::string_view name, Sockets sockets) {
  ClientCheck check = CheckOf(kind, name, sockets);
  check.stage.patience.reply = kind.outcome_must_be_known ? kShortForMaps : kShort;
  return check;
}

void AddLateWithNext(const RequestKind& kind, Sockets sockets, std::vector<ClientCheck>& checks) {
  for (const bool late_first : {true, false}) {
    checks.push_back(LateCheckOf(
        kind, late_first ? "late-before-the-next-reply" : "late-after-the-next-reply", sockets));
    checks.back().description.expects =
        "A late reply is told from the one that is waited for by its id.";
    checks.back().run = [&kind, late_first](Stage& stage) {
      return RunLateWithNext(stage, kind, late_first);
    };
  }
}

}  // namespace

std::vector<ClientCheck> LateReplyChecks() {
  constexpr std::string_view kDropped =
      "A late reply is dropped, and later requests work; after a map or unmap the connection is "
      "closed, because nobody knows what the server holds.";
  const LateReply replies[] = {{"late", kDropped}, {"late-refusal", kDropped, 22}};
  std::vector<ClientCheck> checks;
  for (const RequestKind& kind : RequestKinds()) {
    for (const Sockets sockets : kBothSockets) {
      for (const LateReply& reply : replies) {
        checks.push_back(LateCheckOf(kind, reply.name, sockets));
        checks.back().description.expects = reply.expects;
        checks.back().run = [&kind, reply](Stage& stage) { return RunLate(stage, kind, reply); };
      }
      if (!kind.outcome_must_be_known) AddLateWithNext(kind, sockets, checks);
    }
  }
  return checks;
}

}  // namespace vfio_user
