// DMA_MAP: what the client may lend, and in which words.
#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fmt/format.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/wire/limits.h"
#include "tests/conformance/server/check_families.h"
#include "tests/conformance/server/dma_requests.h"
#include "tests/conformance/server/outcome.h"

namespace vfio_user {
namespace {

constexpr std::string_view kMap = "VFIO_USER_DMA_MAP";
// The flag bits 2 and 3, which the specification does not have yet.
constexpr std::string_view kModes = "libvfio-user include/vfio-user.h, access modes of DMA_MAP";

constexpr uint64_t kBase = MapNumbers().address;
constexpr uint64_t kSize = MapNumbers().size;

absl::Status Maps(ServerUnderTest& server, const MapNumbers& numbers) {
  VFIO_USER_ASSIGN_OR_RETURN(WireClient client, server.Connect());
  VFIO_USER_RETURN_IF_ERROR(client.DoPlain(MapRequest(numbers)));
  return client.InStep();
}

// With a file that holds the range.
absl::Status MapsFile(ServerUnderTest& server, const MapNumbers& numbers) {
  const UniqueFd file = MemoryFile(numbers.offset + numbers.size);
  VFIO_USER_ASSIGN_OR_RETURN(WireClient client, server.Connect());
  VFIO_USER_RETURN_IF_ERROR(client.DoPlain(MapRequest(numbers, {FdView(file)})));
  return client.InStep();
}

absl::Status Refuses(ServerUnderTest& server, const MapNumbers& numbers) {
  return server.Refuses(MapRequest(numbers), {EINVAL});
}

absl::Status RefusesFile(ServerUnderTest& server, const MapNumbers& numbers) {
  const UniqueFd file = MemoryFile(numbers.offset + numbers.size);
  return server.Refuses(MapRequest(numbers, {FdView(file)}), {EINVAL});
}

absl::Status NeedsDma(const ServerUnderTest& server) {
  return server.traits().ignores_dma ? Skip("the device takes no notice of mappings")
                                     : absl::OkStatus();
}

// The second of two mappings, with the first in place.
absl::Status RefusesSecond(ServerUnderTest& server, const MapNumbers& second) {
  VFIO_USER_RETURN_IF_ERROR(NeedsDma(server));
  VFIO_USER_ASSIGN_OR_RETURN(WireClient client, server.Connect());
  VFIO_USER_RETURN_IF_ERROR(client.DoPlain(MapRequest({})));
  return client.RefusedInStep(MapRequest(second), {EEXIST});
}

absl::Status RefusesOverlaps(ServerUnderTest& server) {
  const MapNumbers overlapping[] = {
      {.address = kBase + kSize - 0x1000},                           // Its last page.
      {.address = kBase - kSize + 0x1000},                           // Its first page.
      {.address = kBase + 0x1000, .size = 0x1000},                   // Within.
      {.address = kBase - 0x1000, .size = kSize + 0x2000},           // Around.
      {.address = kBase, .size = kSize - 0x1000},                    // Its beginning.
      {.address = kBase - 0x1000, .size = UINT64_MAX - 2 * kBase}};  // Nearly everything.
  for (const MapNumbers& second : overlapping) {
    VFIO_USER_RETURN_IF_ERROR(InCase(RefusesSecond(server, second),
                                     fmt::format("[{:#x}, +{:#x}) over [{:#x}, +{:#x})",
                                                 second.address, second.size, kBase, kSize)));
  }
  return absl::OkStatus();
}

absl::Status TakesNeighbours(ServerUnderTest& server) {
  VFIO_USER_ASSIGN_OR_RETURN(WireClient client, server.Connect());
  VFIO_USER_RETURN_IF_ERROR(client.DoPlain(MapRequest({})));
  VFIO_USER_RETURN_IF_ERROR(client.DoPlain(MapRequest({.address = kBase - kSize})));
  return client.DoPlain(MapRequest({.address = kBase + kSize}));
}

absl::Status RefusesUnknownFlags(ServerUnderTest& server) {
  for (const uint32_t bit : {0x10u, 0x100u, 0x80000000u}) {
    VFIO_USER_RETURN_IF_ERROR(
        InCase(Refuses(server, {.flags = kDmaReadWrite | bit}), fmt::format("flag {:#x}", bit)));
  }
  return absl::OkStatus();
}

absl::Status RefusesShortBodies(ServerUnderTest& server) {
  for (const size_t bytes : {size_t{0}, size_t{4}, size_t{31}}) {
    WireRequest request = MapRequest({});
    request.body.resize(bytes);
    VFIO_USER_RETURN_IF_ERROR(
        InCase(server.Refuses(request, {EINVAL}), fmt::format("{} bytes", bytes)));
  }
  return absl::OkStatus();
}

absl::Status RefusesWrap(ServerUnderTest& server) {
  VFIO_USER_RETURN_IF_ERROR(Refuses(server, {.address = 0xfffffffffffff000, .size = 0x2000}));
  return Refuses(server, {.address = 0x1000, .size = UINT64_MAX});
}

// libvfio-user closes what is too much; others refuse.
absl::Status TwoDescriptors(ServerUnderTest& server) {
  const UniqueFd file = MemoryFile(kSize);
  VFIO_USER_ASSIGN_OR_RETURN(WireClient client, server.Connect());
  return client.RefusedInStep(MapRequest({}, {FdView(file), FdView(file)}), {EINVAL});
}

absl::Status RefusesWhatCannotBeMapped(ServerUnderTest& server) {
  VFIO_USER_RETURN_IF_ERROR(NeedsDma(server));
  const UniqueFd event(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  return server.Refuses(MapRequest({}, {FdView(event)}), {ENODEV, EINVAL, EACCES});
}

absl::Status RefusesWritesThroughAReadOnlyFile(ServerUnderTest& server) {
  VFIO_USER_RETURN_IF_ERROR(NeedsDma(server));
  const UniqueFd file = MemoryFile(kSize);
  const std::string path = fmt::format("/proc/self/fd/{}", file.get());
  const UniqueFd read_only(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  return server.Refuses(MapRequest({}, {FdView(read_only)}), {EACCES, EPERM, EINVAL});
}

absl::Status TakesAReadOnlyFileToRead(ServerUnderTest& server) {
  const UniqueFd file = MemoryFile(kSize);
  const std::string path = fmt::format("/proc/self/fd/{}", file.get());
  const UniqueFd read_only(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  return server.Does(MapRequest({.flags = kDmaRead}, {FdView(read_only)}));
}

// Only for reading, and only to a server that could read this process anyway.
absl::Status TakesProcSelfMem(ServerUnderTest& server) {
  VFIO_USER_ASSIGN_OR_RETURN(WireClient client, server.Connect());
  if (!client.PeerIsOfOurUser()) return Skip("the server is another user's: it gets no such file");
  const UniqueFd memory(::open("/proc/self/mem", O_RDONLY | O_CLOEXEC));
  if (!memory.valid()) return Skip("/proc/self/mem cannot be opened");
  static const std::vector<uint8_t> bytes(5000);
  return client.DoPlain(MapRequest({.flags = kDmaRead | kDmaFileIo,
                                    .offset = reinterpret_cast<uint64_t>(bytes.data()),
                                    .address = 0x10005,
                                    .size = bytes.size()},
                                   {FdView(memory)}));
}

absl::Status TakesMapsBeforeInfo(ServerUnderTest& server) {
  VFIO_USER_ASSIGN_OR_RETURN(WireClient client, server.Connect());
  std::vector<MessageHeader> sent;
  for (uint64_t i = 0; i < 8; ++i) {
    VFIO_USER_ASSIGN_OR_RETURN(sent.emplace_back(),
                               client.Send(MapRequest({.address = kBase + i * kSize})));
  }
  for (const MessageHeader& command : sent) {
    VFIO_USER_ASSIGN_OR_RETURN(const WireClient::Message reply, client.ReceiveReply(command));
    if (reply.header.error_flag) return Misbehaved("one of 8 pipelined mappings was refused");
  }
  return client.InStep();
}

absl::Status MapsAreDoneInOrder(ServerUnderTest& server) {
  VFIO_USER_RETURN_IF_ERROR(NeedsDma(server));
  VFIO_USER_ASSIGN_OR_RETURN(WireClient client, server.Connect());
  for (int i = 0; i < 20; ++i) {
    VFIO_USER_ASSIGN_OR_RETURN(const MessageHeader map, client.Send(MapRequest({})));
    VFIO_USER_ASSIGN_OR_RETURN(const MessageHeader unmap, client.Send(UnmapRequest({})));
    for (const MessageHeader& command : {map, unmap}) {
      VFIO_USER_ASSIGN_OR_RETURN(const WireClient::Message reply, client.ReceiveReply(command));
      if (reply.header.error_flag) {
        return Misbehaved("a map and the unmap behind it were not done in that order");
      }
    }
  }
  return absl::OkStatus();
}

// The replies to what was sent, of which `refused` counts the errors.
absl::Status CountRefusals(WireClient& client, std::vector<MessageHeader>& sent,
                           uint64_t& refused) {
  for (const MessageHeader& command : sent) {
    VFIO_USER_ASSIGN_OR_RETURN(const WireClient::Message reply, client.ReceiveReply(command));
    if (reply.header.error_flag) ++refused;
  }
  sent.clear();
  return absl::OkStatus();
}

absl::Status RefusesOneMoreThanItsLimit(ServerUnderTest& server) {
  VFIO_USER_RETURN_IF_ERROR(NeedsDma(server));
  const auto limit = server.traits().version.capabilities.max_dma_maps;
  if (!limit.has_value()) return Skip("the server names no max_dma_maps");
  if (*limit > kDefaultMaxDmaMaps) return Skip(fmt::format("{} mappings are too many", *limit));
  VFIO_USER_ASSIGN_OR_RETURN(WireClient client, server.Connect());
  std::vector<MessageHeader> sent;
  uint64_t refused = 0;
  for (uint64_t i = 0; i < *limit; ++i) {
    VFIO_USER_ASSIGN_OR_RETURN(
        sent.emplace_back(),
        client.Send(MapRequest({.address = kBase + i * 0x1000, .size = 0x1000})));
    if (sent.size() < 32 && i + 1 < *limit) continue;
    VFIO_USER_RETURN_IF_ERROR(CountRefusals(client, sent, refused));
  }
  if (refused > 0) {
    return Misbehaved(fmt::format("{} of {} mappings are refused", refused, *limit));
  }
  return client.RefusedInStep(MapRequest({.address = 0, .size = 0x1000}), {ENOSPC});
}

absl::Status CanMapAgainAfterDisconnect(ServerUnderTest& server) {
  for (int i = 0; i < 3; ++i) {
    VFIO_USER_ASSIGN_OR_RETURN(WireClient client, server.Connect());
    VFIO_USER_RETURN_IF_ERROR(client.DoPlain(MapRequest({})));
  }
  return absl::OkStatus();
}

constexpr ServerCheck kChecks[] = {
    {"dma-map/without-a-file-is-done", kMap, Requirement::kRequired,
     [](ServerUnderTest& server) { return Maps(server, {}); }},
    {"dma-map/of-a-file-is-done", kMap, Requirement::kRequired,
     [](ServerUnderTest& server) { return MapsFile(server, {}); }},
    {"dma-map/of-the-middle-of-a-file-is-done", kMap, Requirement::kRequired,
     [](ServerUnderTest& server) { return MapsFile(server, {.offset = 0x3000}); }},
    {"dma-map/only-to-read-is-done", kMap, Requirement::kRequired,
     [](ServerUnderTest& server) { return Maps(server, {.flags = kDmaRead}); }},
    {"dma-map/only-to-write-is-done", kMap, Requirement::kRequired,
     [](ServerUnderTest& server) { return Maps(server, {.flags = kDmaWrite}); }},
    {"dma-map/of-a-read-only-file-to-read-is-done", kMap, Requirement::kRequired,
     TakesAReadOnlyFileToRead},
    {"dma-map/mmap-of-a-file-is-done", kModes, Requirement::kRecommended,
     [](ServerUnderTest& server) { return MapsFile(server, {.flags = kDmaReadWrite | kDmaMmap}); }},
    {"dma-map/file-io-of-a-file-is-done", kModes, Requirement::kRecommended,
     [](ServerUnderTest& server) {
       return MapsFile(server, {.flags = kDmaReadWrite | kDmaFileIo});
     }},
    {"dma-map/file-io-needs-no-alignment", kModes, Requirement::kRecommended,
     [](ServerUnderTest& server) {
       return MapsFile(
           server,
           {.flags = kDmaReadWrite | kDmaFileIo, .offset = 3, .address = 0x10005, .size = 5000});
     }},
    {"dma-map/file-io-of-proc-self-mem-is-done", kModes, Requirement::kRecommended,
     TakesProcSelfMem},
    {"dma-map/of-the-last-page-there-is-is-done", kMap, Requirement::kRecommended,
     [](ServerUnderTest& server) {
       return Maps(server, {.address = 0xfffffffffffff000, .size = 0x1000});
     }},
    {"dma-map/of-a-tebibyte-is-done", kMap, Requirement::kRecommended,
     [](ServerUnderTest& server) {
       return Maps(server, {.address = 0, .size = uint64_t{1} << 40});
     }},
    {"dma-map/neighbours-are-done", kMap, Requirement::kRequired, TakesNeighbours},
    {"dma-map/larger-argsz-is-fine", "Message sizes", Requirement::kRecommended,
     [](ServerUnderTest& server) { return Maps(server, {.argsz = 64}); }},
    {"dma-map/argsz-below-32-is-refused", kMap, Requirement::kRequired,
     [](ServerUnderTest& server) { return Refuses(server, {.argsz = 31}); }},
    {"dma-map/short-body-is-refused", kMap, Requirement::kRequired, RefusesShortBodies},
    {"dma-map/unknown-flag-is-refused", kMap, Requirement::kRequired, RefusesUnknownFlags},
    {"dma-map/mmap-with-file-io-is-refused", kModes, Requirement::kRequired,
     [](ServerUnderTest& server) {
       return RefusesFile(server, {.flags = kDmaReadWrite | kDmaMmap | kDmaFileIo});
     }},
    {"dma-map/mmap-without-a-file-is-refused", kModes, Requirement::kRequired,
     [](ServerUnderTest& server) { return Refuses(server, {.flags = kDmaReadWrite | kDmaMmap}); }},
    {"dma-map/file-io-without-a-file-is-refused", kModes, Requirement::kRequired,
     [](ServerUnderTest& server) {
       return Refuses(server, {.flags = kDmaReadWrite | kDmaFileIo});
     }},
    {"dma-map/size-0-is-refused", kMap, Requirement::kRecommended,
     [](ServerUnderTest& server) { return Refuses(server, {.size = 0}); }},
    {"dma-map/range-past-2-to-the-64-is-refused", kMap, Requirement::kRecommended, RefusesWrap},
    {"dma-map/two-descriptors-are-refused", kMap, Requirement::kRecommended, TwoDescriptors},
    {"dma-map/file-that-cannot-be-mapped-is-refused", kMap, Requirement::kRequired,
     RefusesWhatCannotBeMapped},
    {"dma-map/read-only-file-to-write-is-refused", kMap, Requirement::kRecommended,
     RefusesWritesThroughAReadOnlyFile},
    {"dma-map/the-same-again-is-refused", kMap, Requirement::kRecommended,
     [](ServerUnderTest& server) { return RefusesSecond(server, {}); }},
    {"dma-map/overlap-is-refused", kMap, Requirement::kRequired, RefusesOverlaps},
    {"dma-map/pipelined-before-device-info-is-done", "QEMU's client", Requirement::kPeerQuirk,
     TakesMapsBeforeInfo},
    {"dma-map/and-unmap-are-done-in-order", "Command Concurrency", Requirement::kRequired,
     MapsAreDoneInOrder},
    {"dma-map/one-more-than-the-limit-is-refused", "VFIO_USER_VERSION", Requirement::kRecommended,
     RefusesOneMoreThanItsLimit},
    {"dma-map/is-gone-with-its-client", "Client Disconnection", Requirement::kRequired,
     CanMapAgainAfterDisconnect},
};

}  // namespace

std::span<const ServerCheck> DmaMapChecks() { return kChecks; }

}  // namespace vfio_user
