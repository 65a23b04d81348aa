#include "tests/conformance/server/server_traits.h"

#include <algorithm>
#include <cstring>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "fmt/format.h"
#include "proto_defs/base/errno_status.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/wire/dma_map.h"
#include "proto_defs/wire/limits.h"
#include "proto_defs/wire/region_access.h"
#include "proto_defs/wire/region_io_fds.h"
#include "proto_defs/wire/wire_writer.h"

namespace vfio_user {
namespace {

constexpr std::string_view kOfferOfEverything =
    R"({"capabilities":{"max_msg_fds":16,"max_data_xfer_size":1048576,"max_dma_maps":65535,)"
    R"("pgsizes":4096,"write_multiple":true,"twin_socket":{"supported":true}}})";

constexpr uint32_t kConfigBytes = 256;

// The reply's body; nullopt where the server refuses.
absl::StatusOr<std::optional<std::vector<uint8_t>>> Answer(WireClient& client, Command command,
                                                           std::vector<uint8_t> body) {
  VFIO_USER_ASSIGN_OR_RETURN(WireClient::Message reply,
                             client.Ask({.command = command, .body = std::move(body)}));
  if (reply.header.error_flag) return std::optional<std::vector<uint8_t>>();
  return std::move(reply.body);
}

absl::Status DiscoverRegions(WireClient& client, ServerTraits& traits) {
  for (uint32_t i = 0; i < std::min(traits.device.num_regions, kMaxRegions); ++i) {
    const RegionInfoRequest request = {.argsz = kMaxRegionInfoBytes, .index = RegionIndex{i}};
    VFIO_USER_ASSIGN_OR_RETURN(const auto body,
                               Answer(client, Command::kDeviceGetRegionInfo, Serialize(request)));
    RegionInfo info = {.index = RegionIndex{i}};
    if (body.has_value()) {
      const absl::StatusOr<RegionInfo> parsed = RegionInfo::Parse(*body);
      if (parsed.ok()) info = *parsed;
    }
    traits.regions.push_back(info);
  }
  return absl::OkStatus();
}

absl::Status DiscoverIrqs(WireClient& client, ServerTraits& traits) {
  for (uint32_t i = 0; i < std::min(traits.device.num_irqs, kMaxIrqTypes); ++i) {
    const IrqInfoRequest request = {.index = IrqIndex{i}};
    VFIO_USER_ASSIGN_OR_RETURN(const auto body,
                               Answer(client, Command::kDeviceGetIrqInfo, Serialize(request)));
    IrqInfo info = {.index = IrqIndex{i}};
    if (body.has_value()) {
      const absl::StatusOr<IrqInfo> parsed = IrqInfo::Parse(*body);
      if (parsed.ok()) info = *parsed;
    }
    traits.irqs.push_back(info);
  }
  return absl::OkStatus();
}

DmaEngineKind EngineOf(const ServerTraits& traits) {
  uint32_t identity = 0;
  if (traits.config.size() < sizeof(identity)) return DmaEngineKind::kNone;
  std::memcpy(&identity, traits.config.data(), sizeof(identity));
  if (identity == 0xdc011234) return DmaEngineKind::kDmaCopy;
  if (identity == 0x11e81234) return DmaEngineKind::kEdu;
  return DmaEngineKind::kNone;
}

absl::Status DiscoverConfig(WireClient& client, ServerTraits& traits) {
  const RegionInfo* const config = traits.region(RegionIndex::kConfig);
  if (!traits.is_pci() || config == nullptr || config->size < kConfigBytes) return absl::OkStatus();
  const RegionAccess access = {.region = RegionIndex::kConfig, .count = kConfigBytes};
  VFIO_USER_ASSIGN_OR_RETURN(const auto body,
                             Answer(client, Command::kRegionRead, Serialize(access)));
  if (!body.has_value()) return absl::OkStatus();
  const auto parsed = RegionAccessWithData::Parse(*body, "REGION_READ reply");
  if (!parsed.ok()) return absl::OkStatus();
  traits.config.assign(parsed->data.begin(), parsed->data.end());
  traits.engine = EngineOf(traits);
  return absl::OkStatus();
}

absl::Status DiscoverDma(WireClient& client, ServerTraits& traits) {
  const DmaUnmapRequest nothing = {.address = Iova{0x1000}, .size = 0x1000};
  VFIO_USER_ASSIGN_OR_RETURN(const auto body,
                             Answer(client, Command::kDmaUnmap, Serialize(nothing)));
  traits.ignores_dma = body.has_value();
  return absl::OkStatus();
}

absl::StatusOr<bool> HasFeature(WireClient& client, Feature feature, FeatureOp op) {
  const DeviceFeature probe = {.feature = feature, .ops = FeatureOps(FeatureOp::kProbe) | op};
  VFIO_USER_ASSIGN_OR_RETURN(const auto body,
                             Answer(client, Command::kDeviceFeature, Serialize(probe)));
  return body.has_value();
}

absl::Status DiscoverFeatures(WireClient& client, ServerTraits& traits) {
  VFIO_USER_ASSIGN_OR_RETURN(traits.logs_dma,
                             HasFeature(client, Feature::kDmaLoggingStart, FeatureOp::kSet));
  const DeviceFeature get = {.argsz = DeviceFeature::kBytes + MigrationFeature::kBytes,
                             .feature = Feature::kMigration,
                             .ops = FeatureOp::kGet};
  VFIO_USER_ASSIGN_OR_RETURN(const auto body,
                             Answer(client, Command::kDeviceFeature, Serialize(get)));
  if (!body.has_value()) return absl::OkStatus();
  const absl::StatusOr<DeviceFeature> reply = DeviceFeature::Parse(*body);
  if (!reply.ok()) return absl::OkStatus();
  const absl::StatusOr<MigrationFeature> feature = MigrationFeature::Parse(reply->data);
  if (feature.ok()) traits.migration = feature->flags;
  return absl::OkStatus();
}

absl::Status DiscoverDoorbells(WireClient& client, ServerTraits& traits) {
  for (const RegionInfo& region : traits.regions) {
    if (region.size == 0) continue;
    const RegionIoFdsRequest request = {.index = region.index};
    VFIO_USER_ASSIGN_OR_RETURN(const auto body,
                               Answer(client, Command::kDeviceGetRegionIoFds, Serialize(request)));
    if (!body.has_value()) continue;
    const absl::StatusOr<RegionIoFdsReply> reply = RegionIoFdsReply::Parse(*body);
    if (reply.ok() && reply->count > 0) traits.doorbell_regions.push_back(region.index);
  }
  return absl::OkStatus();
}

}  // namespace

const RegionInfo* ServerTraits::region(RegionIndex index) const {
  const auto found = std::ranges::find(regions, index, &RegionInfo::index);
  return found == regions.end() || found->size == 0 ? nullptr : &*found;
}

const IrqInfo* ServerTraits::irq(IrqIndex index) const {
  const auto found = std::ranges::find(irqs, index, &IrqInfo::index);
  return found == irqs.end() || found->count == 0 ? nullptr : &*found;
}

const IrqInfo* ServerTraits::signalled_irq() const {
  // INTx is a level: it may be masked by its own signal, which most checks are not about.
  for (const IrqIndex index :
       {IrqIndex::kMsix, IrqIndex::kMsi, IrqIndex::kErr, IrqIndex::kReq, IrqIndex::kIntx}) {
    const IrqInfo* const info = irq(index);
    if (info != nullptr && info->flags.Has(IrqInfoFlag::kEventfd)) return info;
  }
  return nullptr;
}

const RegionInfo* ServerTraits::mappable_region() const {
  const auto found = std::ranges::find_if(regions, [](const RegionInfo& region) {
    return region.size > 0 && region.flags.Has(RegionFlag::kMmap);
  });
  return found == regions.end() ? nullptr : &*found;
}

absl::StatusOr<ServerTraits> DiscoverTraits(WireClient& client) {
  ServerTraits traits;
  const absl::StatusOr<WireClient::Message> version = client.Negotiate(kOfferOfEverything);
  VFIO_USER_RETURN_IF_ERROR(Annotate(version.status(), "VERSION"));
  if (version->header.error_flag) {
    return PeerError(Command::kVersion, version->header.error);
  }
  VFIO_USER_ASSIGN_OR_RETURN(traits.version, VersionMessage::Parse(version->body));
  VFIO_USER_ASSIGN_OR_RETURN(
      const WireClient::Message info,
      client.Do({.command = Command::kDeviceGetInfo, .body = Serialize(DeviceInfoRequest())}));
  VFIO_USER_ASSIGN_OR_RETURN(traits.device, DeviceInfo::Parse(info.body));
  VFIO_USER_RETURN_IF_ERROR(DiscoverRegions(client, traits));
  VFIO_USER_RETURN_IF_ERROR(DiscoverIrqs(client, traits));
  VFIO_USER_RETURN_IF_ERROR(DiscoverConfig(client, traits));
  VFIO_USER_RETURN_IF_ERROR(DiscoverDma(client, traits));
  VFIO_USER_RETURN_IF_ERROR(DiscoverFeatures(client, traits));
  VFIO_USER_RETURN_IF_ERROR(DiscoverDoorbells(client, traits));
  return traits;
}

}  // namespace vfio_user
