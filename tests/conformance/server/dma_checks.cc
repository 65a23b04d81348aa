// How the device reaches what the client lent it, with a device that can be made to.
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <numeric>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fmt/format.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/wire/command.h"
#include "proto_defs/wire/dma_access.h"
#include "proto_defs/wire/format.h"
#include "proto_defs/wire/header.h"
#include "proto_defs/wire/version.h"
#include "proto_defs/wire/wire_writer.h"
#include "tests/conformance/server/check_families.h"
#include "tests/conformance/server/config_space.h"
#include "tests/conformance/server/dma_engine.h"
#include "tests/conformance/server/dma_requests.h"
#include "tests/conformance/server/outcome.h"

namespace vfio_user {
namespace {

constexpr std::string_view kMessages = "VFIO_USER_DMA_READ, VFIO_USER_DMA_WRITE";
constexpr std::string_view kMap = "VFIO_USER_DMA_MAP";
constexpr std::string_view kQemu = "QEMU's client";

constexpr uint64_t kFrom = 0x100000;
constexpr uint64_t kTo = 0x200000;
constexpr uint64_t kBytes = 4096;
constexpr EngineCopy kCopy = {.source = kFrom, .destination = kTo, .bytes = kBytes};

std::vector<uint8_t> Pattern() {
  std::vector<uint8_t> bytes(kBytes);
  std::iota(bytes.begin(), bytes.end(), uint8_t{7});
  return bytes;
}

// A client, its memory at kFrom (a pattern) and kTo (zeros), and the device. Not to be moved.
struct Bench {
  explicit Bench(WireClient connected) : client(std::move(connected)) {}

  // By what flags each of them is lent; messages are what reaches them.
  absl::Status Lend(uint32_t from_flags, uint32_t to_flags) {
    VFIO_USER_RETURN_IF_ERROR(
        client.DoPlain(MapRequest({.flags = from_flags, .address = kFrom, .size = kBytes})));
    return client.DoPlain(MapRequest({.flags = to_flags, .address = kTo, .size = kBytes}));
  }

  absl::Status CheckCopied() {
    if (memory.Content(kTo, kBytes) == Pattern()) return absl::OkStatus();
    return Misbehaved("what the device was to copy did not arrive");
  }
  absl::Status CheckUntouched() {
    if (memory.Content(kTo, kBytes) == std::vector<uint8_t>(kBytes)) return absl::OkStatus();
    return Misbehaved("the device wrote where it must not");
  }

