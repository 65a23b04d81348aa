// DEVICE_GET_REGION_IO_FDS.
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fmt/format.h"
#include "proto_defs/base/errno_status.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/wire/device_info.h"
#include "proto_defs/wire/limits.h"
#include "proto_defs/wire/region_info.h"
#include "proto_defs/wire/region_io_fds.h"
#include "proto_defs/wire/wire_writer.h"
#include "tests/conformance/server/check_families.h"
#include "tests/conformance/server/outcome.h"

namespace vfio_user {
namespace {

constexpr std::string_view kIoFds = "VFIO_USER_DEVICE_GET_REGION_IO_FDS";

struct IoFdsNumbers {
  uint32_t argsz = 16;
  uint32_t flags = 0;
  uint32_t index = 0;
  uint32_t count = 0;
};

WireRequest IoFdsRequest(const IoFdsNumbers& numbers) {
  WireRequest request = {.command = Command::kDeviceGetRegionIoFds};
  WireWriter out(request.body);
  out.Write<uint32_t>(numbers.argsz);
  out.Write<uint32_t>(numbers.flags);
  out.Write<uint32_t>(numbers.index);
  out.Write<uint32_t>(numbers.count);
  return request;
}

// On a region with doorbells, where there is one: elsewhere anything would be refused.
absl::Status Refuses(ServerUnderTest& server, IoFdsNumbers numbers) {
  const std::vector<RegionIndex>& regions = server.traits().doorbell_regions;
  if (!regions.empty()) numbers.index = static_cast<uint32_t>(regions[0]);
  return server.Refuses(IoFdsRequest(numbers), {EINVAL});
}

struct Doorbells {
  RegionIndex region;
  RegionIoFdsReply reply;
  std::vector<UniqueFd> fds;
};

absl::StatusOr<Doorbells> AskForDoorbells(ServerUnderTest& server, WireClient& client,
                                          uint32_t argsz) {
  if (server.traits().doorbell_regions.empty()) {
    return Skip("the device has no doorbells that are rung through a descriptor");
  }
  const RegionIndex region = server.traits().doorbell_regions[0];
  VFIO_USER_ASSIGN_OR_RETURN(
      WireClient::Message message,
      client.Do(IoFdsRequest({.argsz = argsz, .index = static_cast<uint32_t>(region)})));
  VFIO_USER_ASSIGN_OR_RETURN(RegionIoFdsReply reply, RegionIoFdsReply::Parse(message.body));
  return Doorbells{region, std::move(reply), std::move(message.fds)};
}

absl::Status SmallArgszTellsTheSize(ServerUnderTest& server) {
  VFIO_USER_ASSIGN_OR_RETURN(WireClient client, server.Connect());
  VFIO_USER_ASSIGN_OR_RETURN(const Doorbells small, AskForDoorbells(server, client, 16));
  if (!small.fds.empty() || !small.reply.entries.empty()) {
    return Misbehaved("entries or descriptors for a client that takes 16 bytes");
  }
  if (small.reply.argsz > kMaxRegionInfoBytes) {
    return Misbehaved(fmt::format("argsz is {}", small.reply.argsz));
  }
  VFIO_USER_ASSIGN_OR_RETURN(const Doorbells all,
                             AskForDoorbells(server, client, small.reply.argsz));
  if (all.reply.entries.size() == small.reply.count) return absl::OkStatus();
  return Misbehaved(fmt::format("{} entries of {} in the {} bytes that were named",
                                all.reply.entries.size(), small.reply.count, small.reply.argsz));
}

absl::Status EntriesLieInTheRegion(ServerUnderTest& server) {
  VFIO_USER_ASSIGN_OR_RETURN(WireClient client, server.Connect());
  VFIO_USER_ASSIGN_OR_RETURN(const Doorbells all,
                             AskForDoorbells(server, client, kMaxRegionInfoBytes));
  const uint64_t size = server.traits().region(all.region)->size;
  for (const IoFdEntry& entry : all.reply.entries) {
    if (entry.offset > size || entry.size > size - entry.offset) {
      return Misbehaved(fmt::format("{:#x} + {:#x} is beyond the region's {:#x} bytes",
                                    entry.offset, entry.size, size));
    }
    if (entry.fd_index >= all.fds.size()) {
      return Misbehaved(
          fmt::format("fd_index {} of {} descriptors", entry.fd_index, all.fds.size()));
    }
  }
  return absl::OkStatus();
}

absl::Status RingingIsTaken(ServerUnderTest& server) {
  VFIO_USER_ASSIGN_OR_RETURN(WireClient client, server.Connect());
  VFIO_USER_ASSIGN_OR_RETURN(const Doorbells all,
                             AskForDoorbells(server, client, kMaxRegionInfoBytes));
  for (const IoFdEntry& entry : all.reply.entries) {
    if (entry.type != IoFdType::kIoEventFd || entry.fd_index >= all.fds.size()) continue;
    const uint64_t one = 1;
    if (::write(all.fds[entry.fd_index].get(), &one, sizeof(one)) != sizeof(one)) {
      return ErrnoStatus(errno, "write to a doorbell's descriptor");
    }
  }
  return client.InStep();
}

absl::Status ShortBodyIsRefused(ServerUnderTest& server) {
  WireRequest request = IoFdsRequest({});
  request.body.resize(8);
  return server.Refuses(request, {EINVAL});
}

absl::Status UnknownRegionIsRefused(ServerUnderTest& server) {
  return server.Refuses(IoFdsRequest({.index = server.traits().device.num_regions}), {EINVAL});
}

constexpr ServerCheck kChecks[] = {
    {"io-fds/small-argsz-tells-the-size", "Message sizes", Requirement::kRequired,
     SmallArgszTellsTheSize},
    {"io-fds/entries-lie-in-the-region", kIoFds, Requirement::kRequired, EntriesLieInTheRegion},
    {"io-fds/ringing-is-taken", kIoFds, Requirement::kRequired, RingingIsTaken},
    {"io-fds/argsz-below-16-is-refused", kIoFds, Requirement::kRequired,
     [](ServerUnderTest& server) { return Refuses(server, {.argsz = 15}); }},
    {"io-fds/flags-are-refused", kIoFds, Requirement::kRequired,
     [](ServerUnderTest& server) { return Refuses(server, {.flags = 1}); }},
    {"io-fds/count-is-refused", kIoFds, Requirement::kRecommended,
     [](ServerUnderTest& server) { return Refuses(server, {.count = 1}); }},
    {"io-fds/short-body-is-refused", kIoFds, Requirement::kRequired, ShortBodyIsRefused},
    {"io-fds/unknown-region-is-refused", kIoFds, Requirement::kRequired, UnknownRegionIsRefused},
};

}  // namespace

std::span<const ServerCheck> IoFdsChecks() { return kChecks; }

}  // namespace vfio_user
