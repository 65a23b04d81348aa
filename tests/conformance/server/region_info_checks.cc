// DEVICE_GET_REGION_INFO.
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fmt/format.h"
#include "proto_defs/base/errno_status.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/wire/device_info.h"
#include "proto_defs/wire/format.h"
#include "proto_defs/wire/limits.h"
#include "proto_defs/wire/region_info.h"
#include "proto_defs/wire/wire_writer.h"
#include "tests/conformance/server/check_families.h"
#include "tests/conformance/server/outcome.h"

namespace vfio_user {
namespace {

constexpr std::string_view kInfo = "VFIO_USER_DEVICE_GET_REGION_INFO";

WireRequest GetInfo(RegionIndex index, uint32_t argsz) {
  return {.command = Command::kDeviceGetRegionInfo,
          .body = Serialize(RegionInfoRequest{.argsz = argsz, .index = index})};
}

absl::Status DescribesOne(WireClient& client, RegionIndex index) {
  VFIO_USER_ASSIGN_OR_RETURN(const WireClient::Message reply, client.Do(GetInfo(index, 32)));
  VFIO_USER_ASSIGN_OR_RETURN(const RegionInfo info, RegionInfo::Parse(reply.body));
  if (info.index != index) {
    return Misbehaved(fmt::format("the answer is about {}", info.index));
  }
  if (reply.body.size() > 32) {
    return Misbehaved(fmt::format("{} bytes for a client that takes 32", reply.body.size()));
  }
  if (info.argsz < 32) return Misbehaved(fmt::format("argsz is {}", info.argsz));
  if (reply.fds.size() > 1) return Misbehaved(fmt::format("{} descriptors", reply.fds.size()));
  return absl::OkStatus();
}

absl::Status DescribesEveryIndex(ServerUnderTest& server) {
  VFIO_USER_ASSIGN_OR_RETURN(WireClient client, server.Connect());
  for (uint32_t i = 0; i < std::min(server.traits().device.num_regions, kMaxRegions); ++i) {
    VFIO_USER_RETURN_IF_ERROR(
        InCase(DescribesOne(client, RegionIndex{i}), fmt::format("region {}", RegionIndex{i})));
  }
  return absl::OkStatus();
}

absl::Status ArgszIsWhatAllOfItNeeds(ServerUnderTest& server) {
  VFIO_USER_ASSIGN_OR_RETURN(WireClient client, server.Connect());
  for (const RegionInfo& region : server.traits().regions) {
    VFIO_USER_ASSIGN_OR_RETURN(const WireClient::Message first,
                               client.Do(GetInfo(region.index, 32)));
    VFIO_USER_ASSIGN_OR_RETURN(const RegionInfo info, RegionInfo::Parse(first.body));
    if (info.argsz > kMaxRegionInfoBytes) {
      return Misbehaved(fmt::format("{}: argsz is {}", region.index, info.argsz));
    }
    VFIO_USER_ASSIGN_OR_RETURN(const WireClient::Message second,
                               client.Do(GetInfo(region.index, info.argsz)));
    VFIO_USER_ASSIGN_OR_RETURN(const RegionInfo all, RegionInfo::Parse(second.body));
    if (all.argsz != second.body.size()) {
      return Misbehaved(fmt::format("{}: argsz is {} for a body of {} bytes", region.index,
                                    all.argsz, second.body.size()));
    }
  }
  return absl::OkStatus();
}

absl::Status IndexBeyondTheLastIsRefused(ServerUnderTest& server) {
  VFIO_USER_RETURN_IF_ERROR(
      server.Refuses(GetInfo(RegionIndex{server.traits().device.num_regions}, 32), {EINVAL}));
  return server.Refuses(GetInfo(RegionIndex{UINT32_MAX}, 32), {EINVAL});
}

absl::Status ConfigSpaceIsThere(ServerUnderTest& server) {
  if (!server.traits().is_pci()) return Skip("not a PCI device");
  const RegionInfo* const config = server.traits().region(RegionIndex::kConfig);
  if (config == nullptr) return Misbehaved("a PCI device without config space");
  if (config->size != 256 && config->size != 4096) {
    return Misbehaved(fmt::format("config space has {} bytes, want 256 or 4096", config->size));
  }
  if (config->flags.Has(RegionFlag::kRead) && config->flags.Has(RegionFlag::kWrite)) {
    return absl::OkStatus();
  }
  return Misbehaved(fmt::format("flags of config space are {}", config->flags));
}

absl::Status BarsArePowersOfTwo(ServerUnderTest& server) {
  if (!server.traits().is_pci()) return Skip("not a PCI device");
  for (uint32_t i = 0; i < 6; ++i) {
    const RegionInfo* const bar = server.traits().region(RegionIndex{i});
    if (bar != nullptr && (bar->size & (bar->size - 1)) != 0) {
      return Misbehaved(fmt::format("{} has {:#x} bytes", bar->index, bar->size));
    }
  }
  return absl::OkStatus();
}

// All that a client learns of a region that it may map.
struct Mappable {
  RegionInfo info;
  std::vector<UniqueFd> fds;
};

absl::StatusOr<Mappable> AskForMappable(ServerUnderTest& server) {
  const RegionInfo* const region = server.traits().mappable_region();
  if (region == nullptr) return Skip("the device has no region that a client may map");
  VFIO_USER_ASSIGN_OR_RETURN(WireClient client, server.Connect());
  VFIO_USER_ASSIGN_OR_RETURN(WireClient::Message reply,
                             client.Do(GetInfo(region->index, kMaxRegionInfoBytes)));
  VFIO_USER_ASSIGN_OR_RETURN(RegionInfo info, RegionInfo::Parse(reply.body));
  return Mappable{std::move(info), std::move(reply.fds)};
}

std::vector<SparseArea> AreasOf(const RegionInfo& info) {
  if (info.sparse_areas.has_value()) return *info.sparse_areas;
  return {{.offset = 0, .size = info.size}};
}

absl::Status MappableHasOneDescriptor(ServerUnderTest& server) {
  VFIO_USER_ASSIGN_OR_RETURN(const Mappable region, AskForMappable(server));
  if (region.fds.size() == 1) return absl::OkStatus();
  return Misbehaved(fmt::format("{} descriptors, want 1", region.fds.size()));
}

absl::Status FileHoldsEveryArea(ServerUnderTest& server) {
  VFIO_USER_ASSIGN_OR_RETURN(const Mappable region, AskForMappable(server));
  if (region.fds.empty()) return Misbehaved("no descriptor");
  struct stat file = {};
  if (::fstat(region.fds[0].get(), &file) != 0) return ErrnoStatus(errno, "fstat");
  const std::vector<SparseArea> areas = AreasOf(region.info);
  if (areas.empty()) return Misbehaved("mappable, without an area");
  for (const SparseArea& area : areas) {
    const uint64_t end = region.info.file_offset + area.offset + area.size;
    if (S_ISREG(file.st_mode) && end > static_cast<uint64_t>(file.st_size)) {
      return Misbehaved(
          fmt::format("{} ends at {:#x} of a file of {:#x} bytes", area, end, file.st_size));
    }
    if ((area.offset | area.size | region.info.file_offset) % 4096 != 0) {
      return Misbehaved(fmt::format("{} at {:#x} of the file is not in whole pages", area,
                                    region.info.file_offset));
    }
  }
  return absl::OkStatus();
}

absl::Status AreasCanBeMapped(ServerUnderTest& server) {
  VFIO_USER_ASSIGN_OR_RETURN(const Mappable region, AskForMappable(server));
  if (region.fds.empty()) return Misbehaved("no descriptor");
  int protection = 0;
  if (region.info.flags.Has(RegionFlag::kRead)) protection |= PROT_READ;
  if (region.info.flags.Has(RegionFlag::kWrite)) protection |= PROT_WRITE;
  for (const SparseArea& area : AreasOf(region.info)) {
    void* const at = ::mmap(nullptr, area.size, protection, MAP_SHARED, region.fds[0].get(),
                            static_cast<off_t>(region.info.file_offset + area.offset));
    if (at == MAP_FAILED) return ErrnoStatus(errno, fmt::format("mmap of {}", area));
    (void)::munmap(at, area.size);
  }
  return absl::OkStatus();
}

absl::Status NoDescriptorWithoutRoomForCapabilities(ServerUnderTest& server) {
  const RegionInfo* const region = server.traits().mappable_region();
  if (region == nullptr) return Skip("the device has no region that a client may map");
  if (!region->sparse_areas.has_value()) return Skip("the region has no list of areas");
  VFIO_USER_ASSIGN_OR_RETURN(WireClient client, server.Connect());
  VFIO_USER_ASSIGN_OR_RETURN(const WireClient::Message reply,
                             client.Do(GetInfo(region->index, 32)));
  VFIO_USER_ASSIGN_OR_RETURN(const RegionInfo info, RegionInfo::Parse(reply.body));
  if (info.sparse_areas.has_value()) return Misbehaved("capabilities in a body of 32 bytes");
  if (reply.fds.empty()) return absl::OkStatus();
  return Misbehaved("a descriptor without the list of what may be mapped");
}

absl::Status ShortBodiesAreRefused(ServerUnderTest& server) {
  for (const size_t bytes : {size_t{0}, size_t{31}}) {
    std::vector<uint8_t> body = GetInfo(RegionIndex::kBar0, 32).body;
    body.resize(bytes);
    VFIO_USER_RETURN_IF_ERROR(
        InCase(server.Refuses({.command = Command::kDeviceGetRegionInfo, .body = body}, {EINVAL}),
               fmt::format("{} bytes", bytes)));
  }
  return absl::OkStatus();
}

absl::Status LongBodyIsFine(ServerUnderTest& server) {
  WireRequest request = GetInfo(RegionIndex::kBar0, 4064);
  request.body.resize(4064);
  return server.Does(request);
}

constexpr ServerCheck kChecks[] = {
    {"region-info/every-index-is-described", kInfo, Requirement::kRequired, DescribesEveryIndex},
    {"region-info/index-beyond-the-last-is-refused", kInfo, Requirement::kRequired,
     IndexBeyondTheLastIsRefused},
    {"region-info/argsz-below-32-is-refused", kInfo, Requirement::kRequired,
     [](ServerUnderTest& server) {
       return server.Refuses(GetInfo(RegionIndex::kBar0, 31), {EINVAL});
     }},
    {"region-info/short-body-is-refused", kInfo, Requirement::kRequired, ShortBodiesAreRefused},
    {"region-info/argsz-is-what-all-of-it-needs", "Message sizes", Requirement::kRequired,
     ArgszIsWhatAllOfItNeeds},
    {"region-info/pci-device-has-config-space", kInfo, Requirement::kRequired, ConfigSpaceIsThere},
    {"region-info/bars-are-powers-of-two", "PCI", Requirement::kRecommended, BarsArePowersOfTwo},
    {"region-info/mappable-region-has-one-descriptor", kInfo, Requirement::kRequired,
     MappableHasOneDescriptor},
    {"region-info/file-holds-every-mappable-area", kInfo, Requirement::kRequired,
     FileHoldsEveryArea},
    {"region-info/mappable-areas-can-be-mapped", kInfo, Requirement::kRequired, AreasCanBeMapped},
    {"region-info/no-descriptor-without-room-for-capabilities", kInfo, Requirement::kRecommended,
     NoDescriptorWithoutRoomForCapabilities},
    {"region-info/body-of-4064-bytes-is-fine", "SPDK's client", Requirement::kPeerQuirk,
     LongBodyIsFine},
};

}  // namespace

std::span<const ServerCheck> RegionInfoChecks() { return kChecks; }

}  // namespace vfio_user