  WireClient client;
  MessageMemory memory;
};

absl::StatusOr<Bench> Prepare(ServerUnderTest& server, std::string_view json = kUsualJson) {
  VFIO_USER_ASSIGN_OR_RETURN(WireClient client, server.Connect(json));
  Bench bench(std::move(client));
  bench.memory.Add(kFrom, kBytes);
  bench.memory.Add(kTo, kBytes);
  VFIO_USER_RETURN_IF_ERROR(bench.memory.Fill(kFrom, Pattern()));
  return bench;
}

absl::Status RunWithFlags(ServerUnderTest& server, Bench& bench, uint32_t from, uint32_t to) {
  VFIO_USER_ASSIGN_OR_RETURN(DmaEngine engine,
                             DmaEngine::Start(server, bench.client, bench.memory));
  VFIO_USER_RETURN_IF_ERROR(bench.Lend(from, to));
  VFIO_USER_RETURN_IF_ERROR(engine.Run(kCopy));
  return bench.client.InStep();
}

absl::Status CopiesByMessage(ServerUnderTest& server) {
  VFIO_USER_ASSIGN_OR_RETURN(Bench bench, Prepare(server));
  VFIO_USER_RETURN_IF_ERROR(RunWithFlags(server, bench, kDmaRead, kDmaWrite));
  return bench.CheckCopied();
}

absl::Status KeepsToTheLimit(ServerUnderTest& server) {
  VFIO_USER_ASSIGN_OR_RETURN(Bench bench,
                             Prepare(server, R"({"capabilities":{"max_data_xfer_size":1024}})"));
  VFIO_USER_RETURN_IF_ERROR(RunWithFlags(server, bench, kDmaRead, kDmaWrite));
  if (bench.memory.most_bytes() > 1024) {
    return Misbehaved(fmt::format("a message about {} bytes to a client that takes 1024",
                                  bench.memory.most_bytes()));
  }
  return bench.CheckCopied();
}

absl::Status DoesNotWriteWhatIsToRead(ServerUnderTest& server) {
  VFIO_USER_ASSIGN_OR_RETURN(Bench bench, Prepare(server));
  VFIO_USER_RETURN_IF_ERROR(RunWithFlags(server, bench, kDmaReadWrite, kDmaRead));
  return bench.CheckUntouched();
}

absl::Status DoesNotReadWhatIsToWrite(ServerUnderTest& server) {
  VFIO_USER_ASSIGN_OR_RETURN(Bench bench, Prepare(server));
  VFIO_USER_RETURN_IF_ERROR(RunWithFlags(server, bench, kDmaWrite, kDmaReadWrite));
  if (bench.memory.MessagesAbout(kFrom, kBytes) == 0) return absl::OkStatus();
  return Misbehaved("the device read what was lent to be written only");
}

absl::Status LeavesAloneWhatIsNotMapped(ServerUnderTest& server) {
  VFIO_USER_ASSIGN_OR_RETURN(Bench bench, Prepare(server));
  VFIO_USER_ASSIGN_OR_RETURN(DmaEngine engine,
                             DmaEngine::Start(server, bench.client, bench.memory));
  VFIO_USER_RETURN_IF_ERROR(engine.Run(kCopy));
  VFIO_USER_RETURN_IF_ERROR(bench.client.InStep());
  if (bench.memory.MessagesAbout(kFrom, kBytes) + bench.memory.MessagesAbout(kTo, kBytes) > 0) {
    return Misbehaved("DMA messages about memory that is not mapped");
  }
  return bench.CheckUntouched();
}

absl::Status LeavesAloneWhatIsUnmapped(ServerUnderTest& server) {
  VFIO_USER_ASSIGN_OR_RETURN(Bench bench, Prepare(server));
  VFIO_USER_ASSIGN_OR_RETURN(DmaEngine engine,
                             DmaEngine::Start(server, bench.client, bench.memory));
  VFIO_USER_RETURN_IF_ERROR(bench.Lend(kDmaReadWrite, kDmaReadWrite));
  VFIO_USER_RETURN_IF_ERROR(engine.Run(kCopy));
  VFIO_USER_RETURN_IF_ERROR(
      bench.client.Do(UnmapRequest({.address = kFrom, .size = kBytes})).status());
  const int before = bench.memory.MessagesAbout(kFrom, kBytes);
  VFIO_USER_RETURN_IF_ERROR(engine.Run(kCopy));
  if (bench.memory.MessagesAbout(kFrom, kBytes) == before) return absl::OkStatus();
  return Misbehaved("DMA messages about memory that was unmapped");
}

// Both ranges are one file, which the check looks at itself.
absl::Status CopiesWithinAFile(ServerUnderTest& server, uint32_t mode) {
  VFIO_USER_ASSIGN_OR_RETURN(Bench bench, Prepare(server));
  VFIO_USER_ASSIGN_OR_RETURN(DmaEngine engine,
                             DmaEngine::Start(server, bench.client, bench.memory));
  const UniqueFd file = MemoryFile(2 * kBytes);
  std::vector<uint8_t> bytes = Pattern();
  (void)!::pwrite(file.get(), bytes.data(), bytes.size(), 0);
  for (const uint64_t i : {0u, 1u}) {
    const MapNumbers numbers = {.flags = kDmaReadWrite | mode,
                                .offset = i * kBytes,
                                .address = i == 0 ? kFrom : kTo,
                                .size = kBytes};
    VFIO_USER_ASSIGN_OR_RETURN(const WireClient::Message reply,
                               bench.client.Ask(MapRequest(numbers, {FdView(file)})));
    if (reply.header.error_flag) return Skip("the server does not take this mode");
  }
  VFIO_USER_RETURN_IF_ERROR(engine.Run(kCopy));
  // Through messages is a way too, and then this memory is what was copied.
  if (bench.memory.MessagesAbout(kTo, kBytes) > 0) return bench.CheckCopied();
  (void)!::pread(file.get(), bytes.data(), bytes.size(), kBytes);
  return bytes == Pattern() ? absl::OkStatus()
                            : Misbehaved("what the device was to copy did not arrive");
}

absl::Status SurvivesATruncatedFile(ServerUnderTest& server, uint32_t mode) {
  {
    VFIO_USER_ASSIGN_OR_RETURN(Bench bench, Prepare(server));
    VFIO_USER_ASSIGN_OR_RETURN(DmaEngine engine,
                               DmaEngine::Start(server, bench.client, bench.memory));
    const UniqueFd file = MemoryFile(kBytes);
    for (const uint64_t address : {kFrom, kTo}) {
      const MapNumbers numbers = {
          .flags = kDmaReadWrite | mode, .address = address, .size = kBytes};
      VFIO_USER_ASSIGN_OR_RETURN(const WireClient::Message reply,
                                 bench.client.Ask(MapRequest(numbers, {FdView(file)})));
      if (reply.header.error_flag) return Skip("the server does not take this mode");
    }
    if (::ftruncate(file.get(), 0) != 0) return Skip("a memory file cannot be truncated");
    VFIO_USER_RETURN_IF_ERROR(engine.Run(kCopy));
    VFIO_USER_RETURN_IF_ERROR(bench.client.InStep());
  }
  VFIO_USER_ASSIGN_OR_RETURN(WireClient next, server.Connect());
  return next.InStep();
}

// The device at work: the register write that started it was sent.
absl::Status StartAtWork(ServerUnderTest& server, Bench& bench, MessageHeader& sent) {
  VFIO_USER_ASSIGN_OR_RETURN(DmaEngine engine,
                             DmaEngine::Start(server, bench.client, bench.memory));
  VFIO_USER_RETURN_IF_ERROR(bench.Lend(kDmaReadWrite, kDmaReadWrite));
  VFIO_USER_ASSIGN_OR_RETURN(const WireRequest start, engine.Prepare(kCopy));
  VFIO_USER_ASSIGN_OR_RETURN(sent, bench.client.Send(start));
  return absl::OkStatus();
}

absl::Status AnswersBeforeItsDma(ServerUnderTest& server) {
  VFIO_USER_ASSIGN_OR_RETURN(Bench bench, Prepare(server));
  MessageHeader sent;
  VFIO_USER_RETURN_IF_ERROR(StartAtWork(server, bench, sent));
  return bench.client.ReceiveReply(sent).status();
}

// The first command of the server after the register write was answered, not answered itself.
absl::StatusOr<WireClient::Message> FirstDma(ServerUnderTest& server, Bench& bench) {
  MessageHeader sent;
  VFIO_USER_RETURN_IF_ERROR(StartAtWork(server, bench, sent));
  VFIO_USER_ASSIGN_OR_RETURN(WireClient::Message first, bench.client.Receive());
  if (first.header.is_reply()) return bench.client.Receive();
  // The other order is what another check is about.
  VFIO_USER_RETURN_IF_ERROR(bench.memory.Serve(bench.client, first));
  VFIO_USER_RETURN_IF_ERROR(bench.client.ReceiveReply(sent).status());
  return Skip("the server does not answer a register write before its DMA");
}

absl::Status ServesMeanwhile(ServerUnderTest& server) {
  VFIO_USER_ASSIGN_OR_RETURN(Bench bench, Prepare(server));
  VFIO_USER_RETURN_IF_ERROR(FirstDma(server, bench).status());
  return bench.client.InStep();
}

// What the client answers is wrong; the next one is served whatever the server makes of it.
absl::Status SurvivesAnswer(ServerUnderTest& server, uint16_t id_offset, size_t body_bytes) {
  {
    VFIO_USER_ASSIGN_OR_RETURN(Bench bench, Prepare(server));
    VFIO_USER_ASSIGN_OR_RETURN(const WireClient::Message dma, FirstDma(server, bench));
    MessageHeader reply = dma.header.Reply();
    reply.msg_id = static_cast<uint16_t>(reply.msg_id + id_offset);
    VFIO_USER_RETURN_IF_ERROR(bench.client.SendMessage(reply, std::vector<uint8_t>(body_bytes)));
  }
  VFIO_USER_ASSIGN_OR_RETURN(WireClient next, server.Connect());
  VFIO_USER_RETURN_IF_ERROR(next.InStep());
  return next.Ask({.command = Command::kDeviceReset}).status();
}

absl::Status SurvivesErrorReply(ServerUnderTest& server) {
  VFIO_USER_ASSIGN_OR_RETURN(Bench bench, Prepare(server));
  VFIO_USER_ASSIGN_OR_RETURN(const WireClient::Message dma, FirstDma(server, bench));
  VFIO_USER_RETURN_IF_ERROR(bench.client.SendMessage(dma.header.Reply(EFAULT)));
  // More messages about the same may be under way.
  MessageMemory nothing;
  return DoServing(bench.client, nothing, ReadRequest(RegionIndex::kConfig, 0, 4)).status();
}

absl::Status SurvivesDeparture(ServerUnderTest& server) {
  {
    VFIO_USER_ASSIGN_OR_RETURN(Bench bench, Prepare(server));
    VFIO_USER_RETURN_IF_ERROR(FirstDma(server, bench).status());
  }
  VFIO_USER_RETURN_IF_ERROR(CopiesByMessage(server));
  VFIO_USER_ASSIGN_OR_RETURN(WireClient next, server.Connect());
  return next.InStep();
}

// The range is in use when its DMA_UNMAP is sent.
absl::Status UnmapWaits(ServerUnderTest& server) {
  VFIO_USER_ASSIGN_OR_RETURN(Bench bench, Prepare(server));
  WireClient& client = bench.client;
  VFIO_USER_ASSIGN_OR_RETURN(WireClient::Message dma, FirstDma(server, bench));
  while (dma.header.is_command() && bench.memory.MessagesAbout(kFrom, kBytes) == 0) {
    VFIO_USER_ASSIGN_OR_RETURN(const DmaAccess access, DmaAccess::ParsePrefix(dma.body, "DMA"));
    if (ToU64(access.address) == kFrom) break;
    VFIO_USER_RETURN_IF_ERROR(bench.memory.Serve(client, dma));
    VFIO_USER_ASSIGN_OR_RETURN(dma, client.Receive());
  }
  VFIO_USER_ASSIGN_OR_RETURN(const MessageHeader unmap,
                             client.Send(UnmapRequest({.address = kFrom, .size = kBytes})));
  VFIO_USER_ASSIGN_OR_RETURN(const MessageHeader read,
                             client.Send(ReadRequest(RegionIndex::kConfig, 0, 4)));
  // Were the unmapping answered at once, its reply would come before this one.
  VFIO_USER_ASSIGN_OR_RETURN(const WireClient::Message first, client.Receive());
  if (first.header.msg_id == unmap.msg_id && first.header.is_reply()) {
    return Misbehaved("DMA_UNMAP is answered while the device uses the range");
  }
  if (first.header.msg_id != read.msg_id) return Misbehaved("another reply than was asked for");
  VFIO_USER_RETURN_IF_ERROR(bench.memory.Serve(client, dma));
  while (true) {
    VFIO_USER_ASSIGN_OR_RETURN(const WireClient::Message next, client.Receive());
    if (next.header.is_reply()) {
      return next.header.msg_id == unmap.msg_id ? absl::OkStatus()
                                                : Misbehaved("no reply to UNMAP");
    }
    VFIO_USER_RETURN_IF_ERROR(bench.memory.Serve(client, next));
  }
}

absl::Status NoneWithoutBusMastering(ServerUnderTest& server) {
  VFIO_USER_ASSIGN_OR_RETURN(Bench bench, Prepare(server));
  VFIO_USER_ASSIGN_OR_RETURN(DmaEngine engine,
                             DmaEngine::Start(server, bench.client, bench.memory));
  VFIO_USER_RETURN_IF_ERROR(bench.Lend(kDmaReadWrite, kDmaReadWrite));
  const std::vector<uint8_t> off = {kMemoryEnable, 0};
  VFIO_USER_RETURN_IF_ERROR(WriteConfig(bench.client, kCommandRegister, off));
  VFIO_USER_RETURN_IF_ERROR(engine.Run(kCopy));
  if (bench.memory.MessagesAbout(0, UINT64_MAX) == 0) return absl::OkStatus();
  return Misbehaved("DMA with bus mastering off");
}

absl::Status TwinCarriesTheMessages(ServerUnderTest& server) {
  VFIO_USER_ASSIGN_OR_RETURN(WireClient client, server.ConnectWithoutVersion());
  VFIO_USER_ASSIGN_OR_RETURN(
      WireClient::Message version,
      client.Negotiate(R"({"capabilities":{"max_msg_fds":8,"twin_socket":{"supported":true}}})"));
  VFIO_USER_ASSIGN_OR_RETURN(const VersionMessage said, VersionMessage::Parse(version.body));
  if (!said.capabilities.TwinSocketSupported()) return Skip("the server makes no twin socket");
  if (version.fds.empty()) return Misbehaved("a twin socket without its descriptor");
  WireClient twin = WireClient::Adopt(std::move(version.fds[0]), client.terms());
  Bench bench(std::move(client));
  bench.memory.Add(kFrom, kBytes);
  bench.memory.Add(kTo, kBytes);
  MessageHeader sent;
  VFIO_USER_RETURN_IF_ERROR(StartAtWork(server, bench, sent));
  VFIO_USER_RETURN_IF_ERROR(bench.client.ReceiveReply(sent).status());
  VFIO_USER_ASSIGN_OR_RETURN(const WireClient::Message dma, twin.Receive());
  VFIO_USER_RETURN_IF_ERROR(bench.memory.Serve(twin, dma));
  return bench.client.InStep();
}

constexpr ServerCheck kChecks[] = {
    {"dma/memory-without-a-file-is-reached-by-message", kMessages, Requirement::kRequired,
     CopiesByMessage},
    {"dma/file-is-reached", kMap, Requirement::kRequired,
     [](ServerUnderTest& server) { return CopiesWithinAFile(server, 0); }},
    {"dma/file-lent-as-file-io-is-reached", "libvfio-user include/vfio-user.h",
     Requirement::kRecommended,
     [](ServerUnderTest& server) { return CopiesWithinAFile(server, kDmaFileIo); }},
    {"dma/messages-keep-to-the-clients-limit", "Message sizes", Requirement::kRequired,
     KeepsToTheLimit},
    {"dma/what-is-lent-to-read-is-not-written", kMap, Requirement::kRequired,
     DoesNotWriteWhatIsToRead},
    {"dma/what-is-lent-to-write-is-not-read", kMap, Requirement::kRecommended,
     DoesNotReadWhatIsToWrite},
    {"dma/what-is-not-mapped-is-left-alone", kMap, Requirement::kRequired,
     LeavesAloneWhatIsNotMapped},
    {"dma/what-was-unmapped-is-left-alone", "VFIO_USER_DMA_UNMAP", Requirement::kRequired,
     LeavesAloneWhatIsUnmapped},
    {"dma/register-write-is-answered-before-its-dma", kQemu, Requirement::kPeerQuirk,
     AnswersBeforeItsDma},
    {"dma/commands-are-served-while-dma-waits", kQemu, Requirement::kPeerQuirk, ServesMeanwhile},
    {"dma/twin-socket-carries-the-messages", "VFIO_USER_VERSION", Requirement::kRequired,
     TwinCarriesTheMessages},
    {"dma/unmap-waits-for-what-is-under-way", "VFIO_USER_DMA_UNMAP", Requirement::kRecommended,
     UnmapWaits},
    {"dma/none-while-bus-mastering-is-off", "PCI", Requirement::kRecommended,
     NoneWithoutBusMastering},
    {"dma/error-reply-is-survived", kMessages, Requirement::kRequired, SurvivesErrorReply},
    {"dma/reply-without-data-is-survived", kMessages, Requirement::kRequired,
     [](ServerUnderTest& server) { return SurvivesAnswer(server, 0, 0); }},
    {"dma/reply-of-another-length-is-survived", kMessages, Requirement::kRequired,
     [](ServerUnderTest& server) { return SurvivesAnswer(server, 0, 17); }},
    {"dma/reply-with-another-id-is-survived", kMessages, Requirement::kRequired,
     [](ServerUnderTest& server) { return SurvivesAnswer(server, 1, 80); }},
    {"dma/client-that-leaves-meanwhile-is-survived", "Client Disconnection", Requirement::kRequired,
     SurvivesDeparture},
    {"dma/file-cut-short-is-survived", "Security Considerations", Requirement::kRequired,
     [](ServerUnderTest& server) { return SurvivesATruncatedFile(server, 0); }},
    {"dma/file-io-file-cut-short-is-survived", "Security Considerations", Requirement::kRequired,
     [](ServerUnderTest& server) { return SurvivesATruncatedFile(server, kDmaFileIo); }},
};

}  // namespace

std::span<const ServerCheck> DmaChecks() { return kChecks; }

}  // namespace vfio_user
