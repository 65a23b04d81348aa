// REGION_READ and REGION_WRITE.
#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fmt/format.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/wire/device_info.h"
#include "proto_defs/wire/format.h"
#include "proto_defs/wire/region_access.h"
#include "proto_defs/wire/region_info.h"
#include "proto_defs/wire/wire_writer.h"
#include "tests/conformance/server/check_families.h"
#include "tests/conformance/server/config_space.h"
#include "tests/conformance/server/outcome.h"

namespace vfio_user {
namespace {

constexpr std::string_view kRead = "VFIO_USER_REGION_READ";
constexpr std::string_view kWrite = "VFIO_USER_REGION_WRITE";
constexpr std::string_view kOperations = "Read and Write Operations";

std::vector<uint8_t> ReadBody(RegionIndex region, uint64_t offset, uint32_t count) {
  return Serialize(RegionAccess{.offset = offset, .region = region, .count = count});
}

// `count` as it stands in the message; `data` as it follows.
std::vector<uint8_t> WriteBody(const RegionAccess& access, std::span<const uint8_t> data) {
  std::vector<uint8_t> body = Serialize(access);
  body.insert(body.end(), data.begin(), data.end());
  return body;
}

absl::Status RefusesWithConfig(ServerUnderTest& server, const WireRequest& request) {
  VFIO_USER_RETURN_IF_ERROR(NeedsConfig(server));
  return server.Refuses(request, {EINVAL});
}

absl::Status ReadReturnsWhatWasAskedFor(ServerUnderTest& server) {
  VFIO_USER_RETURN_IF_ERROR(NeedsConfig(server));
  VFIO_USER_ASSIGN_OR_RETURN(WireClient client, server.Connect());
  for (const uint32_t count : {1u, 2u, 4u}) {
    VFIO_USER_RETURN_IF_ERROR(ReadConfig(client, 0, count).status());
  }
  return absl::OkStatus();
}

absl::Status ReadsOfPartsAgree(ServerUnderTest& server) {
  VFIO_USER_RETURN_IF_ERROR(NeedsConfig(server));
  VFIO_USER_ASSIGN_OR_RETURN(WireClient client, server.Connect());
  VFIO_USER_ASSIGN_OR_RETURN(const std::vector<uint8_t> whole, ReadConfig(client, 0, 4));
  for (uint32_t i = 0; i < 4; ++i) {
    VFIO_USER_ASSIGN_OR_RETURN(const std::vector<uint8_t> byte, ReadConfig(client, i, 1));
    if (byte[0] != whole[i]) {
      return Misbehaved(
          fmt::format("byte {} is {:#x} alone and {:#x} in a word", i, byte[0], whole[i]));
    }
  }
  return absl::OkStatus();
}

absl::Status AllOfConfigAtOnce(ServerUnderTest& server) {
  VFIO_USER_RETURN_IF_ERROR(NeedsConfig(server));
  VFIO_USER_ASSIGN_OR_RETURN(WireClient client, server.Connect());
  return ReadConfig(client, 0, 256).status();
}

absl::Status WriteIsReadBack(ServerUnderTest& server) {
  VFIO_USER_RETURN_IF_ERROR(NeedsConfig(server));
  VFIO_USER_ASSIGN_OR_RETURN(WireClient client, server.Connect());
  VFIO_USER_ASSIGN_OR_RETURN(const std::vector<uint8_t> old, ReadConfig(client, kInterruptLine, 1));
  for (const uint8_t value : {uint8_t{0x5a}, uint8_t{0xa5}, old[0]}) {
    VFIO_USER_RETURN_IF_ERROR(WriteConfig(client, kInterruptLine, {&value, 1}));
    VFIO_USER_ASSIGN_OR_RETURN(const std::vector<uint8_t> now,
                               ReadConfig(client, kInterruptLine, 1));
    if (now[0] != value) {
      return Misbehaved(
          fmt::format("the interrupt line reads {:#x} after {:#x} was written", now[0], value));
    }
  }
  return absl::OkStatus();
}

absl::Status WriteReplyEchoes(ServerUnderTest& server) {
  VFIO_USER_RETURN_IF_ERROR(NeedsConfig(server));
  VFIO_USER_ASSIGN_OR_RETURN(WireClient client, server.Connect());
  VFIO_USER_ASSIGN_OR_RETURN(const std::vector<uint8_t> old, ReadConfig(client, kInterruptLine, 1));
  VFIO_USER_ASSIGN_OR_RETURN(const WireClient::Message reply,
                             client.Do(WriteRequest(RegionIndex::kConfig, kInterruptLine, old)));
  VFIO_USER_ASSIGN_OR_RETURN(const RegionAccess echo,
                             RegionAccess::Parse(reply.body, "REGION_WRITE reply"));
  const RegionAccess want = {.offset = kInterruptLine, .region = RegionIndex::kConfig, .count = 1};
  if (echo == want) return absl::OkStatus();
  return Misbehaved(fmt::format("the reply is about {}, want {}", echo, want));
}

absl::Status PostedWriteIsDoneBeforeTheNextReply(ServerUnderTest& server) {
  VFIO_USER_RETURN_IF_ERROR(NeedsConfig(server));
  VFIO_USER_ASSIGN_OR_RETURN(WireClient client, server.Connect());
  VFIO_USER_ASSIGN_OR_RETURN(const std::vector<uint8_t> old, ReadConfig(client, kInterruptLine, 1));
  for (const uint8_t value : {uint8_t{0x11}, uint8_t{0xee}, old[0]}) {
    const WireRequest write = WriteRequest(RegionIndex::kConfig, kInterruptLine, {&value, 1});
    VFIO_USER_RETURN_IF_ERROR(client.SendMessage(
        {.msg_id = 0x42, .command = Command::kRegionWrite, .no_reply = true}, write.body));
    VFIO_USER_ASSIGN_OR_RETURN(const std::vector<uint8_t> now,
                               ReadConfig(client, kInterruptLine, 1));
    if (now[0] != value) return Misbehaved("a posted write is not seen by the read behind it");
  }
  return absl::OkStatus();
}

// Offsets and counts that leave the region, one of them by passing 2^64.
absl::Status BeyondTheEndIsRefused(ServerUnderTest& server, Command command) {
  VFIO_USER_RETURN_IF_ERROR(NeedsConfig(server));
  const uint64_t size = server.traits().region(RegionIndex::kConfig)->size;
  const std::vector<uint8_t> data(4);
  for (const uint64_t offset : {size - 2, size, size + 4096, UINT64_MAX - 1, UINT64_MAX - 3}) {
    const WireRequest request = command == Command::kRegionRead
                                    ? ReadRequest(RegionIndex::kConfig, offset, 4)
                                    : WriteRequest(RegionIndex::kConfig, offset, data);
    VFIO_USER_RETURN_IF_ERROR(
        InCase(server.Refuses(request, {EINVAL}), fmt::format("offset {:#x}", offset)));
  }
  return absl::OkStatus();
}

absl::Status UnknownRegionIsRefused(ServerUnderTest& server, Command command) {
  for (const uint32_t index : {server.traits().device.num_regions, UINT32_MAX}) {
    const WireRequest request = command == Command::kRegionRead
                                    ? ReadRequest(RegionIndex{index}, 0, 4)
                                    : WriteRequest(RegionIndex{index}, 0, std::vector<uint8_t>(4));
    VFIO_USER_RETURN_IF_ERROR(
        InCase(server.Refuses(request, {EINVAL}), fmt::format("region {}", index)));
  }
  return absl::OkStatus();
}

absl::Status EmptyRegionIsRefused(ServerUnderTest& server) {
  for (const RegionInfo& region : server.traits().regions) {
    if (region.size > 0) continue;
    return InCase(server.Refuses(ReadRequest(region.index, 0, 4), {EINVAL}), ToText(region.index));
  }
  return Skip("the device has every region");
}

absl::Status ForbiddenDirectionIsRefused(ServerUnderTest& server) {
  for (const RegionInfo& region : server.traits().regions) {
    if (region.size < 4) continue;
    if (!region.flags.Has(RegionFlag::kWrite)) {
      return server.Refuses(WriteRequest(region.index, 0, std::vector<uint8_t>(4)),
                            {EACCES, EPERM});
    }
    if (!region.flags.Has(RegionFlag::kRead)) {
      return server.Refuses(ReadRequest(region.index, 0, 4), {EACCES, EPERM});
    }
  }
  return Skip("every region may be read and written");
}

// libvfio-user leaves the body out, which clients have learnt to take.
absl::Status ReadOfNothing(ServerUnderTest& server) {
  VFIO_USER_RETURN_IF_ERROR(NeedsConfig(server));
  VFIO_USER_ASSIGN_OR_RETURN(WireClient client, server.Connect());
  VFIO_USER_ASSIGN_OR_RETURN(const WireClient::Message reply,
                             client.Ask(ReadRequest(RegionIndex::kConfig, 0, 0)));
  if (!reply.header.error_flag && reply.body.size() != RegionAccess::kBytes) {
    client.Remark(
        fmt::format("a read of 0 bytes is answered with a body of {} bytes", reply.body.size()));
  }
  return client.InStep();
}

absl::Status CountAboveTheLimitIsRefused(ServerUnderTest& server) {
  VFIO_USER_RETURN_IF_ERROR(NeedsConfig(server));
  const uint64_t most = server.traits().version.capabilities.MaxDataXferBytes();
  VFIO_USER_RETURN_IF_ERROR(server.Refuses(
      ReadRequest(RegionIndex::kConfig, 0, static_cast<uint32_t>(most) + 1), {EINVAL, E2BIG}));
  return server.Refuses(ReadRequest(RegionIndex::kConfig, 0, UINT32_MAX), {EINVAL, E2BIG});
}

absl::Status ShortBodyIsRefused(ServerUnderTest& server, Command command) {
  for (const size_t bytes : {size_t{0}, size_t{8}, size_t{15}}) {
    std::vector<uint8_t> body = ReadBody(RegionIndex::kConfig, 0, 4);
    body.resize(bytes);
    VFIO_USER_RETURN_IF_ERROR(InCase(RefusesWithConfig(server, {.command = command, .body = body}),
                                     fmt::format("{} bytes", bytes)));
  }
  return absl::OkStatus();
}

// The count says one thing, the message's length another.
absl::Status WriteOfAnotherLengthIsRefused(ServerUnderTest& server) {
  const RegionAccess access = {
      .offset = kInterruptLine, .region = RegionIndex::kConfig, .count = 4};
  for (const size_t bytes : {size_t{0}, size_t{3}, size_t{5}, size_t{64}}) {
    VFIO_USER_RETURN_IF_ERROR(
        InCase(RefusesWithConfig(server, {.command = Command::kRegionWrite,
                                          .body = WriteBody(access, std::vector<uint8_t>(bytes))}),
               fmt::format("{} bytes of data for a count of 4", bytes)));
  }
  return absl::OkStatus();
}

absl::Status IdentityCannotBeWritten(ServerUnderTest& server) {
  VFIO_USER_RETURN_IF_ERROR(NeedsConfig(server));
  VFIO_USER_ASSIGN_OR_RETURN(WireClient client, server.Connect());
  VFIO_USER_ASSIGN_OR_RETURN(const std::vector<uint8_t> before, ReadConfig(client, 0, 4));
  const std::vector<uint8_t> ones(4, 0xff);
  VFIO_USER_RETURN_IF_ERROR(client.Ask(WriteRequest(RegionIndex::kConfig, 0, ones)).status());
  VFIO_USER_ASSIGN_OR_RETURN(const std::vector<uint8_t> after, ReadConfig(client, 0, 4));
  return before == after ? absl::OkStatus() : Misbehaved("the vendor and device ids were written");
}

absl::Status BarSizing(ServerUnderTest& server) {
  VFIO_USER_RETURN_IF_ERROR(NeedsConfig(server));
  const RegionInfo* const bar = server.traits().region(RegionIndex::kBar0);
  if (bar == nullptr) return Skip("the device has no BAR0");
  VFIO_USER_ASSIGN_OR_RETURN(WireClient client, server.Connect());
  VFIO_USER_ASSIGN_OR_RETURN(const std::vector<uint8_t> old, ReadConfig(client, kBar0Register, 4));
  const std::vector<uint8_t> ones(4, 0xff);
  VFIO_USER_RETURN_IF_ERROR(WriteConfig(client, kBar0Register, ones));
  VFIO_USER_ASSIGN_OR_RETURN(const std::vector<uint8_t> sized,
                             ReadConfig(client, kBar0Register, 4));
  VFIO_USER_RETURN_IF_ERROR(WriteConfig(client, kBar0Register, old));
  uint32_t mask = 0;
  for (size_t i = 4; i-- > 0;) mask = mask << 8 | sized[i];
  mask &= (mask & 1) != 0 ? ~3u : ~15u;
  const uint64_t size = uint64_t{~mask} + 1;
  if (bar->size > UINT32_MAX || size == bar->size) return absl::OkStatus();
  return Misbehaved(fmt::format("BAR0 sizes to {:#x} and is {:#x} long", size, bar->size));
}

constexpr ServerCheck kChecks[] = {
    {"region-read/returns-what-was-asked-for", kRead, Requirement::kRequired,
     ReadReturnsWhatWasAskedFor},
    {"region-read/parts-agree-with-the-whole", kOperations, Requirement::kRequired,
     ReadsOfPartsAgree},
    {"region-read/256-bytes-of-config-at-once", "QEMU's client", Requirement::kPeerQuirk,
     AllOfConfigAtOnce},
    {"region-read/beyond-the-end-is-refused", kRead, Requirement::kRequired,
     [](ServerUnderTest& server) { return BeyondTheEndIsRefused(server, Command::kRegionRead); }},
    {"region-read/unknown-region-is-refused", kRead, Requirement::kRequired,
     [](ServerUnderTest& server) { return UnknownRegionIsRefused(server, Command::kRegionRead); }},
    {"region-read/region-without-size-is-refused", kRead, Requirement::kRequired,
     EmptyRegionIsRefused},
    {"region-read/count-above-the-limit-is-refused", kOperations, Requirement::kRequired,
     CountAboveTheLimitIsRefused},
    {"region-read/of-0-bytes-keeps-the-stream-in-step", kRead, Requirement::kRequired,
     ReadOfNothing},
    {"region-read/short-body-is-refused", kRead, Requirement::kRequired,
     [](ServerUnderTest& server) { return ShortBodyIsRefused(server, Command::kRegionRead); }},
    {"region-access/forbidden-direction-is-refused", "Region Information", Requirement::kRequired,
     ForbiddenDirectionIsRefused},
    {"region-write/is-read-back", kWrite, Requirement::kRequired, WriteIsReadBack},
    {"region-write/reply-echoes-the-request", kWrite, Requirement::kRequired, WriteReplyEchoes},
    {"region-write/posted-write-is-done-before-the-next-reply", "Command Concurrency",
     Requirement::kRequired, PostedWriteIsDoneBeforeTheNextReply},
    {"region-write/beyond-the-end-is-refused", kWrite, Requirement::kRequired,
     [](ServerUnderTest& server) { return BeyondTheEndIsRefused(server, Command::kRegionWrite); }},
    {"region-write/unknown-region-is-refused", kWrite, Requirement::kRequired,
     [](ServerUnderTest& server) { return UnknownRegionIsRefused(server, Command::kRegionWrite); }},
    {"region-write/data-of-another-length-is-refused", kWrite, Requirement::kRequired,
     WriteOfAnotherLengthIsRefused},
    {"region-write/short-body-is-refused", kWrite, Requirement::kRequired,
     [](ServerUnderTest& server) { return ShortBodyIsRefused(server, Command::kRegionWrite); }},
    {"config/identity-cannot-be-written", "PCI", Requirement::kRecommended,
     IdentityCannotBeWritten},
    {"config/bar0-sizes-to-its-size", "PCI", Requirement::kRecommended, BarSizing},
};

}  // namespace

std::span<const ServerCheck> RegionAccessChecks() { return kChecks; }

}  // namespace vfio_user
