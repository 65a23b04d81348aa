// Headers, and what is between messages.
#include <array>
#include <cerrno>
#include <cstdint>
#include <vector>

#include "fmt/format.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/wire/device_info.h"
#include "proto_defs/wire/dma_map.h"
#include "proto_defs/wire/format.h"
#include "proto_defs/wire/limits.h"
#include "proto_defs/wire/wire_writer.h"
#include "tests/conformance/server/check_families.h"
#include "tests/conformance/server/outcome.h"
#include "tests/testing/memfd.h"

namespace vfio_user {
namespace {

constexpr std::string_view kHeader = "Header";
constexpr std::string_view kCommands = "Commands";
constexpr std::string_view kConcurrency = "Command Concurrency";
constexpr std::string_view kSecurity = "Security Considerations";

// Where nothing else of these checks is.
constexpr Iova kSomewhere = Iova{0x4000000};

std::vector<uint8_t> InfoBody() { return Serialize(DeviceInfoRequest()); }

// A whole DEVICE_GET_INFO.
std::vector<uint8_t> InfoMessage(MessageHeader header) {
  header.command = Command::kDeviceGetInfo;
  header.msg_size = kHeaderBytes + DeviceInfoRequest::kBytes;
  const std::array<uint8_t, kHeaderBytes> head = header.Serialize();
  std::vector<uint8_t> bytes(head.begin(), head.end());
  const std::vector<uint8_t> body = InfoBody();
  bytes.insert(bytes.end(), body.begin(), body.end());
  return bytes;
}

absl::Status Answers(WireClient& client, uint16_t id) {
  const MessageHeader header = {.msg_id = id, .command = Command::kDeviceGetInfo};
  VFIO_USER_ASSIGN_OR_RETURN(const WireClient::Message reply, client.ReceiveReply(header));
  return DeviceInfo::Parse(reply.body).status();
}

absl::Status EchoesIds(ServerUnderTest& server) {
  VFIO_USER_ASSIGN_OR_RETURN(WireClient client, server.Connect());
  for (const uint16_t id : {uint16_t{0}, uint16_t{1}, uint16_t{0x8000}, uint16_t{0xffff}}) {
    VFIO_USER_RETURN_IF_ERROR(client.SendBytes(InfoMessage({.msg_id = id})));
    VFIO_USER_RETURN_IF_ERROR(Answers(client, id));
  }
  return absl::OkStatus();
}

absl::Status TakesOneIdTwice(ServerUnderTest& server) {
  VFIO_USER_ASSIGN_OR_RETURN(WireClient client, server.Connect());
  for (int i = 0; i < 2; ++i) {
    VFIO_USER_RETURN_IF_ERROR(client.SendBytes(InfoMessage({.msg_id = 7})));
  }
  VFIO_USER_RETURN_IF_ERROR(Answers(client, 7));
  return Answers(client, 7);
}

absl::Status AnswersInOrder(ServerUnderTest& server) {
  VFIO_USER_ASSIGN_OR_RETURN(WireClient client, server.Connect());
  constexpr uint16_t kCount = 50;
  for (uint16_t id = 0; id < kCount; ++id) {
    VFIO_USER_RETURN_IF_ERROR(client.SendBytes(InfoMessage({.msg_id = id})));
  }
  for (uint16_t id = 0; id < kCount; ++id) VFIO_USER_RETURN_IF_ERROR(Answers(client, id));
  return absl::OkStatus();
}

absl::Status TakesManyInOneSend(ServerUnderTest& server) {
  VFIO_USER_ASSIGN_OR_RETURN(WireClient client, server.Connect());
  constexpr uint16_t kCount = 50;
  std::vector<uint8_t> bytes;
  for (uint16_t id = 0; id < kCount; ++id) {
    const std::vector<uint8_t> one = InfoMessage({.msg_id = id});
    bytes.insert(bytes.end(), one.begin(), one.end());
  }
  VFIO_USER_RETURN_IF_ERROR(client.SendBytes(bytes));
  for (uint16_t id = 0; id < kCount; ++id) VFIO_USER_RETURN_IF_ERROR(Answers(client, id));
  return absl::OkStatus();
}

// In two pieces, cut after `first` bytes.
absl::Status TakesAMessageCutAt(ServerUnderTest& server, size_t first) {
  VFIO_USER_ASSIGN_OR_RETURN(WireClient client, server.Connect());
  const std::vector<uint8_t> bytes = InfoMessage({.msg_id = 3});
  VFIO_USER_RETURN_IF_ERROR(client.SendBytes(std::span(bytes).first(first)));
  VFIO_USER_RETURN_IF_ERROR(client.SendBytes(std::span(bytes).subspan(first)));
  return Answers(client, 3);
}

absl::Status TakesAMessageByteByByte(ServerUnderTest& server) {
  VFIO_USER_ASSIGN_OR_RETURN(WireClient client, server.Connect());
  const std::vector<uint8_t> bytes = InfoMessage({.msg_id = 3});
  for (const uint8_t& byte : bytes) VFIO_USER_RETURN_IF_ERROR(client.SendBytes({&byte, 1}));
  return Answers(client, 3);
}

// Such a stream cannot be trusted to be in step: an error reply, the end, or both.
absl::Status RefusesSize(ServerUnderTest& server, uint32_t msg_size) {
  VFIO_USER_ASSIGN_OR_RETURN(WireClient client, server.Connect());
  MessageHeader header = {.msg_id = 9, .command = Command::kDeviceGetInfo, .msg_size = msg_size};
  VFIO_USER_RETURN_IF_ERROR(client.SendBytes(header.Serialize()));
  const absl::StatusOr<WireClient::Message> reply = client.Receive();
  if (absl::IsUnavailable(reply.status())) return absl::OkStatus();
  VFIO_USER_RETURN_IF_ERROR(reply.status());
  return client.CheckRefusal(*reply, {EINVAL});
}

absl::Status RefusesSizesBelowAHeader(ServerUnderTest& server) {
  for (const uint32_t size : {0u, 1u, 15u}) {
    VFIO_USER_RETURN_IF_ERROR(InCase(RefusesSize(server, size), fmt::format("msg_size {}", size)));
  }
  return absl::OkStatus();
}

// The bytes of the header's flags are the server's to judge.
absl::Status TakesFlags(ServerUnderTest& server, uint8_t low, uint8_t second) {
  VFIO_USER_ASSIGN_OR_RETURN(WireClient client, server.Connect());
  std::vector<uint8_t> bytes = InfoMessage({.msg_id = 5});
  bytes[8] |= low;
  bytes[9] = second;
  VFIO_USER_RETURN_IF_ERROR(client.SendBytes(bytes));
  return Answers(client, 5);
}

absl::Status IgnoresTheErrorFieldOfACommand(ServerUnderTest& server) {
  VFIO_USER_ASSIGN_OR_RETURN(WireClient client, server.Connect());
  std::vector<uint8_t> bytes = InfoMessage({.msg_id = 5});
  bytes[12] = EINVAL;
  VFIO_USER_RETURN_IF_ERROR(client.SendBytes(bytes));
  return Answers(client, 5);
}

absl::Status RefusesTypesThatThereAreNot(ServerUnderTest& server) {
  for (const uint8_t type : {uint8_t{2}, uint8_t{15}}) {
    VFIO_USER_ASSIGN_OR_RETURN(WireClient client, server.Connect());
    const MessageHeader header = {.msg_id = 9, .command = Command::kDeviceReset, .type = type};
    VFIO_USER_RETURN_IF_ERROR(client.SendMessage(header));
    const absl::StatusOr<WireClient::Message> reply = client.Receive();
    if (absl::IsUnavailable(reply.status())) continue;
    VFIO_USER_RETURN_IF_ERROR(reply.status());
    VFIO_USER_RETURN_IF_ERROR(client.CheckRefusal(*reply, {EINVAL}));
  }
  return absl::OkStatus();
}

// It must not take it for a command, whatever else it makes of it.
absl::Status TakesNoReplyForACommand(ServerUnderTest& server) {
  VFIO_USER_ASSIGN_OR_RETURN(WireClient client, server.Connect());
  const MessageHeader command = {.msg_id = 9, .command = Command::kDeviceGetInfo};
  VFIO_USER_RETURN_IF_ERROR(client.SendMessage(command.Reply(), InfoBody()));
  const absl::StatusOr<WireClient::Message> answer = client.Receive();
  if (absl::IsUnavailable(answer.status())) return absl::OkStatus();
  VFIO_USER_RETURN_IF_ERROR(answer.status());
  return client.CheckRefusal(*answer, {EINVAL});
}

absl::Status RefusesCommand(ServerUnderTest& server, uint16_t command, size_t body_bytes) {
  return InCase(
      server.Refuses({.command = Command{command}, .body = std::vector<uint8_t>(body_bytes, 0xa5)},
                     {EINVAL, ENOTSUP, ENOSYS}),
      fmt::format("command {}", command));
}

absl::Status RefusesUnknownCommands(ServerUnderTest& server, size_t body_bytes) {
  for (const uint16_t command : {uint16_t{0}, uint16_t{19}, uint16_t{999}, uint16_t{0xffff}}) {
    VFIO_USER_RETURN_IF_ERROR(RefusesCommand(server, command, body_bytes));
  }
  return absl::OkStatus();
}

absl::Status RefusesCommandsOfItsOwn(ServerUnderTest& server) {
  VFIO_USER_RETURN_IF_ERROR(RefusesCommand(server, 11, 16));
  return RefusesCommand(server, 12, 32);
}

// The reply that comes first is the one to what was sent next.
absl::Status IsSilentAbout(ServerUnderTest& server, MessageHeader header,
                           std::vector<uint8_t> body) {
  VFIO_USER_ASSIGN_OR_RETURN(WireClient client, server.Connect());
  header.msg_id = 0x77;
  header.no_reply = true;
  VFIO_USER_RETURN_IF_ERROR(client.SendMessage(header, body));
  return client.InStep();
}

absl::Status DoesWithoutAnswering(ServerUnderTest& server) {
  if (server.traits().ignores_dma) return Skip("the device does no DMA");
  VFIO_USER_ASSIGN_OR_RETURN(WireClient client, server.Connect());
  MessageHeader header = {.msg_id = 0x77, .command = Command::kDmaMap, .no_reply = true};
  const DmaMapRequest map = {.flags = DmaMapFlags(DmaMapFlag::kRead) | DmaMapFlag::kWrite,
                             .address = kSomewhere,
                             .size = 0x1000};
  VFIO_USER_RETURN_IF_ERROR(client.SendMessage(header, Serialize(map)));
  const DmaUnmapRequest unmap = {.address = kSomewhere, .size = 0x1000};
  return client.Do({.command = Command::kDmaUnmap, .body = Serialize(unmap)}).status();
}

// Refused or ignored, as long as the next message is understood.
absl::Status SurvivesDescriptors(ServerUnderTest& server, size_t count) {
  VFIO_USER_ASSIGN_OR_RETURN(WireClient client, server.Connect());
  const UniqueFd file = Memfd("stray");
  const std::vector<FdView> fds(count, FdView(file));
  VFIO_USER_ASSIGN_OR_RETURN(
      const WireClient::Message reply,
      client.Ask({.command = Command::kDeviceGetInfo, .body = InfoBody(), .fds = fds}));
  if (!reply.header.error_flag) client.Remark("stray descriptors are taken without a word");
  return client.InStep();
}

absl::Status HeadersComeWhole(ServerUnderTest& server) {
  VFIO_USER_ASSIGN_OR_RETURN(WireClient client, server.Connect());
  VFIO_USER_RETURN_IF_ERROR(client.SendBytes(InfoMessage({.msg_id = 1})));
  VFIO_USER_ASSIGN_OR_RETURN(const size_t bytes, client.ReceiveOnce(kHeaderBytes));
  if (bytes == kHeaderBytes) return absl::OkStatus();
  return Misbehaved(fmt::format("the first {} bytes of a header came alone", bytes));
}

constexpr ServerCheck kChecks[] = {
    {"framing/id-and-command-are-echoed", kHeader, Requirement::kRequired, EchoesIds},
    {"framing/one-id-may-be-used-twice-at-a-time", kHeader, Requirement::kRequired,
     TakesOneIdTwice},
    {"framing/pipelined-commands-are-answered-in-order", kConcurrency, Requirement::kRequired,
     AnswersInOrder},
    {"framing/many-commands-in-one-send-are-answered", kConcurrency, Requirement::kRequired,
     TakesManyInOneSend},
    {"framing/no-reply-command-is-done-and-not-answered", kHeader, Requirement::kRequired,
     DoesWithoutAnswering},
    {"framing/no-reply-command-that-fails-is-not-answered", kHeader, Requirement::kRecommended,
     [](ServerUnderTest& server) {
       return IsSilentAbout(server, {.command = Command::kDmaUnmap}, {1, 2, 3});
     }},
    {"framing/unknown-no-reply-command-is-not-answered", kHeader, Requirement::kRecommended,
     [](ServerUnderTest& server) {
       return IsSilentAbout(server, {.command = Command{999}}, {1, 2, 3});
     }},
    {"framing/unknown-command-is-refused", kCommands, Requirement::kRequired,
     [](ServerUnderTest& server) { return RefusesUnknownCommands(server, 0); }},
    {"framing/body-of-an-unknown-command-is-skipped", kCommands, Requirement::kRequired,
     [](ServerUnderTest& server) { return RefusesUnknownCommands(server, 4096); }},
    {"framing/commands-of-the-server-are-refused", kCommands, Requirement::kRequired,
     RefusesCommandsOfItsOwn},
    {"framing/unassigned-command-14-is-refused", kCommands, Requirement::kRecommended,
     [](ServerUnderTest& server) { return RefusesCommand(server, 14, 8); }},
    {"framing/size-below-a-header-is-refused", kHeader, Requirement::kRequired,
     RefusesSizesBelowAHeader},
    {"framing/size-above-every-limit-is-refused", kSecurity, Requirement::kRequired,
     [](ServerUnderTest& server) { return RefusesSize(server, UINT32_MAX); }},
    {"framing/size-above-the-negotiated-is-refused", kSecurity, Requirement::kRecommended,
     [](ServerUnderTest& server) { return RefusesSize(server, 80 << 20); }},
    {"framing/unknown-type-is-refused", kHeader, Requirement::kRecommended,
     RefusesTypesThatThereAreNot},
    {"framing/reply-to-nothing-is-not-a-command", kHeader, Requirement::kRequired,
     TakesNoReplyForACommand},
    {"framing/reserved-flags-are-ignored", kHeader, Requirement::kRecommended,
     [](ServerUnderTest& server) { return TakesFlags(server, 0xc0, 0xff); }},
    {"framing/error-field-of-a-command-is-ignored", kHeader, Requirement::kRecommended,
     IgnoresTheErrorFieldOfACommand},
    {"framing/header-in-two-pieces-is-taken", "Socket", Requirement::kRecommended,
     [](ServerUnderTest& server) { return TakesAMessageCutAt(server, 7); }},
    {"framing/header-and-body-apart-are-taken", "Socket", Requirement::kRecommended,
     [](ServerUnderTest& server) { return TakesAMessageCutAt(server, kHeaderBytes); }},
    {"framing/body-in-two-pieces-is-taken", "Socket", Requirement::kRecommended,
     [](ServerUnderTest& server) { return TakesAMessageCutAt(server, kHeaderBytes + 5); }},
    {"framing/message-byte-by-byte-is-taken", "Socket", Requirement::kRecommended,
     TakesAMessageByteByByte},
    {"framing/stray-descriptors-do-no-harm", kSecurity, Requirement::kRequired,
     [](ServerUnderTest& server) { return SurvivesDescriptors(server, 1); }},
    {"framing/as-many-descriptors-as-the-kernel-passes-do-no-harm", kSecurity,
     Requirement::kRecommended,
     [](ServerUnderTest& server) { return SurvivesDescriptors(server, kMaxFdsPerMessage); }},
    {"framing/headers-of-replies-come-whole", "QEMU's client", Requirement::kPeerQuirk,
     HeadersComeWhole},
};

}  // namespace

std::span<const ServerCheck> FramingChecks() { return kChecks; }

}  // namespace vfio_user
