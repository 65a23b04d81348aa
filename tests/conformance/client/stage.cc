#include "tests/conformance/client/stage.h"

#include <algorithm>
#include <chrono>
#include <string>
#include <utility>

#include "fmt/format.h"
#include "proto_defs/base/status_macros.h"
#include "tests/conformance/client/model_device.h"

namespace vfio_user {
namespace {

constexpr std::chrono::seconds kPatience(20);

// Requests that may be late before the client is taken for one whose requests always are.
constexpr int kAttempts = 50;

// Far from each other and from 0, so that a client which mixes them up shows it.
constexpr uint64_t kIovaStep = 0x1'0000'0000;

}  // namespace

absl::StatusOr<std::unique_ptr<Stage>> Stage::Open(const ClientAdapter& adapter,
                                                   const StageOptions& options) {
  std::unique_ptr<Stage> stage(new Stage(adapter, options));
  VFIO_USER_ASSIGN_OR_RETURN(stage->server_, ScriptedServer::Start(options.sockets));
  return stage;
}

absl::Status Stage::Connect() {
  VFIO_USER_ASSIGN_OR_RETURN(client_, adapter_.Connect(server_->path(), options_.patience));
  return absl::OkStatus();
}

absl::StatusOr<Stage::Lent> Stage::Prepare(LentAccess access) {
  VFIO_USER_ASSIGN_OR_RETURN(LentMemory memory, LentMemory::Create(access));
  memory_.push_back(std::make_unique<LentMemory>(std::move(memory)));
  return Lent{memory_.back().get(), Iova{memory_.size() * kIovaStep + 0x123}};
}

absl::StatusOr<Stage::Lent> Stage::Lend(LentAccess access) {
  VFIO_USER_ASSIGN_OR_RETURN(const Lent lent, Prepare(access));
  VFIO_USER_RETURN_IF_ERROR(client_->Map(*lent.memory, lent.iova));
  return lent;
}

absl::Status Stage::CheckWorks() {
  absl::StatusOr<uint32_t> value = absl::DeadlineExceededError("");
  for (int i = 0; i < kAttempts && absl::IsDeadlineExceeded(value.status()); ++i) {
    value = client_->ReadRegister(0);
  }
  VFIO_USER_RETURN_IF_ERROR(Want("a read after it", value.status(), {absl::StatusCode::kOk}));
  if (*value != ModelDevice::kFirstRegister) {
    return Wrong(fmt::format("a read after it gives {:#x}, want {:#x}", *value,
                             ModelDevice::kFirstRegister));
  }
  return Want("the connection", client_->connection(), {absl::StatusCode::kOk});
}

absl::Status Stage::CheckClosed(const std::vector<absl::StatusCode>& codes) {
  VFIO_USER_RETURN_IF_ERROR(Want("a read after it", client_->ReadRegister(0).status(), codes));
  VFIO_USER_RETURN_IF_ERROR(Want("the connection", client_->connection(), codes));
  return server_->WaitForClose();
}

absl::Status Outcome(std::future<absl::Status>& script) {
  if (script.wait_for(kPatience) == std::future_status::ready) return script.get();
  return absl::DeadlineExceededError("the client did not send the request");
}

absl::Status Want(std::string_view what, const absl::Status& got,
                  const std::vector<absl::StatusCode>& codes) {
  if (std::ranges::find(codes, got.code()) != codes.end()) return absl::OkStatus();
  std::string wanted;
  for (const absl::StatusCode code : codes) {
    wanted += fmt::format("{}{}", wanted.empty() ? "" : " or ", absl::StatusCodeToString(code));
  }
  return Wrong(fmt::format("{} is {}, want {}", what, got.ToString(), wanted));
}

absl::Status Wrong(std::string_view what) { return absl::InternalError(std::string(what)); }

}  // namespace vfio_user
