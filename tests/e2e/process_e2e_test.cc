// What happens to one process when the other forks, hangs or is killed.
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/client.h"
#include "client/client_options.h"
#include "client/dma_mapping.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/transport/unique_fd.h"
#include "proto_defs/wire/device_info.h"
#include "proto_defs/wire/iova.h"
#include "tests/testing/server_process.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"
#include "tests/testing/tool_run.h"
#include "tools/vfio_user/child_process.h"
#include "tools/vfio_user/child_server.h"
#include "tools/vfio_user/dma_buffer.h"
#include "tools/vfio_user/dma_copy_driver.h"

namespace vfio_user {
namespace {

using ::testing::Each;
using ::testing::Eq;
using ::testing::HasSubstr;

constexpr absl::Duration kLong = absl::Seconds(60);

bool WaitReadable(int fd) {
  pollfd poll_fd = {fd, POLLIN, 0};
  return ::poll(&poll_fd, 1, static_cast<int>(absl::ToInt64Milliseconds(kLong))) == 1;
}

// A client that does not serve the device's messages, so that a transfer by message stays where it
// is: the device has asked, and waits.
class StuckTransfer {
 public:
  static absl::StatusOr<std::unique_ptr<StuckTransfer>> Start(const std::string& socket_path) {
    ClientOptions options;
    options.dma_service = DmaService::kPoll;
    absl::StatusOr<Client> client = Client::Connect(socket_path, options);
    if (!client.ok()) return client.status();
    DmaCopyOptions ring;
    ring.path = DmaPath::kFileIo;
    absl::StatusOr<std::unique_ptr<DmaCopyDriver>> driver = DmaCopyDriver::Open(*client, ring);
    if (!driver.ok()) return driver.status();
    absl::StatusOr<DmaBuffer> buffer = DmaBuffer::Create(*client, 4096, DmaPath::kMessage);
    if (!buffer.ok()) return buffer.status();
    absl::Status submitted = (*driver)->Submit(DmaCopyOperation::Crc32(buffer->iova(), 4096));
    if (!submitted.ok()) return submitted;
    if (!WaitReadable(client->poll_fd())) return absl::DeadlineExceededError("no DMA_READ came");
    return std::unique_ptr<StuckTransfer>(
        new StuckTransfer(*std::move(client), *std::move(buffer), *std::move(driver)));
  }

  const Client& client() const { return client_; }
  DmaCopyDriver& driver() { return *driver_; }

 private:
  StuckTransfer(Client client, DmaBuffer buffer, std::unique_ptr<DmaCopyDriver> driver)
      : client_(std::move(client)), buffer_(std::move(buffer)), driver_(std::move(driver)) {}

  Client client_;
  DmaBuffer buffer_;
  std::unique_ptr<DmaCopyDriver> driver_;
};

// The server learns of a client's death when it next looks, so that the first try may be early.
absl::StatusOr<Client> ConnectWhenFree(const std::string& socket_path) {
  const auto deadline = std::chrono::steady_clock::now() + absl::ToChronoSeconds(kLong);
  while (true) {
    absl::StatusOr<Client> client = Client::Connect(socket_path);
    if (client.ok() || std::chrono::steady_clock::now() > deadline) return client;
  }
}

void ExpectThatTheDeviceWorks(const Client& client) {
  const absl::StatusOr<std::unique_ptr<DmaCopyDriver>> driver = DmaCopyDriver::Open(client);
  ASSERT_THAT(driver, IsOk());
  const absl::StatusOr<DmaBuffer> buffer = DmaBuffer::Create(client, 100, DmaPath::kAuto);
  ASSERT_THAT(buffer, IsOk());
  EXPECT_THAT((*driver)->Run(DmaCopyOperation::Fill(~uint64_t{0}, buffer->iova(), 100)), IsOk());
  EXPECT_THAT(buffer->bytes(), Each(Eq(std::byte{0xff})));
}

class ProcessTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_THAT(server_, IsOk()); }

  absl::StatusOr<ChildServer> server_ = StartServer();
};

// Each bit of the result is a call that a forked child was not refused.
int CallsThatWork(const Client& client, const Region& region) {
  const auto works = [](const absl::Status& status) {
    return status.code() != absl::StatusCode::kFailedPrecondition;
  };
  std::vector<std::byte> memory(64);
  int result = 0;
  if (works(client.GetDeviceInfo().status())) result |= 1;
  if (works(client.Reset())) result |= 2;
  if (works(client.Map(memory).status())) result |= 4;
  if (works(region.Read<uint32_t>(0).status())) result |= 8;
  if (works(region.Write<uint64_t>(0x10, 0))) result |= 16;
  if (works(client.BindInterrupt(IrqIndex::kMsix, 0).status())) result |= 32;
  return result;
}

TEST_F(ProcessTest, ForkedChildMayNotUseTheClientAndTheParentGoesOn) {
  const absl::StatusOr<Client> client = Client::Connect(server_->socket_path());
  ASSERT_THAT(client, IsOk());
  const absl::StatusOr<Region> region = client->OpenRegion(RegionIndex::kBar0);
  ASSERT_THAT(region, IsOk());
  const absl::StatusOr<DmaBuffer> buffer = DmaBuffer::Create(*client, 4096, DmaPath::kFileIo);
  ASSERT_THAT(buffer, IsOk());

  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  // Not exit(): what the parent registered is the parent's to run.
  if (child == 0) ::_exit(CallsThatWork(*client, *region));
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);

  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
  ExpectThatTheDeviceWorks(*client);
}

