// The server side of vfio-user: devices, each at a socket.
//
//   absl::StatusOr<std::unique_ptr<Server>> server = Server::Create();
//   absl::Status status = (*server)->Listen("/run/device.sock", std::make_unique<MyDevice>());
//   status = (*server)->Run();  // Until Stop().
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

namespace vfio_user {

struct ServerOptions {
  // How long a client may take from connecting to the end of VERSION, and a started message to
  // arrive. A client that is slower loses its turn.
  absl::Duration negotiation_timeout = absl::Seconds(5);
  // How long a client may take to answer a DMA message.
  absl::Duration dma_timeout = absl::Seconds(5);
  // What one message may carry, in bytes, in either direction; the client may ask for less.
  uint32_t max_data_xfer_bytes = 1 << 20;
  // Mappings of one client.
  uint32_t max_dma_maps = 65535;
  mode_t socket_mode = 0600;
  // Told one line about each refused request and lost client; from any thread. May be empty.
  std::function<void(std::string_view)> log;
};

// Serves one client per socket at a time: a second one is told so and closed. Device state, and the
// socket, outlive a client. Thread-safe.
class Server {
 public:
  static absl::StatusOr<std::unique_ptr<Server>> Create(ServerOptions options = {});
  // Stops, and removes the sockets' files.
  virtual ~Server() = default;

  // Serves `device` at a new socket; clients may connect as soon as it returns. InvalidArgument for
  // a path that cannot be a socket's, AlreadyExists where another server listens.
  virtual absl::Status Listen(const std::string& path, std::unique_ptr<Device> device) = 0;

  // Serves `device` to the client at the other end of a connected socket, which it takes; when
  // that client is gone, so is the device.
  virtual absl::Status Adopt(UniqueFd socket, std::unique_ptr<Device> device) = 0;

  // Blocks until Stop. Clients are served from Listen on, whether this is called or not.
  virtual void Run() = 0;

  // Disconnects every client and stops accepting; safe from any thread, and may be repeated.
  virtual void Stop() = 0;

  // Makes Run return, as Stop does, when `fd` becomes readable: for a signalfd. Borrowed.
  virtual void StopWhenReadable(FdView fd) = 0;
};

}  // namespace vfio_user

#endif  // SERVER_SERVER_H_
