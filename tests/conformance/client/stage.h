// What a check has to work with: a scripted server, a client of it, and memory to lend.
#ifndef TESTS_CONFORMANCE_CLIENT_STAGE_H_
#define TESTS_CONFORMANCE_CLIENT_STAGE_H_

#include <cstdint>
#include <future>
#include <memory>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto_defs/wire/iova.h"
#include "tests/conformance/client/client_under_test.h"
#include "tests/conformance/client/lent_memory.h"
#include "tests/conformance/client/scripted_server.h"

namespace vfio_user {

struct StageOptions {
  Sockets sockets = Sockets::kMain;
  ClientPatience patience = {};
};

// One per check. The client is called on the check's thread, the server's scripts run on its own.
class Stage {
 public:
  static absl::StatusOr<std::unique_ptr<Stage>> Open(const ClientAdapter& adapter,
                                                     const StageOptions& options);

  ScriptedServer& server() { return *server_; }
  // Only after Connect() was OK.
  ClientUnderTest& client() { return *client_; }
  const ClientAdapter& adapter() const { return adapter_; }

  absl::Status Connect();
  void Disconnect() { client_.reset(); }

  // Memory that outlives the client, at a bus address of its own.
  struct Lent {
    LentMemory* memory = nullptr;
    Iova iova{};
  };
  absl::StatusOr<Lent> Prepare(LentAccess access = LentAccess::kReadWrite);
  // The same, mapped.
  absl::StatusOr<Lent> Lend(LentAccess access = LentAccess::kReadWrite);

  // OK if requests work, and their results are right. One that comes too late is tried again: the
  // machine may be slower than a check that wants it to be late expects.
  absl::Status CheckWorks();

  // OK if the client says that the connection is closed, with one of `codes`, in answer to its
  // next request too, and has closed it.
  absl::Status CheckClosed(const std::vector<absl::StatusCode>& codes);

 private:
  Stage(const ClientAdapter& adapter, const StageOptions& options)
      : adapter_(adapter), options_(options) {}

  const ClientAdapter& adapter_;
  const StageOptions options_;
  std::vector<std::unique_ptr<LentMemory>> memory_;
  std::unique_ptr<ScriptedServer> server_;
  std::unique_ptr<ClientUnderTest> client_;
};

// What a script returned, once it has; DeadlineExceeded when the client does not get it to run.
absl::Status Outcome(std::future<absl::Status>& script);

// OK if `got` has one of `codes`; `what` says whose answer it is.
absl::Status Want(std::string_view what, const absl::Status& got,
                  const std::vector<absl::StatusCode>& codes);

// What a check returns that found something wrong.
absl::Status Wrong(std::string_view what);

}  // namespace vfio_user

#endif  // TESTS_CONFORMANCE_CLIENT_STAGE_H_
