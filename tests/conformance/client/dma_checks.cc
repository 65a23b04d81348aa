#include "tests/conformance/client/dma_checks.h"

#include <cerrno>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fmt/format.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/transport/unique_fd.h"
#include "proto_defs/wire/command.h"
#include "proto_defs/wire/iova.h"
#include "tests/conformance/client/client_under_test.h"
#include "tests/conformance/client/dma_exchange.h"
#include "tests/conformance/client/lent_memory.h"
#include "tests/conformance/client/scripted_server.h"
#include "tests/conformance/client/stage.h"
#include "tests/testing/memfd.h"
#include "tests/testing/scripted_peer.h"

namespace vfio_user {
namespace {

using Lent = Stage::Lent;

constexpr uint64_t kBytes = LentMemory::kBytes;
// Added to the address of the first byte, the one of the byte before it.
constexpr uint64_t kOneBefore = UINT64_MAX;

Iova At(const Lent& lent, uint64_t offset) { return Iova{ToU64(lent.iova) + offset}; }

struct DmaCase {
  std::string_view name;
  std::string_view expects;
  std::function<absl::Status(Exchange&, const Lent&)> act;
  LentAccess access = LentAccess::kReadWrite;
  Requirement requirement = Requirement::kRequired;
};

// A read of [offset, offset + count) of the lent memory, and what it has to give.
auto Reads(uint64_t offset, uint64_t count) {
  return [offset, count](Exchange& exchange, const Lent& lent) -> absl::Status {
    const std::vector<uint8_t> body = DmaBody(At(lent, offset), count);
    VFIO_USER_ASSIGN_OR_RETURN(const ScriptedPeer::Message reply,
                               Ask(exchange, Command::kDmaRead, body));
    return WantReply(reply, Command::kDmaRead,
                     DmaBody(At(lent, offset), count, lent.memory->Painted(offset, count)));
  };
}

auto Writes(uint64_t offset, uint64_t count) {
  return [offset, count](Exchange& exchange, const Lent& lent) -> absl::Status {
    const std::vector<uint8_t> data(count, 0xee);
    lent.memory->ExpectWritten(offset, data);
    VFIO_USER_ASSIGN_OR_RETURN(
        const ScriptedPeer::Message reply,
        Ask(exchange, Command::kDmaWrite, DmaBody(At(lent, offset), count, data)));
    return WantReply(reply, Command::kDmaWrite, DmaBody(At(lent, offset), count));
  };
}

// What `body` makes of the lent memory's address is refused.
auto Refuses(Command command, std::vector<int> errnos,
             std::function<std::vector<uint8_t>(Iova)> body) {
  return [command, errnos = std::move(errnos), body = std::move(body)](
             Exchange& exchange, const Lent& lent) -> absl::Status {
    VFIO_USER_ASSIGN_OR_RETURN(const ScriptedPeer::Message reply,
                               Ask(exchange, command, body(lent.iova)));
    return WantRefusal(reply, command, errnos);
  };
}

// A read, and a write, of `count` bytes at `offset` from the lent memory, which wraps below it.
auto RefusesRead(std::vector<int> errnos, uint64_t offset, uint64_t count) {
  return Refuses(Command::kDmaRead, std::move(errnos), [offset, count](Iova first) {
    return DmaBody(Iova{ToU64(first) + offset}, count);
  });
}

auto RefusesWrite(std::vector<int> errnos, uint64_t offset, uint64_t count) {
  return Refuses(Command::kDmaWrite, std::move(errnos), [offset, count](Iova first) {
    return DmaBody(Iova{ToU64(first) + offset}, count, std::vector<uint8_t>(count, 0xee));
  });
}

std::vector<DmaCase> Good() {
  constexpr std::string_view kServed = "An access to memory that is lent is served.";
  return {
      {"read-all", kServed, Reads(0, kBytes)},
      {"read-the-first-byte", kServed, Reads(0, 1)},
      {"read-the-last-byte", kServed, Reads(kBytes - 1, 1)},
      {"write-all", kServed, Writes(0, kBytes)},
      {"write-the-first-byte", kServed, Writes(0, 1)},
      {"write-the-last-byte", kServed, Writes(kBytes - 1, 1)},
      {"read-of-memory-that-may-only-be-read", kServed, Reads(5, 99), LentAccess::kReadOnly},
  };
}

std::vector<DmaCase> Outside() {
  const std::vector<int> outside = {EFAULT, ENODEV, EINVAL};
  const std::vector<int> large = {E2BIG, EINVAL, EFAULT, ENODEV};
  const std::vector<int> wrong_way = {EACCES, EPERM};
  constexpr std::string_view kOutside = "No byte outside of what is lent is read or written.";
  return {
      {"read-before", kOutside, RefusesRead(outside, kOneBefore, 1)},
      {"read-after", kOutside, RefusesRead(outside, kBytes, 1)},
      {"read-across-the-start", kOutside, RefusesRead(outside, kOneBefore, 2)},
      {"read-across-the-end", kOutside, RefusesRead(outside, kBytes - 1, 2)},
      {"read-more-than-all", kOutside, RefusesRead(outside, 0, kBytes + 1)},
      {"read-far-away", kOutside, RefusesRead(outside, 1ULL << 40, 16)},
      {"read-2-gib", kOutside, RefusesRead(large, 0, 1ULL << 31)},
      {"read-2-to-the-63", kOutside, RefusesRead(large, 0, 1ULL << 63)},
      {"read-of-all-64-bits", kOutside, RefusesRead(large, 0, UINT64_MAX)},
      {"read-that-wraps", kOutside,
       Refuses(Command::kDmaRead, outside,
               [](Iova first) { return DmaBody(first, UINT64_MAX - ToU64(first) + 2); })},
      {"write-before", kOutside, RefusesWrite(outside, kOneBefore, 1)},
      {"write-after", kOutside, RefusesWrite(outside, kBytes, 1)},
      {"write-across-the-start", kOutside, RefusesWrite(outside, kOneBefore, 2)},
      {"write-across-the-end", kOutside, RefusesWrite(outside, kBytes - 1, 2)},
      {"write-more-than-all", kOutside, RefusesWrite(outside, 0, kBytes + 1)},
      {"write-to-memory-that-may-only-be-read", "The direction of a mapping holds.",
       RefusesWrite(wrong_way, 0, 16), LentAccess::kReadOnly},
  };
}

std::vector<uint8_t> Cut(std::vector<uint8_t> body, size_t length) {
  body.resize(length);
  return body;
}

std::vector<DmaCase> Malformed() {
  const std::vector<int> invalid = {EINVAL};
  const std::vector<int> long_or_wide = {EINVAL, E2BIG};
  constexpr std::string_view kForm = "A body that does not fit its command is refused.";
  return {
      {"read-without-body", kForm,
       Refuses(Command::kDmaRead, invalid, [](Iova) { return std::vector<uint8_t>(); })},
      {"read-of-half-a-body", kForm,
       Refuses(Command::kDmaRead, invalid, [](Iova first) { return Cut(DmaBody(first, 16), 8); })},
      {"read-with-data", kForm,
       Refuses(Command::kDmaRead, long_or_wide,
               [](Iova first) { return Cut(DmaBody(first, 4), 20); })},
      {"write-without-body", kForm,
       Refuses(Command::kDmaWrite, invalid, [](Iova) { return std::vector<uint8_t>(); })},
      {"write-of-half-a-body", kForm,
       Refuses(Command::kDmaWrite, invalid, [](Iova first) { return Cut(DmaBody(first, 4), 15); })},
      {"write-with-less-data-than-count", kForm,
       Refuses(Command::kDmaWrite, long_or_wide,
               [](Iova first) { return Cut(DmaBody(first, 64), 16 + 63); })},
      {"write-with-more-data-than-count", kForm,
       Refuses(Command::kDmaWrite, long_or_wide,
               [](Iova first) { return Cut(DmaBody(first, 64), 16 + 65); })},
      {"write-of-2-to-the-63-with-16-bytes", kForm,
       Refuses(Command::kDmaWrite, {E2BIG, EINVAL, EFAULT},
               [](Iova first) { return Cut(DmaBody(first, 1ULL << 63), 32); })},
  };
}

// Of nothing: done, or refused, and in no case more than 16 bytes.
absl::Status OfNothing(Exchange& exchange, const Lent& lent, Command command) {
  const std::vector<uint8_t> body = DmaBody(lent.iova, 0);
  VFIO_USER_ASSIGN_OR_RETURN(const ScriptedPeer::Message reply, Ask(exchange, command, body));
  if (reply.header.error_flag) return WantRefusal(reply, command, {EINVAL});
  return WantReply(reply, command, body);
}

absl::Status WithDescriptors(Exchange& exchange, const Lent& lent, Command command) {
  const UniqueFd file = Memfd("not asked for");
  const std::vector<uint8_t> data(command == Command::kDmaWrite ? 8 : 0, 0xee);
  VFIO_USER_ASSIGN_OR_RETURN(
      const ScriptedPeer::Message reply,
      Ask(exchange, command, DmaBody(lent.iova, 8, data), std::vector<FdView>(7, file)));
  return WantRefusal(reply, command, {EINVAL});
}

// Unlike what a device may want, No_reply means that there is none, done or not.
absl::Status WithoutReply(Exchange& exchange, const Lent& lent, uint64_t offset) {
  const std::vector<uint8_t> data(8, 0xee);
  if (offset < kBytes) lent.memory->ExpectWritten(offset, data);
  VFIO_USER_RETURN_IF_ERROR(exchange.commands().Send(
      {.msg_id = kServersId, .command = Command::kDmaWrite, .no_reply = true},
      DmaBody(At(lent, offset), data.size(), data)));
  // Answered after it, so that what comes first shows whether the first one was answered too.
  return Reads(0, 64)(exchange, lent);
}

std::vector<DmaCase> Special() {
  const auto with = [](auto act, Command command) {
    return [act, command](Exchange& exchange, const Lent& lent) {
      return act(exchange, lent, command);
    };
  };
  const auto without_reply = [](uint64_t offset) {
    return [offset](Exchange& exchange, const Lent& lent) {
      return WithoutReply(exchange, lent, offset);
    };
  };
  return {
      {"read-of-0-bytes", "Nothing is read.", with(OfNothing, Command::kDmaRead)},
      {"write-of-0-bytes", "Nothing is written.", with(OfNothing, Command::kDmaWrite)},
      {"read-with-descriptors", "They are closed, and the command is refused.",
       with(WithDescriptors, Command::kDmaRead), LentAccess::kReadWrite, Requirement::kRecommended},
      {"write-with-descriptors", "They are closed, and the command is refused.",
       with(WithDescriptors, Command::kDmaWrite), LentAccess::kReadWrite,
       Requirement::kRecommended},
      {"write-without-reply", "It is carried out, and not answered.", without_reply(100)},
      {"bad-write-without-reply", "It is refused, and not answered.", without_reply(kBytes)},
  };
}

// Commands that a client does not serve, with a body that means nothing to it.
std::vector<DmaCase> Unknown() {
  std::vector<DmaCase> cases;
  constexpr std::pair<std::string_view, uint16_t> kCommands[] = {
      {"command-0", 0},          {"command-14", 14},       {"command-19", 19},
      {"command-65535", 0xffff}, {"a-clients-map", 2},     {"a-clients-region-read", 9},
      {"a-clients-reset", 13},   {"a-clients-version", 1},
  };
  for (const auto& [name, number] : kCommands) {
    cases.push_back({name, "A command that a client does not serve is refused, body and all.",
                     Refuses(Command{number}, {ENOSYS, EINVAL, ENOTSUP},
                             [](Iova first) { return Cut(DmaBody(first, 16), 200); })});
  }
  return cases;
}

ClientCheck CheckOf(const DmaCase& dma, const Moment& moment) {
  ClientCheck check;
  check.description = {.name = fmt::format("dma/{}-{}", dma.name, moment.name),
                       .requirement = dma.requirement,
                       .section = "VFIO_USER_DMA_READ, VFIO_USER_DMA_WRITE",
                       .expects = std::string(dma.expects)};
  check.needs = {ClientAbility::kMapMemory};
  if (dma.access == LentAccess::kReadOnly) check.needs.push_back(ClientAbility::kReadOnlyMemory);
  check.stage.sockets = moment.sockets;
  check.run = [dma, moment](Stage& stage) -> absl::Status {
    VFIO_USER_ASSIGN_OR_RETURN(const Lent lent, stage.Lend(dma.access));
    const int before = stage.adapter().OpenDescriptors();
    VFIO_USER_RETURN_IF_ERROR(ActAt(moment, stage, lent, dma.act));
    const int after = stage.adapter().OpenDescriptors();
    if (after == before) return absl::OkStatus();
    return Wrong(fmt::format("the client has {} descriptors, and had {} before", after, before));
  };
  return check;
}

}  // namespace

std::vector<ClientCheck> DmaChecks() {
  std::vector<ClientCheck> checks;
  for (const auto& cases : {Good(), Outside(), Malformed(), Special(), Unknown()}) {
    for (const DmaCase& dma : cases) {
      for (const Moment& moment : Moments()) checks.push_back(CheckOf(dma, moment));
    }
  }
  return checks;
}

}  // namespace vfio_user
