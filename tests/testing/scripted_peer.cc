#include "tests/testing/scripted_peer.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fmt/format.h"
#include "proto_defs/base/errno_status.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/transport/deadline.h"
#include "proto_defs/wire/command.h"
#include "proto_defs/wire/limits.h"

namespace vfio_user {
namespace {

// The longest message that a test may hear: a bound for what a broken sender can make it allocate.
constexpr size_t kMostBodyBytes = 128 << 20;

absl::Status WaitFor(FdView socket, short events, Deadline deadline) {
  pollfd entry = {.fd = socket.get(), .events = events, .revents = 0};
  const int ready = ::poll(&entry, 1, deadline.PollMilliseconds());
  if (ready > 0 || (ready < 0 && errno == EINTR)) return absl::OkStatus();
  if (ready < 0) return ErrnoStatus(errno, "poll");
  return absl::DeadlineExceededError(events == POLLIN ? "the code under test sent nothing"
                                                      : "the code under test read nothing");
}

// One sendmsg().
ssize_t SendSome(FdView socket, std::span<const uint8_t> bytes, std::span<const FdView> fds) {
  iovec part = {.iov_base = const_cast<uint8_t*>(bytes.data()), .iov_len = bytes.size()};
  msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  std::vector<char> control(CMSG_SPACE(sizeof(int) * fds.size()));
  if (!fds.empty()) {
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    cmsghdr* const rights = CMSG_FIRSTHDR(&message);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof(int) * fds.size());
    std::vector<int> numbers;
    for (const FdView& fd : fds) numbers.push_back(fd.get());
    std::memcpy(CMSG_DATA(rights), numbers.data(), sizeof(int) * numbers.size());
  }
  return ::sendmsg(socket.get(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

// One recvmsg(), whose descriptors are added to `fds`.
ssize_t ReceiveSome(FdView socket, std::span<uint8_t> into, std::vector<UniqueFd>& fds) {
  iovec part = {.iov_base = into.data(), .iov_len = into.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * kMaxFdsPerMessage)> control;
  msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  const ssize_t got = ::recvmsg(socket.get(), &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
  if (got < 0) return got;
  const cmsghdr* const rights = CMSG_FIRSTHDR(&message);
  if (rights == nullptr || rights->cmsg_type != SCM_RIGHTS) return got;
  std::vector<int> numbers((rights->cmsg_len - CMSG_LEN(0)) / sizeof(int));
  std::memcpy(numbers.data(), CMSG_DATA(rights), sizeof(int) * numbers.size());
  for (const int number : numbers) fds.emplace_back(number);
  return got;
}

absl::Status ReceiveAll(FdView socket, std::span<uint8_t> into, Deadline deadline) {
  while (!into.empty()) {
    std::vector<UniqueFd> fds;
    const ssize_t got = ReceiveSome(socket, into, fds);
    if (got == 0) return absl::DataLossError("the connection ended within a message");
    if (!fds.empty()) return absl::DataLossError("descriptors in the middle of a message");
    if (got > 0) {
      into = into.subspan(static_cast<size_t>(got));
    } else if (errno != EAGAIN) {
      return ErrnoStatus(errno, "recvmsg");
    } else {
      VFIO_USER_RETURN_IF_ERROR(WaitFor(socket, POLLIN, deadline));
    }
  }
  return absl::OkStatus();
}

std::vector<uint8_t> VersionBody(std::string_view json) {
  // Sized at once: for a vector that grows g++ at -O2 warns of a write past its end.
  std::vector<uint8_t> body(4 + json.size() + (json.empty() ? 0 : 1));
  body[2] = 2;
  std::copy(json.begin(), json.end(), body.begin() + 4);
  return body;
}

}  // namespace

absl::StatusOr<ScriptedPeer::Connected> ScriptedPeer::Pair() {
  int fds[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0) {
    return ErrnoStatus(errno, "socketpair");
  }
  return Connected{ScriptedPeer(UniqueFd(fds[0])), UniqueFd(fds[1])};
}

absl::StatusOr<ScriptedPeer> ScriptedPeer::Connect(const std::string& path,
                                                   absl::Duration patience) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) return absl::InvalidArgumentError("path too long");
  std::memcpy(address.sun_path, path.c_str(), path.size());
  UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  // connect() waits only when the queue of clients is full, and then this long.
  const timeval timeout = Deadline::In(patience).SocketTimeout();
  if (::setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout)) != 0) {
    return ErrnoStatus(errno, "SO_SNDTIMEO");
  }
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    return ErrnoStatus(errno, path);
  }
  return ScriptedPeer(std::move(socket), patience);
}

ScriptedPeer::ScriptedPeer(UniqueFd socket, absl::Duration patience)
    : socket_(std::move(socket)), patience_(patience) {}

