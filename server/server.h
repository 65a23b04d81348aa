// The server side of vfio-user: devices, each at a socket.
//
//   absl::StatusOr<std::unique_ptr<vfio_user::Server>> server = vfio_user::Server::Create();
//   if (!server.ok()) ...
//   absl::Status listening = (*server)->Listen("/run/device.sock", std::make_unique<MyDevice>());
//   if (!listening.ok()) ...
//   (*server)->Run();  // Until another thread calls Stop().
#ifndef SERVER_SERVER_H_
#define SERVER_SERVER_H_

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "proto_defs/transport/unique_fd.h"
#include "server/device.h"
#include "server/mappable_bar.h"

namespace vfio_user {

// Whether long and scattered DMA by file I/O may go through process_vm_readv() and
// process_vm_writev(), which move many pieces in one call. Done where a client lent the memory of
// its own process and the kernel permits it; otherwise, and with kOff, the client's descriptor is
// read and written piece by piece. What devices see is the same.
enum class ProcessVm { kOff, kOn };

struct ServerOptions {
  // How long a client may take from connecting to the end of VERSION, and a message that has begun,
  // in either direction, to be complete. A client that is slower loses its turn.
  absl::Duration negotiation_timeout = absl::Seconds(5);
  // How long a client may take to answer a DMA message.
  absl::Duration dma_timeout = absl::Seconds(5);
  // What one message may carry, in bytes, in either direction: 1 to 64 MiB. The client may ask for
  // less.
  uint32_t max_data_xfer_bytes = 1 << 20;
  // Mappings of one client.
  uint32_t max_dma_maps = 65535;
  ProcessVm process_vm = ProcessVm::kOn;
  // How long a thread that waits for a client's message (the protocol thread, or the worker for an
  // answer to a DMA message) tries over and over before it blocks. A request then comes without a
  // wake-up, and a processor is busy meanwhile, for this time after each message.
  absl::Duration busy_poll = absl::ZeroDuration();
  // Of the sockets' files.
  mode_t socket_mode = 0600;
  // Told one line about each refused request, and each client that was refused or is gone; from any
  // thread. May be empty.
  std::function<void(std::string_view)> log = {};
};

// Serves one client per socket at a time. A second one is told so (EBUSY) and closed. The device's
// state and the socket outlive a client; what it mapped and bound goes with it.
//
// Has two threads, and two for each device; they leave the application's signals alone. Idle, it
// uses no processor time. Thread-safe.
class Server {
 public:
  // InvalidArgument for an option out of its bounds, ResourceExhausted where no thread or
  // descriptor is to be had.
  static absl::StatusOr<std::unique_ptr<Server>> Create(const ServerOptions& options = {});

  // Stops.
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Serves `device` at a new socket; clients may connect as soon as it returns. InvalidArgument for
  // a path that cannot be a socket's and for a device whose description cannot be, AlreadyExists
  // where another server listens, FailedPrecondition once stopped.
  absl::Status Listen(const std::string& path, std::unique_ptr<Device> device);

  // Serves `device` to the client at the other end of a connected UNIX stream socket; when that
  // client is gone, so is the device. Errors as of Listen.
  absl::Status Adopt(UniqueFd socket, std::unique_ptr<Device> device);

  // Blocks until Stop is done. Clients are served from Listen on, whether this is called or not.
  void Run();

  // Disconnects every client, waits until the devices have come to rest and destroys them, and
  // removes the sockets' files. May be repeated. Not from a device's own calls: it waits for them.
  void Stop();

 private:
  class Impl;

  explicit Server(std::unique_ptr<Impl> impl);

  const std::unique_ptr<Impl> impl_;
};

}  // namespace vfio_user

#endif  // SERVER_SERVER_H_
