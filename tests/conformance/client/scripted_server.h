// The server that a client under test talks to: a model of good behaviour, but where a check has
// it do something else.
#ifndef TESTS_CONFORMANCE_CLIENT_SCRIPTED_SERVER_H_
#define TESTS_CONFORMANCE_CLIENT_SCRIPTED_SERVER_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto_defs/base/mutex.h"
#include "proto_defs/transport/unique_fd.h"
#include "proto_defs/wire/command.h"
#include "tests/conformance/client/model_device.h"
#include "tests/testing/scripted_peer.h"
#include "tests/testing/temp_dir.h"

namespace vfio_user {

enum class Sockets { kMain, kMainAndTwin };

// A request of the client, while it is being answered.
class Exchange {
 public:
  ScriptedPeer& main() { return main_; }
  // Where the server's own commands go: the twin, if there is one.
  ScriptedPeer& commands() { return twin_ ? *twin_ : main_; }
  ScriptedPeer::Message& request() { return request_; }
  const MessageHeader& header() const { return request_.header; }
  ModelDevice& device() { return device_; }

  // What a good server answers, after the request was carried out.
  absl::StatusOr<ModelDevice::Response> GoodResponse();
  // Answers so.
  absl::Status AnswerWell();
  absl::Status Answer(const ModelDevice::Response& response);

 private:
  friend class ScriptedServer;
  Exchange(ScriptedPeer main, std::optional<ScriptedPeer> twin, UniqueFd twin_of_client)
      : main_(std::move(main)),
        twin_(std::move(twin)),
        twin_of_client_(std::move(twin_of_client)) {}

  ScriptedPeer main_;
  std::optional<ScriptedPeer> twin_;
  UniqueFd twin_of_client_;  // Until it was sent.
  ScriptedPeer::Message request_;
  ModelDevice device_;
};

// Runs on the server's thread. It may send and receive what it likes, or nothing; while it runs
// nobody else reads the sockets.
using AnswerScript = std::function<absl::Status(Exchange&)>;

// Listens at a path, and serves one client after the other, each with a fresh device. Thread-safe.
class ScriptedServer {
 public:
  static absl::StatusOr<std::unique_ptr<ScriptedServer>> Start(Sockets sockets);
  ~ScriptedServer();
  ScriptedServer(const ScriptedServer&) = delete;
  ScriptedServer& operator=(const ScriptedServer&) = delete;

  const std::string& path() const { return path_; }

  // Gives the next request of this kind, of those that have no script yet, to `script`. What comes
  // out is what the script returned.
  std::future<absl::Status> Next(Command command, AnswerScript script) ABSL_LOCKS_EXCLUDED(mu_);

  // OK once the client that is, or was, connected has closed its end.
  absl::Status WaitForClose() ABSL_LOCKS_EXCLUDED(mu_);

  // Closes everything, and says what a client did that none may, if anything. Scripts that were not
  // reached return FailedPrecondition.
  absl::Status Stop() ABSL_LOCKS_EXCLUDED(mu_);

 private:
  explicit ScriptedServer(Sockets sockets);

  void Serve();
  void ServeClient(Exchange& exchange);
  absl::StatusOr<Exchange> Accept();
  // The answer to the request at hand.
  void AnswerOne(Exchange& exchange) ABSL_LOCKS_EXCLUDED(mu_);
  void NoteFault(const absl::Status& fault) ABSL_LOCKS_EXCLUDED(mu_);

  struct Scripted {
    AnswerScript script;
    std::promise<absl::Status> outcome;
  };

  const Sockets sockets_;
  TempDir directory_;
  std::string path_;
  UniqueFd listening_;

  Mutex mu_;
  CondVar closed_;
  int clients_gone_ ABSL_GUARDED_BY(mu_) = 0;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  ScriptedPeer* connected_ ABSL_GUARDED_BY(mu_) = nullptr;
  absl::Status fault_ ABSL_GUARDED_BY(mu_);
  std::map<Command, std::deque<Scripted>> scripts_ ABSL_GUARDED_BY(mu_);
  std::thread thread_;
};

}  // namespace vfio_user

#endif  // TESTS_CONFORMANCE_CLIENT_SCRIPTED_SERVER_H_