absl::Status ScriptedPeer::SendBytes(std::span<const uint8_t> bytes, std::span<const FdView> fds) {
  const Deadline deadline = Deadline::In(patience_);
  while (!bytes.empty()) {
    const ssize_t sent = SendSome(socket_, bytes, fds);
    if (sent >= 0) {
      bytes = bytes.subspan(static_cast<size_t>(sent));
      fds = {};
    } else if (errno != EAGAIN) {
      return ErrnoStatus(errno, "sendmsg");
    } else {
      VFIO_USER_RETURN_IF_ERROR(WaitFor(socket_, POLLOUT, deadline));
    }
  }
  return absl::OkStatus();
}

absl::Status ScriptedPeer::Send(MessageHeader header, std::span<const uint8_t> body,
                                std::span<const FdView> fds) {
  header.msg_size = static_cast<uint32_t>(kHeaderBytes + body.size());
  const std::array<uint8_t, kHeaderBytes> head = header.Serialize();
  std::vector<uint8_t> bytes(head.begin(), head.end());
  bytes.insert(bytes.end(), body.begin(), body.end());
  return SendBytes(bytes, fds);
}

absl::Status ScriptedPeer::Reply(const MessageHeader& command, std::span<const uint8_t> body,
                                 std::span<const FdView> fds) {
  return Send(command.Reply(), body, fds);
}

absl::Status ScriptedPeer::ReplyError(const MessageHeader& command, uint32_t wire_errno) {
  MessageHeader reply = command.Reply(wire_errno);
  reply.error_flag = true;
  return Send(reply);
}

absl::StatusOr<ScriptedPeer::Chunk> ScriptedPeer::ReceiveChunk(size_t bytes) {
  const Deadline deadline = Deadline::In(patience_);
  Chunk chunk;
  chunk.bytes.resize(bytes);
  while (true) {
    const ssize_t got = ReceiveSome(socket_, chunk.bytes, chunk.fds);
    if (got >= 0) {
      chunk.bytes.resize(static_cast<size_t>(got));
      return chunk;
    }
    if (errno != EAGAIN) return ErrnoStatus(errno, "recvmsg");
    VFIO_USER_RETURN_IF_ERROR(WaitFor(socket_, POLLIN, deadline));
  }
}

absl::StatusOr<ScriptedPeer::Message> ScriptedPeer::Receive() {
  const Deadline deadline = Deadline::In(patience_);
  VFIO_USER_ASSIGN_OR_RETURN(Chunk first, ReceiveChunk(kHeaderBytes));
  if (first.bytes.empty()) return absl::UnavailableError("the code under test closed");
  std::array<uint8_t, kHeaderBytes> head = {};
  std::copy(first.bytes.begin(), first.bytes.end(), head.begin());
  VFIO_USER_RETURN_IF_ERROR(
      ReceiveAll(socket_, std::span(head).subspan(first.bytes.size()), deadline));
  Message message = {MessageHeader::Parse(head), {}, std::move(first.fds)};
  if (message.header.msg_size < kHeaderBytes || message.header.msg_size > kMostBodyBytes) {
    return absl::DataLossError(fmt::format("msg_size is {}", message.header.msg_size));
  }
  message.body.resize(message.header.msg_size - kHeaderBytes);
  VFIO_USER_RETURN_IF_ERROR(ReceiveAll(socket_, message.body, deadline));
  return message;
}

absl::Status ScriptedPeer::ReceiveEof() {
  const absl::StatusOr<Chunk> chunk = ReceiveChunk(kHeaderBytes);
  // What was not read when the other end closed makes the kernel say this instead.
  if (ErrnoOf(chunk.status()) == ECONNRESET) return absl::OkStatus();
  VFIO_USER_RETURN_IF_ERROR(chunk.status());
  if (chunk->bytes.empty()) return absl::OkStatus();
  return absl::DataLossError(fmt::format("{} bytes came instead of the end", chunk->bytes.size()));
}

absl::StatusOr<ScriptedPeer::Message> ScriptedPeer::AnswerVersion(std::string_view json,
                                                                  std::span<const FdView> fds) {
  VFIO_USER_ASSIGN_OR_RETURN(Message request, Receive());
  if (request.header.command != Command::kVersion || !request.header.is_command()) {
    return absl::DataLossError(
        fmt::format("{} came instead of VERSION", CommandName(request.header.command)));
  }
  VFIO_USER_RETURN_IF_ERROR(Reply(request.header, VersionBody(json), fds));
  return request;
}

absl::StatusOr<ScriptedPeer::Message> ScriptedPeer::NegotiateVersion(std::string_view json) {
  VFIO_USER_RETURN_IF_ERROR(Send({.command = Command::kVersion}, VersionBody(json)));
  return Receive();
}

void ScriptedPeer::Shutdown() { (void)::shutdown(socket_.get(), SHUT_RDWR); }

}  // namespace vfio_user
