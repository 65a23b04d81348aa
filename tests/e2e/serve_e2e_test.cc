// `vfio-user serve`: its sockets, its end, and who is let in.
#include <unistd.h>

#include <csignal>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/client.h"
#include "client/dma_mapping.h"
#include "client/region.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/transport/unique_fd.h"
#include "proto_defs/wire/device_info.h"
#include "proto_defs/wire/iova.h"
#include "tests/testing/bound_socket.h"
#include "tests/testing/server_process.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"
#include "tests/testing/tool_run.h"
#include "tools/vfio_user/child_process.h"
#include "tools/vfio_user/child_server.h"

namespace vfio_user {
namespace {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::HasSubstr;

constexpr absl::Duration kLong = absl::Seconds(60);

// A server whose talk is read line by line.
class Serve {
 public:
  explicit Serve(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "serve");
    absl::StatusOr<Pipe> in = MakePipe();
    absl::StatusOr<Pipe> err = MakePipe();
    if (!in.ok() || !err.ok()) return;
    stdin_ = std::move(in->write_end);
    stderr_ = std::move(err->read_end);
    absl::StatusOr<ChildProcess> process =
        ChildProcess::Spawn(ToolPath(), arguments, {in->read_end.get(), -1, err->write_end.get()});
    if (process.ok()) process_.emplace(*std::move(process));
  }

  // The next line it says; what there is of it when the process ends.
  std::string Line() {
    std::string line;
    char c = '\0';
    while (::read(stderr_.get(), &c, 1) == 1 && c != '\n') line += c;
    return line;
  }
  ChildProcess& process() { return *process_; }
  FdView input() const { return stdin_; }
  void CloseStdin() { stdin_.Reset(); }

