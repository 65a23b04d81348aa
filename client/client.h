// The client side of vfio-user: a device that another process serves, used from this one.
//
//   absl::StatusOr<Client> client = Client::Connect("/run/device.sock");
//   absl::StatusOr<DmaMapping> mapping = client->Map(std::span(buffer, length));
//   absl::StatusOr<Region> bar0 = client->OpenRegion(RegionIndex::kBar0);
//   absl::StatusOr<PciFunction> pci = client->OpenPci();
//   absl::Status enabled = pci->EnableBusMaster();
//   absl::Status status = bar0->Write<uint64_t>(0x10, ToU64(mapping->iova()));
//
// The device reads and writes `buffer` where it lies, be it from malloc, on a stack or in a file.
#ifndef CLIENT_CLIENT_H_
#define CLIENT_CLIENT_H_

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/address_space.h"
#include "client/client_options.h"
#include "client/device_features.h"
#include "client/device_migration.h"
#include "client/dma_log.h"
#include "client/dma_mapping.h"
#include "client/interrupt.h"
#include "client/interrupt_type.h"
#include "client/pci_function.h"
#include "client/region.h"
#include "proto_defs/transport/unique_fd.h"
#include "proto_defs/wire/device_info.h"
#include "proto_defs/wire/irq.h"
#include "proto_defs/wire/region_info.h"
#include "proto_defs/wire/version.h"

namespace vfio_user {

class Deadline;
class DmaMapper;
class Session;
class Socket;

// A connection to one device. Movable; what it gave out (regions, mappings, interrupts) keeps the
// connection alive without it. Thread-safe, but for moving.
//
// Errors that every call may return: Unavailable when the server is gone and DataLoss when it
// broke the protocol, both for good; DeadlineExceeded when it did not answer in reply_timeout (the
// device may act on the request still); FailedPrecondition in a forked child, whose memory is not
// the one that was lent; Unimplemented and others as the server refused.
class Client {
 public:
  // NotFound: nothing is at `path`. Unavailable: nobody serves there, or the server has a client
  // already. DeadlineExceeded: no answer in connect_timeout. DataLoss: that is no vfio-user server.
  static absl::StatusOr<Client> Connect(const std::string& path, const ClientOptions& options = {});

  // The same on a connected UNIX stream socket, which it takes.
  static absl::StatusOr<Client> Adopt(UniqueFd socket, const ClientOptions& options = {});

  Client(Client&&) noexcept;
  Client& operator=(Client&&) noexcept;
  ~Client();

  // What the server said of itself when it was connected to.
  const VersionMessage& server_version() const;
  // The effective bound of one message's data in bytes: the lower of both sides'.
  uint32_t max_data_xfer_bytes() const;
  // Whether the server's own commands have a socket of their own.
  bool has_twin_socket() const;

  absl::StatusOr<DeviceInfo> GetDeviceInfo() const;
  // NotFound for an index that the device does not have.
  absl::StatusOr<RegionInfo> GetRegionInfo(RegionIndex index) const;
  absl::StatusOr<IrqInfo> GetIrqInfo(IrqIndex index) const;

  // Mappings and bound interrupts outlive it; registers, and bus mastering, do not.
  absl::Status Reset() const;

  // Maps what the server lets clients map, unless `options` say otherwise. NotFound for a region of
  // size 0.
  absl::StatusOr<Region> OpenRegion(RegionIndex index, const RegionOptions& options = {}) const;

  // The device's config space. A device reads and writes memory only after
  // `OpenPci()->EnableBusMaster()`. Unimplemented for a device that is not a PCI one.
  absl::StatusOr<PciFunction> OpenPci() const;

  // Lets the device read and write `memory`, which must outlive the DmaMapping. Any alignment;
  // length in bytes, not 0. InvalidArgument for an empty or wrapping range, AlreadyExists where
  // the bus addresses are taken, ResourceExhausted at the limit of mappings that the server named
  // (libvfio-user names none, and refuses one too many as InvalidArgument), PermissionDenied for
  // kFileIo to a server that is not trusted, Unimplemented for a path that the server does not
  // know. On error, no change. Blocks for one round trip, or two with kAuto.
  absl::StatusOr<DmaMapping> Map(std::span<std::byte> memory, const MapOptions& options = {}) const;

  // The same for arrays and containers of bytes that may be written.
  template <typename Bytes>
  requires(std::convertible_to<Bytes, std::span<std::byte>>) absl::StatusOr<DmaMapping> Map(
      Bytes&& bytes, const MapOptions& options = {})
  const { return Map(std::span<std::byte>(bytes), options); }

  // The same for memory that the device may only read; the server's descriptor is O_RDONLY then.
  absl::StatusOr<DmaMapping> Map(std::span<const std::byte> memory,
                                 const MapOptions& options = {}) const;

  // The same for many buffers, in their order, with few waits for all of them where the server has
  // a twin socket. All or none: on an error those that were mapped are unmapped again.
  // InvalidArgument for one bus address for several. Each keeps its own path; nearly always it is
  // the first one's.
  absl::StatusOr<std::vector<DmaMapping>> MapMany(std::span<const std::span<std::byte>> buffers,
                                                  const MapOptions& options = {}) const;

  // The same for memory that is a file's, which the server can map instead of copying.
  absl::StatusOr<DmaMapping> MapFile(const FileMemory& memory,
                                     const MapOptions& options = {}) const;

  // The same for all memory of this process at once, always by file I/O: PermissionDenied to a
  // server that is not trusted, AlreadyExists where anything is mapped already. Takes a round trip
  // for each region, and one for each size that the server refuses.
  absl::StatusOr<AddressSpaceMapping> MapAddressSpace(
      AddressSpaceAccess access = AddressSpaceAccess::kReadWrite) const;

  // Unmaps all that this client has mapped, with one request where the server takes it. The handles
  // are as after DmaMapping::Unmap(). Waits for those that other threads unmap meanwhile. An error
  // means that the connection is gone.
  absl::Status UnmapAll() const;

  // Has the device, and this client, note which memory the device writes. FailedPrecondition while
  // another log of this client lives, Unimplemented for a device that cannot.
  absl::StatusOr<DmaLog> StartDmaLogging(const DmaLogOptions& options = {}) const;

  // The way to save and load the device's state. Unimplemented for a device that cannot migrate.
  absl::StatusOr<DeviceMigration> OpenMigration() const;

  // The device's optional abilities in their raw form.
  DeviceFeatures features() const;

  // Binds the vector to a new eventfd. NotFound for a vector that the device does not have.
  absl::StatusOr<Interrupt> BindInterrupt(IrqIndex index, uint32_t vector) const;
  // What else can be done with the vectors of that type: binding many at once, masking, triggering,
  // disabling. NotFound for a type of which the device has none.
  absl::StatusOr<InterruptType> OpenInterrupts(IrqIndex index) const;

  // With DmaService::kPoll: readable when Poll() has something to do. Borrowed. -1 otherwise.
  int poll_fd() const;
  // Serves the server's commands that have arrived, without waiting for more. With
  // DmaService::kPoll this must be called for the device to make progress between calls.
  absl::Status Poll() const;

  // OK, or why the connection is gone.
  absl::Status status() const;

 private:
  static absl::StatusOr<Client> Start(Socket socket, const ClientOptions& options,
                                      Deadline deadline);
  Client(std::shared_ptr<Session> session, std::shared_ptr<DmaMapper> mapper);

  std::shared_ptr<Session> session_;
  std::shared_ptr<DmaMapper> mapper_;
};

}  // namespace vfio_user

#endif  // CLIENT_CLIENT_H_
