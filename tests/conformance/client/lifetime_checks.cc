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
#include "proto_defs/wire/iova.h"
#include "tests/conformance/client/client_check.h"
#include "tests/conformance/client/client_under_test.h"
#include "tests/conformance/client/dma_exchange.h"
#include "tests/conformance/client/lent_memory.h"
#include "tests/conformance/client/order_checks.h"
#include "tests/conformance/client/scripted_server.h"
#include "tests/conformance/client/stage.h"
#include "tests/testing/scripted_peer.h"

namespace vfio_user {
namespace {

using absl::StatusCode;
using Lent = Stage::Lent;

const std::vector<int>& Outside() {
  static const auto& errnos = *new std::vector<int>{EFAULT, ENODEV, EINVAL};
  return errnos;
}

absl::Status RefusesAll(Exchange& exchange, const Lent& lent) {
  VFIO_USER_ASSIGN_OR_RETURN(const ScriptedPeer::Message read,
                             Ask(exchange, Command::kDmaRead, DmaBody(lent.iova, 16)));
  VFIO_USER_RETURN_IF_ERROR(WantRefusal(read, Command::kDmaRead, Outside()));
  const std::vector<uint8_t> data(16, 0xee);
  VFIO_USER_ASSIGN_OR_RETURN(
      const ScriptedPeer::Message write,
      Ask(exchange, Command::kDmaWrite, DmaBody(lent.iova, data.size(), data)));
  return WantRefusal(write, Command::kDmaWrite, Outside());
}

// Served or refused, but answered.
absl::Status AnswersRead(Exchange& exchange, const Lent& lent) {
  VFIO_USER_ASSIGN_OR_RETURN(const ScriptedPeer::Message reply,
                             Ask(exchange, Command::kDmaRead, DmaBody(lent.iova, 16)));
  if (reply.header.error_flag) return WantRefusal(reply, Command::kDmaRead, Outside());
  return WantReply(reply, Command::kDmaRead, DmaBody(lent.iova, 16, lent.memory->Painted(0, 16)));
}

absl::Status NeverMapped(Stage& stage, const Moment& moment) {
  VFIO_USER_ASSIGN_OR_RETURN(const Lent lent, stage.Prepare());
  return ActAt(moment, stage, lent, RefusesAll);
}

absl::Status AfterUnmap(Stage& stage, const Moment& moment) {
  VFIO_USER_ASSIGN_OR_RETURN(const Lent lent, stage.Lend());
  VFIO_USER_RETURN_IF_ERROR(stage.client().Unmap(lent.iova));
  return ActAt(moment, stage, lent, RefusesAll);
}

absl::Status AfterRefusedMap(Stage& stage, const Moment& moment) {
  VFIO_USER_ASSIGN_OR_RETURN(const Lent lent, stage.Prepare());
  (void)stage.server().Next(Command::kDmaMap, [](Exchange& exchange) {
    return exchange.main().ReplyError(exchange.header(), EINVAL);
  });
  VFIO_USER_RETURN_IF_ERROR(
      Want("the map", stage.client().Map(*lent.memory, lent.iova), {StatusCode::kInvalidArgument}));
  return ActAt(moment, stage, lent, RefusesAll);
}

absl::Status AcrossTwoMappings(Stage& stage, const Moment& moment) {
  VFIO_USER_ASSIGN_OR_RETURN(const Lent lent, stage.Lend());
  VFIO_USER_ASSIGN_OR_RETURN(const Lent other, stage.Prepare());
  const Iova next{ToU64(lent.iova) + LentMemory::kBytes};
  VFIO_USER_RETURN_IF_ERROR(stage.client().Map(*other.memory, next));
  VFIO_USER_RETURN_IF_ERROR(
      ActAt(moment, stage, lent, [&other](Exchange& exchange, const Lent& first) -> absl::Status {
        const Iova last{ToU64(first.iova) + LentMemory::kBytes - 8};
        VFIO_USER_ASSIGN_OR_RETURN(const ScriptedPeer::Message reply,
                                   Ask(exchange, Command::kDmaRead, DmaBody(last, 16)));
        // A client may join them.
        if (reply.header.error_flag) return WantRefusal(reply, Command::kDmaRead, Outside());
        std::vector<uint8_t> both = first.memory->Painted(LentMemory::kBytes - 8, 8);
        const std::vector<uint8_t> rest = other.memory->Painted(0, 8);
        both.insert(both.end(), rest.begin(), rest.end());
        return WantReply(reply, Command::kDmaRead, DmaBody(last, 16, both));
      }));
  return other.memory->CheckIntact();
}

// The device uses memory before it says that it has it.
absl::Status BeforeTheMapIsAnswered(Stage& stage, const Moment&) {
  VFIO_USER_ASSIGN_OR_RETURN(const Lent lent, stage.Prepare());
  std::future<absl::Status> script =
      stage.server().Next(Command::kDmaMap, [&lent](Exchange& exchange) -> absl::Status {
        const absl::Status answered = AnswersRead(exchange, lent);
        VFIO_USER_RETURN_IF_ERROR(exchange.AnswerWell());
        return answered;
      });
  VFIO_USER_RETURN_IF_ERROR(
      Want("the map", stage.client().Map(*lent.memory, lent.iova), {StatusCode::kOk}));
  VFIO_USER_RETURN_IF_ERROR(Outcome(script));
  return stage.CheckWorks();
}

// A transfer that is under way when the memory is taken away, and another one afterwards.
absl::Status WhileUnmapping(Stage& stage, const Moment& moment) {
  VFIO_USER_ASSIGN_OR_RETURN(const Lent lent, stage.Lend());
  std::future<absl::Status> script =
      stage.server().Next(Command::kDmaUnmap, [&lent](Exchange& exchange) -> absl::Status {
        const absl::Status answered = AnswersRead(exchange, lent);
        VFIO_USER_RETURN_IF_ERROR(exchange.AnswerWell());
        return answered;
      });
  VFIO_USER_RETURN_IF_ERROR(Want("the unmap", stage.client().Unmap(lent.iova), {StatusCode::kOk}));
  VFIO_USER_RETURN_IF_ERROR(Outcome(script));
  return ActAt(moment, stage, lent, RefusesAll);
}

struct Lifetime {
  std::string_view name;
  std::string_view expects;
  absl::Status (*run)(Stage&, const Moment&);
};

constexpr Lifetime kLifetimes[] = {
    {"of-what-was-never-mapped", "Memory that is not lent is not reached.", NeverMapped},
    {"after-unmap", "Memory that was taken back is not reached.", AfterUnmap},
    {"after-a-refused-map", "Memory that the server did not take is not reached.", AfterRefusedMap},
    {"across-two-mappings", "What lies beside each other on the bus need not in memory.",
     AcrossTwoMappings},
    {"before-the-map-is-answered", "A command during a map is answered.", BeforeTheMapIsAnswered},
    {"while-unmapping", "A command during an unmap is answered, and none after it served.",
     WhileUnmapping},
};

}  // namespace

std::vector<ClientCheck> LifetimeChecks() {
  std::vector<ClientCheck> checks;
  for (const Lifetime& lifetime : kLifetimes) {
    for (const Moment& moment : Moments()) {
      ClientCheck check;
      check.description = {.name = fmt::format("dma/access-{}-{}", lifetime.name, moment.name),
                           .section = "VFIO_USER_DMA_MAP, VFIO_USER_DMA_UNMAP",
                           .expects = std::string(lifetime.expects)};
      check.needs = {ClientAbility::kMapMemory};
      check.stage.sockets = moment.sockets;
      check.run = [&lifetime, &moment](Stage& stage) { return lifetime.run(stage, moment); };
      checks.push_back(std::move(check));
    }
  }
  return checks;
}

}  // namespace vfio_user