 private:
  UniqueFd stdin_;
  UniqueFd stderr_;
  std::optional<ChildProcess> process_;
};

class ServeTest : public ::testing::Test {
 protected:
  TempDir directory_;
  const std::string path_ = directory_.File("device");
};

TEST_F(ServeTest, SaysWhenItListensAndRemovesTheSocketInTheEnd) {
  for (const int signal : {SIGTERM, SIGINT}) {
    Serve serve({"dma-copy", "--socket", path_});
    EXPECT_EQ(serve.Line(), "serving dma-copy at " + path_);
    EXPECT_TRUE(std::filesystem::is_socket(path_));

    serve.process().Signal(signal);

    const absl::StatusOr<ProcessEnd> end = serve.process().Wait(kLong);
    ASSERT_THAT(end, IsOk());
    EXPECT_EQ(end->exit_code, 0);
    EXPECT_FALSE(std::filesystem::exists(path_));
  }
}

TEST_F(ServeTest, EndsWhileAClientIsConnected) {
  Serve serve({"dma-copy", "--socket", path_});
  ASSERT_EQ(serve.Line(), "serving dma-copy at " + path_);
  const absl::StatusOr<Client> client = Client::Connect(path_);
  ASSERT_THAT(client, IsOk());

  serve.process().Signal(SIGTERM);

  const absl::StatusOr<ProcessEnd> end = serve.process().Wait(kLong);
  ASSERT_THAT(end, IsOk());
  EXPECT_EQ(end->exit_code, 0);
  EXPECT_THAT(client->GetDeviceInfo(), StatusIs(absl::StatusCode::kUnavailable));
}

TEST_F(ServeTest, ServesSeveralSocketsWithADeviceEach) {
  const std::string other = directory_.File("other");
  Serve serve({"null", "--socket", path_, "--socket", other});
  ASSERT_EQ(serve.Line(), "serving null at " + path_);
  ASSERT_EQ(serve.Line(), "serving null at " + other);

  ASSERT_EQ(RunTool({"write", path_, "bar0", "0", "0x11"}).exit_code, 0);
  ASSERT_EQ(RunTool({"write", other, "bar0", "0", "0x22"}).exit_code, 0);

  EXPECT_EQ(RunTool({"read", path_, "bar0", "0"}).out, "0x0000 0x00000011\n");
  EXPECT_EQ(RunTool({"read", other, "bar0", "0"}).out, "0x0000 0x00000022\n");
}

TEST_F(ServeTest, ServesWhileItAndItsClientSpin) {
  Serve serve({"null", "--socket", path_, "--busy-poll", "200"});
  ASSERT_EQ(serve.Line(), "serving null at " + path_);
  const absl::StatusOr<Client> client =
      Client::Connect(path_, {.busy_poll = absl::Microseconds(200)});
  ASSERT_THAT(client, IsOk());
  const absl::StatusOr<Region> bar0 =
      client->OpenRegion(RegionIndex::kBar0, {.path = RegionPath::kMessage});
  ASSERT_THAT(bar0, IsOk());

  for (uint32_t value = 1; value <= 100; ++value) {
    ASSERT_THAT(bar0->Write<uint32_t>(0, value), IsOk());
    EXPECT_THAT(bar0->Read<uint32_t>(0), IsOkAndHolds(value));
  }
}

TEST_F(ServeTest, EndsWithItsStandardInputWhenAsked) {
  Serve serve({"null", "--socket", path_, "--until-eof"});
  ASSERT_EQ(serve.Line(), "serving null at " + path_);

  serve.CloseStdin();

  const absl::StatusOr<ProcessEnd> end = serve.process().Wait(kLong);
  ASSERT_THAT(end, IsOk());
  EXPECT_EQ(end->exit_code, 0);
}

TEST_F(ServeTest, GoesOnWhileItsStandardInputSaysSomething) {
  Serve serve({"null", "--socket", path_, "--until-eof"});
  ASSERT_EQ(serve.Line(), "serving null at " + path_);

  ASSERT_EQ(::write(serve.input().get(), "\n", 1), 1);

  EXPECT_EQ(RunTool({"info", path_}).exit_code, 0);
  EXPECT_EQ(RunTool({"info", path_}).exit_code, 0);
  serve.CloseStdin();
  EXPECT_THAT(serve.process().Wait(kLong), IsOk());
}

TEST_F(ServeTest, RefusesASocketThatIsServed) {
  Serve first({"null", "--socket", path_});
  ASSERT_EQ(first.Line(), "serving null at " + path_);

  const ToolRun second = RunTool({"serve", "null", "--socket", path_});

  EXPECT_EQ(second.exit_code, 2);
  EXPECT_THAT(second.err, AllOf(testing::StartsWith("vfio-user: "), HasSubstr(path_)));
  EXPECT_EQ(RunTool({"read", path_, "bar0", "0"}).exit_code, 0);
}

TEST_F(ServeTest, ReplacesASocketThatAKilledServerLeft) {
  Serve first({"null", "--socket", path_});
  ASSERT_EQ(first.Line(), "serving null at " + path_);
  first.process().Signal(SIGKILL);
  ASSERT_THAT(first.process().Wait(kLong), IsOk());
  ASSERT_TRUE(std::filesystem::is_socket(path_));

  Serve second({"null", "--socket", path_});

  EXPECT_EQ(second.Line(), "serving null at " + path_);
  EXPECT_EQ(RunTool({"read", path_, "bar0", "0"}).exit_code, 0);
}

TEST_F(ServeTest, RefusesAPathThatIsAFile) {
  const std::string file = directory_.File("file");
  std::ofstream(file) << "somebody's";

  const ToolRun run = RunTool({"serve", "null", "--socket", file});

  EXPECT_EQ(run.exit_code, 2);
  EXPECT_THAT(run.err, HasSubstr("in the way; remove it or use another path"));
  EXPECT_TRUE(std::filesystem::is_regular_file(file));
}

TEST_F(ServeTest, SaysWhatToDoAboutADirectoryThatIsNotThere) {
  std::ofstream(directory_.File("file")) << "no directory";
  for (const char* const path : {"none/socket", "file/socket"}) {
    const ToolRun run = RunTool({"serve", "null", "--socket", directory_.File(path)});

    EXPECT_EQ(run.exit_code, 2) << path;
    EXPECT_THAT(run.err, HasSubstr("its directory is not there; make it or use another path"));
  }
}

TEST_F(ServeTest, RefusesASecondClientAtOnceAndKeepsTheFirst) {
  absl::StatusOr<ChildServer> server = StartServer();
  ASSERT_THAT(server, IsOk());
  const absl::StatusOr<Client> first = Client::Connect(server->socket_path());
  ASSERT_THAT(first, IsOk());

  const ToolRun second = RunTool({"info", server->socket_path()});

  EXPECT_EQ(second.exit_code, 1);
  EXPECT_THAT(second.err, AllOf(HasSubstr(server->socket_path()), HasSubstr("client")));
  EXPECT_THAT(first->GetDeviceInfo(), IsOk());
  EXPECT_THAT(server->Stop(), IsOk());
}

TEST_F(ServeTest, GivesEduTheDmaMaskThatItIsToldTo) {
  Serve serve({"edu", "--socket", path_, "--dma-mask", "0xffffffffffffffff"});
  ASSERT_EQ(serve.Line(), "serving edu at " + path_ + ", DMA mask 0xffffffffffffffff");
  const absl::StatusOr<Client> client = Client::Connect(path_);
  ASSERT_THAT(client, IsOk());
  ASSERT_THAT(client->OpenPci()->EnableBusMaster(), IsOk());
  const absl::StatusOr<Region> bar0 = client->OpenRegion(RegionIndex::kBar0);
  ASSERT_THAT(bar0, IsOk());
  std::vector<std::byte> memory(64, std::byte{7});
  // At its own address, which 28 bits do not reach.
  const absl::StatusOr<DmaMapping> mapping = client->Map(std::span(memory));
  ASSERT_THAT(mapping, IsOk());
  ASSERT_GT(ToU64(mapping->iova()), 0xfffffffu);

  // From the buffer, which is 0, to memory.
  ASSERT_THAT(bar0->Write<uint64_t>(0x80, 0x40000), IsOk());
  ASSERT_THAT(bar0->Write<uint64_t>(0x88, ToU64(mapping->iova())), IsOk());
  ASSERT_THAT(bar0->Write<uint64_t>(0x90, memory.size()), IsOk());
  ASSERT_THAT(bar0->Write<uint64_t>(0x98, 3), IsOk());
  while (true) {
    const absl::StatusOr<uint64_t> command = bar0->Read<uint64_t>(0x98);
    ASSERT_THAT(command, IsOk());
    if ((*command & 1) == 0) break;
  }

  EXPECT_THAT(memory, Each(std::byte{0}));
}

TEST_F(ServeTest, SaysPlainlyThatAClientLeftWhenVerbose) {
  Serve serve({"null", "--socket", path_, "--verbose"});
  ASSERT_EQ(serve.Line(), "serving null at " + path_);

  ASSERT_EQ(RunTool({"irq", path_}).err, "the device has no interrupts\n");

  EXPECT_EQ(serve.Line(), "null at " + path_ + ": client left");
}

TEST_F(ServeTest, SaysWhatItRefusesWhenVerbose) {
  Serve serve({"null", "--socket", path_, "--verbose"});
  ASSERT_EQ(serve.Line(), "serving null at " + path_);
  const UniqueFd stranger = ConnectedSocket(path_);
  ASSERT_TRUE(stranger.valid());

  // No header begins like this: its size would be 0x0a0a0a0a.
  const std::string garbage(64, '\n');
  ASSERT_EQ(::write(stranger.get(), garbage.data(), garbage.size()), 64);

  EXPECT_NE(serve.Line(), "");
}

}  // namespace
}  // namespace vfio_user
