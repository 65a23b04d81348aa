// One client, from the end of VERSION until it is gone.
#ifndef SERVER_CONNECTION_H_
#define SERVER_CONNECTION_H_

#include <memory>

#include "absl/status/status.h"
#include "proto_defs/transport/channel.h"
#include "proto_defs/transport/message_stream.h"
#include "server/commands/client_context.h"
#include "server/commands/negotiation.h"
#include "server/device_slot.h"
#include "server/event_log.h"

namespace vfio_user {

class Connection {
 public:
  // `stream` is where `negotiated` comes from, with the limits that are to hold from now on. `slot`
  // and `log` are borrowed.
  Connection(MessageStream stream, AcceptedClient negotiated, DeviceSlot& slot,
             const EventLog& log);
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // Answers the client's commands until it is gone or the channel is closed, and returns why. The
  // device has then let go of everything that was the client's. Once.
  absl::Status Serve();

  // To end Serve from another thread: see Channel::Close.
  const std::shared_ptr<Channel>& channel() const { return client_.channel; }

 private:
  // Serve with an eye on the twin, where nothing may lie that nobody reads.
  absl::Status ServeBoth();

  ClientContext client_;
  // For the device's DMA messages; nullptr where they take the client's one channel. Those who wait
  // for an answer read it; the protocol thread does now and then, since a client may send anything.
  std::shared_ptr<Channel> twin_;
};

}  // namespace vfio_user

#endif  // SERVER_CONNECTION_H_
