// REGION_WRITE_MULTI.
#include <cerrno>
#include <cstdint>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fmt/format.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/wire/device_info.h"
#include "proto_defs/wire/region_access.h"
#include "proto_defs/wire/wire_writer.h"
#include "tests/conformance/server/check_families.h"
#include "tests/conformance/server/config_space.h"
#include "tests/conformance/server/outcome.h"

namespace vfio_user {
namespace {

constexpr std::string_view kMulti = "VFIO_USER_REGION_WRITE_MULTI";
constexpr std::string_view kJson = R"({"capabilities":{"write_multiple":true}})";

WriteMultiEntry EntryAt(uint64_t offset, uint8_t value) {
  return {.access = {.offset = offset, .region = RegionIndex::kConfig, .count = 1},
          .data = {value}};
}

WireRequest MultiRequest(std::vector<WriteMultiEntry> entries) {
  return {.command = Command::kRegionWriteMulti,
          .body = Serialize(WriteMultiRequest{.entries = std::move(entries)})};
}

absl::StatusOr<WireClient> ConnectForMulti(ServerUnderTest& server) {
  if (!server.traits().version.capabilities.WriteMultiple()) {
    return Skip("the server does not have write_multiple");
  }
  VFIO_USER_RETURN_IF_ERROR(NeedsConfig(server));
  return server.Connect(kJson);
}

absl::Status LineIs(WireClient& client, uint8_t want) {
  VFIO_USER_ASSIGN_OR_RETURN(const std::vector<uint8_t> line,
                             ReadConfig(client, kInterruptLine, 1));
  if (line[0] == want) return absl::OkStatus();
  return Misbehaved(fmt::format("the interrupt line reads {:#x}, want {:#x}", line[0], want));
}

absl::Status WritesInOrder(ServerUnderTest& server) {
  VFIO_USER_ASSIGN_OR_RETURN(WireClient client, ConnectForMulti(server));
  const WireRequest request =
      MultiRequest({EntryAt(kInterruptLine, 0x12), EntryAt(kInterruptLine, 0x34)});
  VFIO_USER_ASSIGN_OR_RETURN(const WireClient::Message reply, client.Do(request));
  VFIO_USER_ASSIGN_OR_RETURN(const WriteMultiReply done, WriteMultiReply::Parse(reply.body));
  if (done.done != 2) return Misbehaved(fmt::format("{} of 2 writes were done", done.done));
  return LineIs(client, 0x34);
}

absl::Status PostedIsDoneBeforeTheNextReply(ServerUnderTest& server) {
  VFIO_USER_ASSIGN_OR_RETURN(WireClient client, ConnectForMulti(server));
  for (const uint8_t value : {uint8_t{0x56}, uint8_t{0x65}}) {
    const WireRequest request = MultiRequest({EntryAt(kInterruptLine, value)});
    const MessageHeader posted = {.msg_id = 9, .command = request.command, .no_reply = true};
    VFIO_USER_RETURN_IF_ERROR(client.SendMessage(posted, request.body));
    VFIO_USER_RETURN_IF_ERROR(LineIs(client, value));
  }
  return absl::OkStatus();
}

absl::Status Takes200Entries(ServerUnderTest& server) {
  VFIO_USER_ASSIGN_OR_RETURN(WireClient client, ConnectForMulti(server));
  const WireRequest request =
      MultiRequest(std::vector<WriteMultiEntry>(200, EntryAt(kInterruptLine, 0x78)));
  VFIO_USER_ASSIGN_OR_RETURN(const WireClient::Message reply, client.Do(request));
  VFIO_USER_ASSIGN_OR_RETURN(const WriteMultiReply done, WriteMultiReply::Parse(reply.body));
  if (done.done != 200) return Misbehaved(fmt::format("{} of 200 writes were done", done.done));
  return client.InStep();
}

// The reply says how many were done before it, unless all of it is refused.
absl::Status StopsAtABadOne(ServerUnderTest& server) {
  VFIO_USER_ASSIGN_OR_RETURN(WireClient client, ConnectForMulti(server));
  const uint64_t beyond = server.traits().region(RegionIndex::kConfig)->size;
  const WireRequest request = MultiRequest(
      {EntryAt(kInterruptLine, 0x9a), EntryAt(beyond, 0), EntryAt(kInterruptLine, 0xbc)});
  VFIO_USER_ASSIGN_OR_RETURN(const WireClient::Message reply, client.Ask(request));
  if (reply.header.error_flag) return client.InStep();
  VFIO_USER_ASSIGN_OR_RETURN(const WriteMultiReply done, WriteMultiReply::Parse(reply.body));
  if (done.done != 1) return Misbehaved(fmt::format("{} writes were done, want 1", done.done));
  return LineIs(client, 0x9a);
}

absl::Status Refuses(ServerUnderTest& server, std::vector<uint8_t> body) {
  VFIO_USER_ASSIGN_OR_RETURN(WireClient client, ConnectForMulti(server));
  return client.RefusedInStep({.command = Command::kRegionWriteMulti, .body = std::move(body)},
                              {EINVAL});
}

// wr_cnt as it is given, before one entry.
absl::Status RefusesCount(ServerUnderTest& server, uint64_t count) {
  std::vector<uint8_t> body = MultiRequest({EntryAt(kInterruptLine, 1)}).body;
  std::vector<uint8_t> bytes;
  WireWriter out(bytes);
  out.Write<uint64_t>(count);
  std::copy(bytes.begin(), bytes.end(), body.begin());
  return InCase(Refuses(server, std::move(body)), fmt::format("wr_cnt {:#x}", count));
}

absl::Status RefusesCounts(ServerUnderTest& server) {
  // The last one comes to 24 bytes modulo 2^64.
  for (const uint64_t count : {uint64_t{2}, UINT64_MAX, (uint64_t{1} << 61) + 1}) {
    VFIO_USER_RETURN_IF_ERROR(RefusesCount(server, count));
  }
  return absl::OkStatus();
}

absl::Status RefusesLongEntry(ServerUnderTest& server) {
  WriteMultiEntry entry = EntryAt(kInterruptLine, 0);
  entry.access.count = 9;
  return Refuses(server, MultiRequest({entry}).body);
}

absl::Status RefusesWhenNotNegotiated(ServerUnderTest& server) {
  return server.Refuses(MultiRequest({EntryAt(kInterruptLine, 0)}), {EINVAL, ENOTSUP, ENOSYS});
}

constexpr ServerCheck kChecks[] = {
    {"write-multi/writes-are-done-in-order", kMulti, Requirement::kRequired, WritesInOrder},
    {"write-multi/posted-is-done-before-the-next-reply", kMulti, Requirement::kRequired,
     PostedIsDoneBeforeTheNextReply},
    {"write-multi/of-200-entries-is-done", "QEMU's client", Requirement::kPeerQuirk,
     Takes200Entries},
    {"write-multi/stops-at-a-bad-entry", kMulti, Requirement::kRequired, StopsAtABadOne},
    {"write-multi/short-body-is-refused", kMulti, Requirement::kRequired,
     [](ServerUnderTest& server) {
       return Refuses(server, {1, 0, 0, 0});
     }},
    {"write-multi/other-count-than-entries-is-refused", kMulti, Requirement::kRequired,
     RefusesCounts},
    {"write-multi/entry-of-9-bytes-is-refused", kMulti, Requirement::kRequired, RefusesLongEntry},
    {"write-multi/is-refused-when-not-negotiated", "VFIO_USER_VERSION", Requirement::kRecommended,
     RefusesWhenNotNegotiated},
};

}  // namespace

std::span<const ServerCheck> WriteMultiChecks() { return kChecks; }

}  // namespace vfio_user
