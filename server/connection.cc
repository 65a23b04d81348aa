#include "server/connection.h"

#include <sys/ioctl.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <optional>
#include <string>
#include <utility>

#include "absl/time/time.h"
#include "fmt/format.h"
#include "proto_defs/base/errno_status.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/transport/deadline.h"
#include "proto_defs/transport/socket.h"
#include "proto_defs/wire/limits.h"
#include "server/commands/command_table.h"

namespace vfio_user {
namespace {

// How long what nobody asked for may lie on a twin socket: that may be a descriptor of the client's
// other socket, which then ends for nobody when the client does.
constexpr absl::Duration kTwinLook = absl::Milliseconds(500);

// Read there at a time, so that a client which sends without end does not keep its thread there.
constexpr size_t kMostUnasked = 256;

// Whether the client closed its end, and left nothing there: it can do without the device's DMA.
bool IsClosedAndEmpty(const Channel& twin) {
  if (ErrnoOf(twin.status()) != ECONNRESET) return false;
  int bytes = 0;
  return ::ioctl(twin.socket().fd().get(), FIONREAD, &bytes) == 0 && bytes == 0;
}

}  // namespace

Connection::Connection(MessageStream stream, AcceptedClient negotiated, DeviceSlot& slot,
                       const EventLog& log)
    : client_{.slot = slot,
              .channel = nullptr,
              .log = log,
              .max_data_xfer_bytes = negotiated.max_data_xfer_bytes,
              .max_msg_fds = negotiated.max_msg_fds,
              .write_multiple = negotiated.write_multiple} {
  stream.set_read_ahead(true);
  const absl::Duration busy_poll = stream.busy_poll();
  // Both handlers run while Serve does, and never after: the channels may live longer, in the hands
  // of those who owe an answer, but those do not read.
  client_.channel = std::make_shared<Channel>(std::move(stream), [this](IncomingCommand& command) {
    const absl::Status handled = RunCommand(client_, command);
    if (!handled.ok()) client_.log.Write(fmt::format("refused {}", std::string(handled.message())));
    return absl::OkStatus();
  });
  client_.channel->RefuseStrayReplies();
  if (!negotiated.twin.has_value()) return;
  MessageStream twin(*std::move(negotiated.twin),
                     {.max_message_bytes = negotiated.max_data_xfer_bytes + kMessageOverheadBytes,
                      .read_ahead = true,
                      .busy_poll = busy_poll});
  twin_ = std::make_shared<Channel>(std::move(twin), [this](IncomingCommand& command) {
    return twin_->ReplyError(command.header, EINVAL);  // Only the server asks there.
  });
}

absl::Status Connection::Serve() {
  // Of the main socket: the twin's two ends are both this process's.
  const auto client = client_.channel->socket().GetPeerCredentials().value_or(PeerCredentials{});
  if (twin_ != nullptr) {
    client_.slot.ClientCame(twin_, client_.max_data_xfer_bytes, client);
  } else {
    client_.slot.ClientCame(client_.channel,
                            std::min(client_.max_data_xfer_bytes, kSafeDmaMessageBytes), client);
  }
  const absl::Status end = twin_ != nullptr ? ServeBoth() : client_.channel->Serve();
  client_.slot.ClientGone();
  return end;
}

absl::Status Connection::ServeBoth() {
  while (true) {
    VFIO_USER_RETURN_IF_ERROR(client_.channel->Serve(Deadline::In(kTwinLook)));
    const absl::Status twin = twin_->Poll(kMostUnasked);
    if (IsClosedAndEmpty(*twin_)) return client_.channel->Serve();
    if (!twin.ok()) client_.channel->Close(twin);
  }
}

}  // namespace vfio_user
