// What the handlers of one client's commands work on.
#ifndef SERVER_COMMANDS_CLIENT_CONTEXT_H_
#define SERVER_COMMANDS_CLIENT_CONTEXT_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "proto_defs/transport/channel.h"
#include "proto_defs/wire/header.h"
#include "server/device_slot.h"
#include "server/event_log.h"

namespace vfio_user {

// The protocol thread's. Only `channel` may be used by others: by those who answer later.
struct ClientContext {
  DeviceSlot& slot;
  std::shared_ptr<Channel> channel;
  const EventLog& log;
  uint32_t max_data_xfer_bytes = 0;  // As negotiated: of data in one message, either way.
  uint64_t max_msg_fds = 0;          // That the client takes with one message.
  bool write_multiple = false;       // As negotiated.

  // Where answers are put together; kept, so that they are allocated once.
  std::vector<uint8_t> body = {};
  std::vector<std::byte> data = {};
};

// Does what a command asks and answers it, now or later. An error is the answer if it has not been
// given: its errno is what the client gets.
using CommandHandler = absl::Status (*)(ClientContext& client, IncomingCommand& command);

// Answers a command. That sending fails is no error of its handler: it has broken the channel, and
// whoever serves that finds out.
inline void Answer(Channel& channel, const MessageHeader& command,
                   const MessageContent& content = {}) {
  (void)channel.Reply(command, content);
}

}  // namespace vfio_user

#endif  // SERVER_COMMANDS_CLIENT_CONTEXT_H_
