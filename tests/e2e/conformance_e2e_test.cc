// `vfio-user conformance`: what it prints, and how it ends.
#include <poll.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "fmt/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "proto_defs/transport/deadline.h"
#include "proto_defs/transport/listener.h"
#include "proto_defs/transport/message_stream.h"
#include "proto_defs/transport/socket.h"
#include "proto_defs/transport/unique_fd.h"
#include "proto_defs/wire/command.h"
#include "proto_defs/wire/device_info.h"
#include "proto_defs/wire/header.h"
#include "proto_defs/wire/version.h"
#include "proto_defs/wire/wire_writer.h"
#include "tests/testing/memfd.h"
#include "tests/testing/server_process.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"
#include "tests/testing/tool_run.h"
#include "tools/vfio_user/child_process.h"
#include "tools/vfio_user/child_server.h"

namespace vfio_user {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;
using Json = nlohmann::json;

// A server that takes everything for granted: whatever it is asked, it says yes.
class YesServer {
 public:
  // A DEVICE_GET_INFO with a body of `deadly_bytes` it refuses as it should, and does not outlive
  // the client that it came from.
  explicit YesServer(const std::string& path, std::optional<size_t> deadly_bytes = std::nullopt)
      : deadly_bytes_(deadly_bytes) {
    absl::StatusOr<Listener> listener = Listener::Bind(path);
    if (!listener.ok()) return;
    thread_ = std::thread([this, listener = *std::move(listener)]() mutable { Run(listener); });
  }
  ~YesServer() {
    stop_ = true;
    if (thread_.joinable()) thread_.join();
  }

 private:
  void Run(Listener& listener) {
    while (!stop_ && !dead_) {
      absl::StatusOr<std::optional<Socket>> client = listener.Accept();
      if (client.ok() && client->has_value()) Serve(**std::move(client));
      pollfd entry = {.fd = listener.fd().get(), .events = POLLIN, .revents = 0};
      (void)::poll(&entry, 1, 20);
    }
  }

  void Serve(Socket socket) {
    MessageStream stream(std::move(socket), {.stall_timeout = absl::Seconds(2)});
    while (!stop_) {
      absl::StatusOr<MessageStream::Incoming> message =
          stream.ReceiveHeader(Deadline::In(absl::Seconds(2)));
      if (!message.ok() || !stream.DiscardBody(message->body_bytes).ok()) return;
      if (message->header.no_reply) continue;
      const bool deadly = message->header.command == Command::kDeviceGetInfo &&
                          message->body_bytes == deadly_bytes_;
      dead_ = dead_ || deadly;
      const std::vector<uint8_t> body =
          deadly ? std::vector<uint8_t>() : BodyFor(message->header.command);
      const MessageHeader header = message->header.Reply(deadly ? EINVAL : 0);
      if (!stream.Send({.header = header, .body = body, .payload = {}, .fds = {}}).ok()) {
        return;
      }
    }
  }

  static std::vector<uint8_t> BodyFor(Command command) {
    if (command == Command::kVersion) return Serialize(VersionMessage());
    if (command == Command::kDeviceGetInfo) return Serialize(DeviceInfo());
    return {};
  }

