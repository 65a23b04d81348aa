// What a command that waits says when its server goes away.
#include <poll.h>

#include <cstdint>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/transport/deadline.h"
#include "proto_defs/transport/listener.h"
#include "proto_defs/transport/message_stream.h"
#include "proto_defs/transport/socket.h"
#include "proto_defs/wire/command.h"
#include "proto_defs/wire/device_info.h"
#include "proto_defs/wire/irq.h"
#include "proto_defs/wire/version.h"
#include "proto_defs/wire/wire_writer.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"
#include "tests/testing/tool_run.h"

namespace vfio_user {
namespace {

constexpr absl::Duration kLong = absl::Seconds(20);

std::vector<uint8_t> BodyFor(Command command) {
  if (command == Command::kVersion) return Serialize(VersionMessage());
  if (command == Command::kDeviceGetInfo) return Serialize(DeviceInfo{.num_irqs = kPciIrqCount});
  if (command == Command::kDeviceGetIrqInfo) {
    return Serialize(IrqInfo{.flags = IrqInfoFlag::kEventfd, .index = IrqIndex::kMsix, .count = 1});
  }
  return {};
}

// Answers one client, up to and with its SET_IRQS, and closes.
void ServeUntilItBinds(Listener& listener) {
  pollfd entry = {.fd = listener.fd().get(), .events = POLLIN, .revents = 0};
  ASSERT_EQ(::poll(&entry, 1, static_cast<int>(absl::ToInt64Milliseconds(kLong))), 1);
  absl::StatusOr<std::optional<Socket>> client = listener.Accept();
  ASSERT_TRUE(client.ok() && client->has_value());
  MessageStream stream(**std::move(client), {.stall_timeout = kLong});
  Command command{};
  while (command != Command::kDeviceSetIrqs) {
    absl::StatusOr<MessageStream::Incoming> message = stream.ReceiveHeader(Deadline::In(kLong));
    ASSERT_THAT(message, IsOk());
    ASSERT_THAT(stream.DiscardBody(message->body_bytes), IsOk());
    command = message->header.command;
    const std::vector<uint8_t> body = BodyFor(command);
    ASSERT_THAT(
        stream.Send({.header = message->header.Reply(), .body = body, .payload = {}, .fds = {}}),
        IsOk());
  }
}

TEST(LostServerTest, IrqSaysWhichServerItWasThatItNoLongerWaitsFor) {
  TempDir directory;
  const std::string path = directory.File("device");
  absl::StatusOr<Listener> listener = Listener::Bind(path);
  ASSERT_THAT(listener, IsOk());
  std::thread server([&] { ServeUntilItBinds(*listener); });

  const ToolRun run = RunTool({"irq", path, "msix", "0", "--wait", "60"});
  server.join();

  EXPECT_EQ(run.exit_code, 1);
  EXPECT_THAT(run.err, testing::StartsWith("vfio-user: " + path + ": lost the server: "));
}

}  // namespace
}  // namespace vfio_user
