#include "server/waiting_line.h"

#include <algorithm>
#include <cerrno>
#include <span>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto_defs/transport/message_stream.h"
#include "proto_defs/wire/header.h"

namespace vfio_user {
namespace {

bool IsClosed(const Socket& socket) {
  pollfd entry = {.fd = socket.fd().get(), .events = POLLRDHUP, .revents = 0};
  return ::poll(&entry, 1, 0) > 0;
}

}  // namespace

void WaitingLine::Add(Socket socket, Seat& seat) {
  if (clients_.size() >= kPlaces) {
    seat.log().Write("client closed: another one is served, and too many wait to be told so");
    return;
  }
  clients_.push_back(
      {.socket = std::move(socket), .seat = &seat, .deadline = Deadline::In(patience_)});
}

void WaitingLine::Tend() { std::erase_if(clients_, TendOne); }

bool WaitingLine::TendOne(Client& client) {
  // Once it was read from, it can only be refused.
  if (client.header_bytes == 0) {
    const Seat::Answer answer = client.seat->Offer(client.socket);
    if (answer == Seat::Answer::kSeated) return true;
    client.waiting = answer == Seat::Answer::kWait;
  }
  if (client.waiting && IsClosed(*client.socket)) return true;
  if (client.deadline.passed()) {
    client.seat->log().Write(
        "client closed: another one is served, and its time to say VERSION is over");
    return true;
  }
  return !client.waiting && Refuse(client);
}

bool WaitingLine::Refuse(Client& client) {
  const Deadline now = Deadline::In(absl::ZeroDuration());
  const auto received =
      client.socket->Receive(std::span(client.header).subspan(client.header_bytes), now);
  if (absl::IsDeadlineExceeded(received.status())) return false;
  if (!received.ok() || received->bytes == 0) return true;
  client.header_bytes += received->bytes;
  if (client.header_bytes < client.header.size()) return false;

  const MessageHeader command = MessageHeader::Parse(client.header);
  client.seat->log().Write("client turned away: another one is served");
  if (command.no_reply) return true;
  // There is room for 16 bytes: they are the first ones.
  MessageStream stream(*std::move(client.socket), {.stall_timeout = absl::ZeroDuration()});
  (void)stream.Send({.header = command.Reply(EBUSY), .body = {}, .payload = {}, .fds = {}});
  return true;
}

void WaitingLine::AppendPollEntries(std::vector<pollfd>& entries) const {
  for (const Client& client : clients_) {
    const short events = client.waiting ? POLLRDHUP : POLLIN;
    entries.push_back({.fd = client.socket->fd().get(), .events = events, .revents = 0});
  }
}

Deadline WaitingLine::NextDeadline() const {
  Deadline next = Deadline::Never();
  for (const Client& client : clients_) {
    if (client.deadline.time_point() < next.time_point()) next = client.deadline;
  }
  return next;
}

}  // namespace vfio_user
