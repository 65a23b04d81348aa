#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <functional>
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
#include "tests/conformance/client/client_check.h"
#include "tests/conformance/client/client_under_test.h"
#include "tests/conformance/client/dma_exchange.h"
#include "tests/conformance/client/model_device.h"
#include "tests/conformance/client/order_checks.h"
#include "tests/conformance/client/raw_message.h"
#include "tests/conformance/client/scripted_server.h"
#include "tests/conformance/client/stage.h"
#include "tests/testing/scripted_peer.h"

namespace vfio_user {
namespace {

using absl::StatusCode;

constexpr size_t kRequests = 8;
using Replies = std::array<std::vector<uint8_t>, kRequests>;

// What register `i` has, at offset 4 * (1 + i).
uint32_t ValueOf(size_t i) { return 0x01010101 * static_cast<uint32_t>(i + 1); }
uint64_t OffsetOf(size_t i) { return 4 * (1 + i); }

// The good replies to this request and the seven that come after it.
absl::StatusOr<Replies> Gather(Exchange& exchange) {
  Replies replies;
  for (size_t i = 0; i < kRequests; ++i) {
    if (i > 0) {
      VFIO_USER_ASSIGN_OR_RETURN(exchange.request(), exchange.main().Receive());
    }
    VFIO_USER_ASSIGN_OR_RETURN(const ModelDevice::Response good, exchange.GoodResponse());
    replies.at(i) = MessageBytes(exchange.header().Reply(), good.body);
  }
  return replies;
}

absl::Status SendAll(Exchange& exchange, const Replies& replies) {
  for (const std::vector<uint8_t>& reply : replies) {
    VFIO_USER_RETURN_IF_ERROR(exchange.main().SendBytes(reply));
  }
  return absl::OkStatus();
}

absl::Status InOrder(Exchange& exchange, Replies& replies) { return SendAll(exchange, replies); }

absl::Status Reversed(Exchange& exchange, Replies& replies) {
  std::ranges::reverse(replies);
  return SendAll(exchange, replies);
}

absl::Status AtOnce(Exchange& exchange, Replies& replies) {
  std::ranges::reverse(replies);
  std::vector<uint8_t> all;
  for (const std::vector<uint8_t>& reply : replies) {
    all.insert(all.end(), reply.begin(), reply.end());
  }
  return exchange.main().SendBytes(all);
}

// Cut within the header of one and the body of another.
absl::Status InUnevenPieces(Exchange& exchange, Replies& replies) {
  std::vector<uint8_t> all;
  for (const std::vector<uint8_t>& reply : replies) {
    all.insert(all.end(), reply.begin(), reply.end());
  }
  return SendInTwo(exchange.main(), all, all.size() / 2 + 5);
}

// The server asks for memory that is not lent, between any two replies.
absl::Status WithCommandsBetween(Exchange& exchange, Replies& replies) {
  for (const std::vector<uint8_t>& reply : replies) {
    VFIO_USER_RETURN_IF_ERROR(exchange.main().SendBytes(reply));
    VFIO_USER_ASSIGN_OR_RETURN(const ScriptedPeer::Message refusal,
                               Ask(exchange, Command::kDmaRead, DmaBody(Iova{0x1000}, 8)));
    if (!refusal.header.error_flag) return Wrong("a read of what is not lent was answered");
  }
  return absl::OkStatus();
}

absl::Status WithOneRefused(Exchange& exchange, Replies& replies) {
  std::vector<uint8_t>& refused = replies.at(3);
  refused.resize(kHeaderBytes);
  refused[4] = kHeaderBytes;
  refused[5] = 0;
  refused[8] = 0x21;
  refused[12] = EPERM;
  return SendAll(exchange, replies);
}

absl::Status Closing(Exchange& exchange, Replies&) {
  exchange.main().Shutdown();
  return absl::OkStatus();
}

absl::Status WithABrokenOne(Exchange& exchange, Replies& replies) {
  replies.at(0)[4] = 3;
  replies.at(0)[5] = 0;
  return exchange.main().SendBytes(replies.at(0));
}

struct Parallel {
  std::string_view name;
  std::string_view expects;
  absl::Status (*answer)(Exchange&, Replies&);
  std::vector<StatusCode> codes{};  // Of the requests that are not OK.
  size_t failures = 0;
  bool closes = false;
};

std::vector<Parallel> Cases() {
  constexpr std::string_view kById = "Each caller gets the reply to its own request.";
  return {
      {"replies-in-order", kById, InOrder},
      {"replies-reversed", kById, Reversed},
      {"replies-at-once", kById, AtOnce},
      {"replies-in-uneven-pieces", kById, InUnevenPieces},
      {"replies-with-commands-between", kById, WithCommandsBetween},
      {"one-of-many-refused",
       "A refusal is its own request's only.",
       WithOneRefused,
       {StatusCode::kPermissionDenied},
       1},
      {"server-closes-on-many",
       "Everybody who waits is told that the server is gone.",
       Closing,
       {StatusCode::kUnavailable},
       kRequests,
       true},
      {"one-of-many-broken",
       "Everybody who waits is told that the protocol was broken.",
       WithABrokenOne,
       {StatusCode::kDataLoss},
       kRequests,
       true},
  };
}

absl::Status WriteValues(Stage& stage) {
  for (size_t i = 0; i < kRequests; ++i) {
    VFIO_USER_RETURN_IF_ERROR(stage.client().WriteRegister(OffsetOf(i), ValueOf(i)));
  }
  return absl::OkStatus();
}

absl::Status Run(Stage& stage, const Parallel& parallel) {
  VFIO_USER_RETURN_IF_ERROR(WriteValues(stage));
  std::future<absl::Status> script =
      stage.server().Next(Command::kRegionRead, [&parallel](Exchange& exchange) -> absl::Status {
        VFIO_USER_ASSIGN_OR_RETURN(Replies replies, Gather(exchange));
        return parallel.answer(exchange, replies);
      });
  std::vector<std::future<absl::StatusOr<uint32_t>>> reads;
  for (size_t i = 0; i < kRequests; ++i) {
    reads.push_back(std::async(std::launch::async,
                               [&stage, i] { return stage.client().ReadRegister(OffsetOf(i)); }));
  }
  size_t failures = 0;
  absl::Status wrong;
  for (size_t i = 0; i < kRequests; ++i) {
    const absl::StatusOr<uint32_t> value = reads[i].get();
    if (!value.ok()) {
      ++failures;
      wrong.Update(Want("a request", value.status(), parallel.codes));
    } else if (*value != ValueOf(i)) {
      wrong.Update(Wrong(fmt::format("register {} is {:#x}, want {:#x}", i, *value, ValueOf(i))));
    }
  }
  VFIO_USER_RETURN_IF_ERROR(Outcome(script));
  VFIO_USER_RETURN_IF_ERROR(wrong);
  if (failures != parallel.failures) {
    return Wrong(fmt::format("{} requests failed, want {}", failures, parallel.failures));
  }
  return parallel.closes ? stage.CheckClosed(parallel.codes) : stage.CheckWorks();
}

}  // namespace

std::vector<ClientCheck> ParallelChecks() {
  std::vector<ClientCheck> checks;
  for (const Parallel& parallel : Cases()) {
    ClientCheck check;
    check.description = {.name = fmt::format("parallel/{}", parallel.name),
                         .section = "Message format, message ID",
                         .expects = std::string(parallel.expects)};
    check.needs = {ClientAbility::kParallelRequests};
    check.stage.sockets = Sockets::kMainAndTwin;
    check.run = [parallel](Stage& stage) { return Run(stage, parallel); };
    checks.push_back(std::move(check));
  }
  return checks;
}

}  // namespace vfio_user
