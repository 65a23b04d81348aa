#include "client/client.h"

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/dma_mapper.h"
#include "client/region_mapping.h"
#include "client/session/negotiation.h"
#include "client/session/peer_trust.h"
#include "client/session/session.h"
#include "fmt/format.h"
#include "proto_defs/base/errno_status.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/transport/deadline.h"
#include "proto_defs/transport/socket.h"
#include "proto_defs/wire/dma_map.h"
#include "proto_defs/wire/format.h"
#include "proto_defs/wire/limits.h"

namespace vfio_user {
namespace {

absl::Status CheckOptions(const ClientOptions& options) {
  if (options.max_data_xfer_bytes == 0 ||
      options.max_data_xfer_bytes > kMaxAdvertisedDataXferBytes) {
    return absl::InvalidArgumentError(fmt::format("max_data_xfer_bytes is {}, want 1 to {}",
                                                  options.max_data_xfer_bytes,
                                                  kMaxAdvertisedDataXferBytes));
  }
  if (options.connect_timeout <= absl::ZeroDuration() ||
      options.reply_timeout <= absl::ZeroDuration()) {
    return absl::InvalidArgumentError("a timeout is 0 or less, want more");
  }
  if (options.busy_poll < absl::ZeroDuration()) {
    return absl::InvalidArgumentError("busy_poll is below 0");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Client> Client::Connect(const std::string& path, const ClientOptions& options) {
  VFIO_USER_RETURN_IF_ERROR(CheckOptions(options));
  const Deadline deadline = Deadline::In(options.connect_timeout);
  VFIO_USER_ASSIGN_OR_RETURN(Socket socket, Socket::Connect(path, deadline));
  absl::StatusOr<Client> client = Start(std::move(socket), options, deadline);
  return client.ok() ? std::move(client) : Annotate(client.status(), path);
}

absl::StatusOr<Client> Client::Adopt(UniqueFd fd, const ClientOptions& options) {
  VFIO_USER_RETURN_IF_ERROR(CheckOptions(options));
  VFIO_USER_ASSIGN_OR_RETURN(Socket socket, Socket::Adopt(std::move(fd)));
  return Start(std::move(socket), options, Deadline::In(options.connect_timeout));
}

absl::StatusOr<Client> Client::Start(Socket socket, const ClientOptions& options,
                                     Deadline deadline) {
  VFIO_USER_ASSIGN_OR_RETURN(Negotiated negotiated,
                             Negotiate(std::move(socket), options.max_data_xfer_bytes, deadline));
  VFIO_USER_ASSIGN_OR_RETURN(
      std::shared_ptr<Session> session,
      Session::Start(std::move(negotiated), {.reply_timeout = options.reply_timeout,
                                             .dma_service = options.dma_service,
                                             .busy_poll = options.busy_poll}));
  std::shared_ptr<DmaMapper> mapper =
      DmaMapper::Create(session, CheckMayLendMemory(session->socket(), options.trusted_uids));
  return Client(std::move(session), std::move(mapper));
}

Client::Client(std::shared_ptr<Session> session, std::shared_ptr<DmaMapper> mapper)
    : session_(std::move(session)), mapper_(std::move(mapper)) {}

Client::Client(Client&&) noexcept = default;
Client& Client::operator=(Client&&) noexcept = default;
Client::~Client() = default;

const VersionMessage& Client::server_version() const { return session_->server_version(); }
uint32_t Client::max_data_xfer_bytes() const { return session_->max_data_xfer_bytes(); }
bool Client::has_twin_socket() const { return session_->has_twin_socket(); }

absl::StatusOr<DeviceInfo> Client::GetDeviceInfo() const { return session_->GetDeviceInfo(); }

absl::StatusOr<RegionInfo> Client::GetRegionInfo(RegionIndex index) const {
  return session_->GetRegionInfo(index);
}

absl::StatusOr<IrqInfo> Client::GetIrqInfo(IrqIndex index) const {
  return session_->GetIrqInfo(index);
}

absl::Status Client::Reset() const { return session_->Reset(); }

absl::StatusOr<Region> Client::OpenRegion(RegionIndex index, const RegionOptions& options) const {
  VFIO_USER_ASSIGN_OR_RETURN(RegionWithFile region, session_->GetRegion(index));
  if (region.info.size == 0) {
    return absl::NotFoundError(fmt::format("the device has no {}: its size is 0", index));
  }
  std::shared_ptr<const RegionMapping> mapping;
  if (options.path == RegionPath::kAuto) mapping = RegionMapping::Create(region.info, region.file);
  return Region(session_, std::move(region.info), std::move(mapping));
}

absl::StatusOr<PciFunction> Client::OpenPci() const {
  VFIO_USER_ASSIGN_OR_RETURN(const DeviceInfo device, session_->KnownDeviceInfo());
  if (!device.flags.Has(DeviceInfoFlag::kPci)) {
    return absl::UnimplementedError("the device is not a PCI device: the server does not say so");
  }
  VFIO_USER_ASSIGN_OR_RETURN(Region config, OpenRegion(RegionIndex::kConfig));
  return PciFunction(session_, std::move(config));
}

absl::StatusOr<DmaMapping> Client::Map(std::span<std::byte> memory,
                                       const MapOptions& options) const {
  return mapper_->Map(memory, options);
}

absl::StatusOr<DmaMapping> Client::Map(std::span<const std::byte> memory,
                                       const MapOptions& options) const {
  return mapper_->Map(memory, options);
}

absl::StatusOr<DmaMapping> Client::MapFile(const FileMemory& memory,
                                           const MapOptions& options) const {
  return mapper_->MapFile(memory, options);
}

absl::StatusOr<AddressSpaceMapping> Client::MapAddressSpace(AddressSpaceAccess access) const {
  DmaMapFlags flags = DmaMapFlag::kRead;
  if (access == AddressSpaceAccess::kReadWrite) flags |= DmaMapFlag::kWrite;
  return AddressSpaceMapping::Create(*mapper_, flags);
}

absl::StatusOr<std::vector<DmaMapping>> Client::MapMany(
    std::span<const std::span<std::byte>> buffers, const MapOptions& options) const {
  return mapper_->MapMany(buffers, options);
}

absl::Status Client::UnmapAll() const { return mapper_->UnmapAll(); }

absl::StatusOr<DmaLog> Client::StartDmaLogging(const DmaLogOptions& options) const {
  return DmaLog::Start(mapper_, options);
}

absl::StatusOr<DeviceMigration> Client::OpenMigration() const {
  return DeviceMigration::Open(session_);
}

DeviceFeatures Client::features() const { return DeviceFeatures(session_); }

absl::StatusOr<Interrupt> Client::BindInterrupt(IrqIndex index, uint32_t vector) const {
  VFIO_USER_ASSIGN_OR_RETURN(const IrqInfo info, session_->GetIrqInfo(index));
  return InterruptType(session_, info).Bind(vector);
}

absl::StatusOr<InterruptType> Client::OpenInterrupts(IrqIndex index) const {
  VFIO_USER_ASSIGN_OR_RETURN(const IrqInfo info, session_->GetIrqInfo(index));
  if (info.count == 0) return absl::NotFoundError(fmt::format("the device has no {}", index));
  return InterruptType(session_, info);
}

int Client::poll_fd() const { return session_->poll_fd(); }

absl::Status Client::Poll() const { return session_->Poll(); }

absl::Status Client::status() const { return session_->status(); }

}  // namespace vfio_user
