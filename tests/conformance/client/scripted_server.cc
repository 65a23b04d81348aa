#include "tests/conformance/client/scripted_server.h"

#include <sys/socket.h>

#include <cerrno>
#include <chrono>
#include <string_view>
#include <utility>

#include "absl/time/time.h"
#include "fmt/format.h"
#include "proto_defs/base/errno_status.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/transport/deadline.h"
#include "proto_defs/wire/header.h"
#include "tests/testing/bound_socket.h"

namespace vfio_user {
namespace {

// For what the client does without being asked to: longer than any client's own patience here.
constexpr absl::Duration kPatience = absl::Seconds(30);

constexpr std::string_view kWithTwin =
    R"({"capabilities":{"max_msg_fds":8,"twin_socket":{"supported":true,"fd_index":0}}})";
constexpr std::string_view kWithoutTwin = R"({"capabilities":{"max_msg_fds":8}})";

// Version 0.2, and the text with its NUL.
std::vector<uint8_t> VersionBody(std::string_view json) {
  std::vector<uint8_t> body(4);
  body[2] = 2;
  body.insert(body.end(), json.begin(), json.end());
  body.push_back(0);
  return body;
}

}  // namespace

absl::StatusOr<ModelDevice::Response> Exchange::GoodResponse() {
  if (request_.header.command != Command::kVersion) return device_.Answer(request_);
  ModelDevice::Response response = {.body = VersionBody(twin_ ? kWithTwin : kWithoutTwin)};
  if (twin_) response.fds.push_back(std::move(twin_of_client_));
  return response;
}

absl::Status Exchange::Answer(const ModelDevice::Response& response) {
  if (request_.header.no_reply) return absl::OkStatus();
  if (response.wire_errno != 0) return main_.ReplyError(request_.header, response.wire_errno);
  const std::vector<FdView> fds(response.fds.begin(), response.fds.end());
  return main_.Reply(request_.header, response.body, fds);
}

absl::Status Exchange::AnswerWell() {
  VFIO_USER_ASSIGN_OR_RETURN(const ModelDevice::Response response, GoodResponse());
  return Answer(response);
}

absl::StatusOr<std::unique_ptr<ScriptedServer>> ScriptedServer::Start(Sockets sockets) {
  std::unique_ptr<ScriptedServer> server(new ScriptedServer(sockets));
  if (!server->listening_.valid()) return ErrnoStatus(errno, "listening");
  server->thread_ = std::thread([raw = server.get()] { raw->Serve(); });
  return server;
}

ScriptedServer::ScriptedServer(Sockets sockets)
    : sockets_(sockets), path_(directory_.File("socket")), listening_(ListeningSocket(path_)) {}

ScriptedServer::~ScriptedServer() { (void)Stop(); }

std::future<absl::Status> ScriptedServer::Next(Command command, AnswerScript script) {
  MutexLock lock(mu_);
  Scripted& scripted = scripts_[command].emplace_back(Scripted{std::move(script), {}});
  return scripted.outcome.get_future();
}

absl::Status ScriptedServer::WaitForClose() {
  const Deadline deadline = Deadline::In(kPatience);
  MutexLock lock(mu_);
  while (clients_gone_ == 0) {
    if (!closed_.WaitUntil(mu_, deadline.time_point()) && deadline.passed()) {
      return absl::DeadlineExceededError("the client did not close the connection");
    }
  }
  return absl::OkStatus();
}

absl::Status ScriptedServer::Stop() {
  {
    MutexLock lock(mu_);
    stopping_ = true;
    if (connected_ != nullptr) connected_->Shutdown();
  }
  // Ends accept() too.
  if (listening_.valid()) ::shutdown(listening_.get(), SHUT_RDWR);
  if (thread_.joinable()) thread_.join();
  MutexLock lock(mu_);
  for (auto& [command, queue] : scripts_) {
    for (Scripted& scripted : queue) {
      scripted.outcome.set_value(absl::FailedPreconditionError(
          fmt::format("the client sent no {}", CommandName(command))));
    }
  }
  scripts_.clear();
  return fault_;
}

void ScriptedServer::Serve() {
  while (true) {
    absl::StatusOr<Exchange> exchange = Accept();
    if (!exchange.ok()) return;
    {
      MutexLock lock(mu_);
      if (stopping_) return;
      connected_ = &exchange->main_;
    }
    ServeClient(*exchange);
    MutexLock lock(mu_);
    connected_ = nullptr;
    ++clients_gone_;
    closed_.NotifyAll();
  }
}

absl::StatusOr<Exchange> ScriptedServer::Accept() {
  UniqueFd accepted(::accept4(listening_.get(), nullptr, nullptr, SOCK_CLOEXEC));
  if (!accepted.valid()) return ErrnoStatus(errno, "accept4");
  if (sockets_ == Sockets::kMain) {
    return Exchange(ScriptedPeer(std::move(accepted), kPatience), std::nullopt, UniqueFd());
  }
  VFIO_USER_ASSIGN_OR_RETURN(ScriptedPeer::Connected twin, ScriptedPeer::Pair());
  return Exchange(ScriptedPeer(std::move(accepted), kPatience), std::move(twin.peer),
                  std::move(twin.socket));
}

void ScriptedServer::ServeClient(Exchange& exchange) {
  while (true) {
    absl::StatusOr<ScriptedPeer::Message> request = exchange.main_.Receive();
    if (absl::IsDeadlineExceeded(request.status())) continue;
    if (absl::IsDataLoss(request.status())) NoteFault(request.status());
    if (!request.ok()) return;
    // A client may say so before it closes because of a message that it could not make sense of.
    if (request->header.is_reply() && request->header.error_flag) continue;
    if (!request->header.is_command()) {
      NoteFault(absl::InternalError("the client sent a reply that nobody waits for"));
      return;
    }
    exchange.request_ = *std::move(request);
    AnswerOne(exchange);
  }
}

void ScriptedServer::AnswerOne(Exchange& exchange) {
  std::optional<Scripted> scripted;
  {
    MutexLock lock(mu_);
    std::deque<Scripted>& queue = scripts_[exchange.header().command];
    if (!queue.empty()) {
      scripted = std::move(queue.front());
      queue.pop_front();
    }
  }
  if (scripted) {
    scripted->outcome.set_value(scripted->script(exchange));
    return;
  }
  absl::StatusOr<ModelDevice::Response> response = exchange.GoodResponse();
  if (!response.ok()) {
    NoteFault(response.status());
    response = ModelDevice::Response{.wire_errno = EINVAL};
  }
  // What cannot be sent is to a client that has gone, which is noticed next.
  (void)exchange.Answer(*response);
}

void ScriptedServer::NoteFault(const absl::Status& fault) {
  MutexLock lock(mu_);
  fault_.Update(fault);
}

}  // namespace vfio_user