  const std::optional<size_t> deadly_bytes_;
  bool dead_ = false;
  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

class ConformanceE2eTest : public ::testing::Test {
 protected:
  TempDir directory_;
  const std::string path_ = directory_.File("device");
};

TEST_F(ConformanceE2eTest, PrintsALineForEachCheckAndASummary) {
  auto server = StartServer("null");
  ASSERT_THAT(server, IsOk());

  const ToolRun run = RunTool({"conformance", server->socket_path(), "--only", "device-info/"});

  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_THAT(run.out, StartsWith("pass  required     device-info/is-answered\n"));
  EXPECT_THAT(run.out, HasSubstr("8 checks: 8 passed, 0 failed (0 of them required), 0 skipped\n"));
  EXPECT_EQ(run.err, "");
}

TEST_F(ConformanceE2eTest, SaysWhyACheckIsSkipped) {
  auto server = StartServer("dma-copy");
  ASSERT_THAT(server, IsOk());

  const ToolRun run =
      RunTool({"conformance", server->socket_path(), "--only", "set-irqs/types-have"});

  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_THAT(run.out, HasSubstr("skip  recommended  set-irqs/types-have-vectors-of-their-own: "
                                 "the device has "));
}

TEST_F(ConformanceE2eTest, EndsWith1WhenARequiredCheckFails) {
  const YesServer server(path_);

  const ToolRun run = RunTool({"conformance", path_, "--only", "device-info/"});

  EXPECT_EQ(run.exit_code, 1);
  EXPECT_THAT(run.out, HasSubstr("fail  required     device-info/argsz-below-16-is-refused: "
                                 "DEVICE_GET_INFO: accepted, want it refused\n"));
  EXPECT_THAT(run.err, StartsWith("vfio-user: "));
  EXPECT_THAT(run.err, HasSubstr("required checks failed of 8\n"));
}

TEST_F(ConformanceE2eTest, EndsWith1WhenTheServerDiesOfTheLastCheckThatItPasses) {
  const YesServer server(path_, 0);

  const ToolRun run =
      RunTool({"conformance", path_, "--only", "device-info/empty-body-is-refused"});

  EXPECT_EQ(run.exit_code, 1);
  EXPECT_THAT(run.out, StartsWith("pass  required     device-info/empty-body-is-refused\n"
                                  "fail  required     server/outlives-the-checks: since "
                                  "device-info/empty-body-is-refused the server takes no client"));
  EXPECT_THAT(run.out, HasSubstr("2 checks: 1 passed, 1 failed (1 of them required), 0 skipped\n"));
  EXPECT_THAT(run.err, HasSubstr("the server takes no client"));
}

TEST_F(ConformanceE2eTest, PrintsJson) {
  const YesServer server(path_);

  const ToolRun run = RunTool({"conformance", path_, "--only", "device-info/", "--json"});

  EXPECT_EQ(run.exit_code, 1);
  const Json report = Json::parse(run.out, nullptr, /*allow_exceptions=*/false);
  ASSERT_FALSE(report.is_discarded()) << run.out;
  EXPECT_EQ(report["checks"].size(), 8u);
  EXPECT_EQ(report["checks"][0]["name"], "device-info/is-answered");
  EXPECT_EQ(report["checks"][0]["outcome"], "pass");
  EXPECT_EQ(report["checks"][0]["requirement"], "required");
  EXPECT_EQ(report["checks"][0]["section"], "VFIO_USER_DEVICE_GET_INFO");
  EXPECT_GE(report["required_failed"], 3);
  EXPECT_EQ(report["not_run"], 0);
  // The lines are there as soon as they are known, on the other stream.
  EXPECT_THAT(run.err, HasSubstr("pass  required     device-info/is-answered\n"));
}

TEST_F(ConformanceE2eTest, SaysHowFarItWasWhenASignalStopsIt) {
  auto server = StartServer("null");
  ASSERT_THAT(server, IsOk());
  absl::StatusOr<Pipe> lines = MakePipe();
  ASSERT_THAT(lines, IsOk());
  const UniqueFd out = Memfd("");
  absl::StatusOr<ChildProcess> conformance =
      ChildProcess::Spawn(ToolPath(), {"conformance", server->socket_path(), "--json"},
                          {-1, out.get(), lines->write_end.get()});
  ASSERT_THAT(conformance, IsOk());
  lines->write_end.Reset();
  std::string said;
  char c = '\0';
  while (c != '\n' && ::read(lines->read_end.get(), &c, 1) == 1) said += c;
  ASSERT_THAT(said, StartsWith("pass"));

  conformance->Signal(SIGINT);

  while (::read(lines->read_end.get(), &c, 1) == 1) said += c;
  const absl::StatusOr<ProcessEnd> end = conformance->Wait(absl::Seconds(60));
  ASSERT_THAT(end, IsOk());
  EXPECT_EQ(end->exit_code, 128 + SIGINT);
  EXPECT_EQ(end->signal, 0);
  const Json report = Json::parse(ContentOf(out), nullptr, /*allow_exceptions=*/false);
  ASSERT_FALSE(report.is_discarded());
  EXPECT_GE(report["checks"].size(), 1u);
  EXPECT_EQ(report["failed"], 0);
  EXPECT_THAT(said, HasSubstr(fmt::format("vfio-user: stopped by SIGINT; {} checks were not run\n",
                                          report["not_run"].get<int>())));
}

TEST_F(ConformanceE2eTest, ListsWithoutAServer) {
  const ToolRun run = RunTool({"conformance", "--list", "--only", "reset/"});

  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_THAT(run.out, StartsWith("required     reset/is-done  [VFIO_USER_DEVICE_RESET]\n"));
  EXPECT_THAT(run.out, Not(HasSubstr("negotiation/")));
}

TEST_F(ConformanceE2eTest, SaysThatNobodyIsThere) {
  const ToolRun run = RunTool({"conformance", path_});

  EXPECT_EQ(run.exit_code, 1);
  EXPECT_EQ(run.out, "");
  EXPECT_THAT(run.err, AllOf(HasSubstr(path_), HasSubstr("No such file")));
}

TEST_F(ConformanceE2eTest, RefusesAPrefixThatNoCheckHas) {
  const ToolRun run = RunTool({"conformance", path_, "--only", "nonsense"});

  EXPECT_EQ(run.exit_code, 2);
  EXPECT_THAT(run.err, HasSubstr("no check's name starts with \"nonsense\""));
}

}  // namespace
}  // namespace vfio_user