TEST_F(ProcessTest, ForkedChildThatEndsDoesNotTakeTheMappingsAlong) {
  absl::StatusOr<Client> client = Client::Connect(server_->socket_path());
  ASSERT_THAT(client, IsOk());
  std::optional<DmaBuffer> buffer;
  {
    absl::StatusOr<DmaBuffer> created = DmaBuffer::Create(*client, 4096, DmaPath::kFileIo);
    ASSERT_THAT(created, IsOk());
    buffer.emplace(*std::move(created));
  }
  const absl::StatusOr<std::unique_ptr<DmaCopyDriver>> driver = DmaCopyDriver::Open(*client);
  ASSERT_THAT(driver, IsOk());

  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    buffer.reset();
    ::_exit(0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);

  EXPECT_EQ(status, 0);
  EXPECT_THAT((*driver)->Run(DmaCopyOperation::Fill(~uint64_t{0}, buffer->iova(), 4096)), IsOk());
  EXPECT_THAT(buffer->bytes(), Each(Eq(std::byte{0xff})));
}

TEST_F(ProcessTest, ServerKilledInATransferByMessageIsNoticedPromptly) {
  const absl::StatusOr<std::unique_ptr<StuckTransfer>> transfer =
      StuckTransfer::Start(server_->socket_path());
  ASSERT_THAT(transfer, IsOk());

  server_->process().Signal(SIGKILL);
  const auto start = std::chrono::steady_clock::now();

  EXPECT_THAT((*transfer)->driver().WaitForOldest(), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(3));
  EXPECT_THAT((*transfer)->client().GetDeviceInfo(), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_FALSE((*transfer)->client().status().ok());
}

TEST_F(ProcessTest, ServerKilledInATransferByFileIoIsNoticedPromptly) {
  const absl::StatusOr<Client> client = Client::Connect(server_->socket_path());
  ASSERT_THAT(client, IsOk());
  constexpr size_t kBytes = 64 << 20;
  const absl::StatusOr<DmaBuffer> buffer = DmaBuffer::Create(*client, kBytes, DmaPath::kFileIo);
  ASSERT_THAT(buffer, IsOk());
  const absl::StatusOr<std::unique_ptr<DmaCopyDriver>> driver = DmaCopyDriver::Open(*client);
  ASSERT_THAT(driver, IsOk());
  constexpr int kOperations = 60;
  for (int i = 0; i < kOperations; ++i) {
    ASSERT_THAT((*driver)->Submit(DmaCopyOperation::Fill(1, buffer->iova(), kBytes)), IsOk());
  }
  ASSERT_THAT((*driver)->IsBusy(), IsOkAndHolds(true));

  server_->process().Signal(SIGKILL);
  const auto start = std::chrono::steady_clock::now();

  absl::Status status;
  while (status.ok() && (*driver)->in_flight() > 0) status = (*driver)->WaitForOldest().status();
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(3));
}

TEST_F(ProcessTest, ClientKilledInATransferLeavesTheServerForTheNext) {
  absl::StatusOr<Pipe> stuck = MakePipe();
  ASSERT_THAT(stuck, IsOk());
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const absl::StatusOr<std::unique_ptr<StuckTransfer>> transfer =
        StuckTransfer::Start(server_->socket_path());
    if (!transfer.ok() || ::write(stuck->write_end.get(), "x", 1) != 1) ::_exit(1);
    while (true) ::pause();
  }
  stuck->write_end.Reset();
  char c = '\0';
  ASSERT_EQ(::read(stuck->read_end.get(), &c, 1), 1);

  ASSERT_EQ(::kill(child, SIGKILL), 0);
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);

  const absl::StatusOr<Client> next = ConnectWhenFree(server_->socket_path());
  ASSERT_THAT(next, IsOk());
  ExpectThatTheDeviceWorks(*next);
}

TEST_F(ProcessTest, CopyCommandSaysThatTheServerWasKilledAndLeavesNothing) {
  TempDir directory;
  const std::string fifo = directory.File("fifo");
  const std::string out = directory.File("out");
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  absl::StatusOr<Pipe> talk = MakePipe();
  ASSERT_THAT(talk, IsOk());
  absl::StatusOr<ChildProcess> copy =
      ChildProcess::Spawn(ToolPath(), {"copy", server_->socket_path(), "--in", fifo, "--out", out},
                          {-1, -1, talk->write_end.get()});
  ASSERT_THAT(copy, IsOk());
  talk->write_end.Reset();
  // Opens when the copy has opened its end. Each line is read when the copy got that far.
  UniqueFd in(::open(fifo.c_str(), O_WRONLY | O_CLOEXEC));
  ASSERT_TRUE(in.valid());
  std::string said;
  char c = '\0';
  while (!said.ends_with('\n') && ::read(talk->read_end.get(), &c, 1) == 1) said += c;
  ASSERT_THAT(said, HasSubstr("buffering"));

  server_->process().Signal(SIGKILL);
  ASSERT_THAT(server_->process().Wait(kLong), IsOk());
  ASSERT_EQ(::write(in.get(), "bytes", 5), 5);
  in.Reset();

  const absl::StatusOr<ProcessEnd> end = copy->Wait(kLong);
  ASSERT_THAT(end, IsOk());
  EXPECT_EQ(end->exit_code, 1);
  said.clear();
  while (::read(talk->read_end.get(), &c, 1) == 1) said += c;
  EXPECT_THAT(said,
              testing::StartsWith("vfio-user: " + server_->socket_path() + ": lost the server"));
  ASSERT_TRUE(std::filesystem::remove(fifo));
  EXPECT_TRUE(std::filesystem::is_empty(directory.path()));
}

}  // namespace
}  // namespace vfio_user
