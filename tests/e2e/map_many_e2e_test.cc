// Many mappings made at once at a server in another process.
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/client.h"
#include "client/client_options.h"
#include "client/dma_mapping.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/wire/iova.h"
#include "tests/testing/fd_count.h"
#include "tests/testing/server_process.h"
#include "tests/testing/status_matchers.h"
#include "tools/vfio_user/child_server.h"
#include "tools/vfio_user/dma_copy_driver.h"

namespace vfio_user {
namespace {

using ::testing::Each;
using ::testing::Eq;

constexpr size_t kBufferBytes = 512;

std::vector<std::span<std::byte>> Cut(std::span<std::byte> memory) {
  std::vector<std::span<std::byte>> buffers;
  for (; memory.size() >= kBufferBytes; memory = memory.subspan(kBufferBytes)) {
    buffers.push_back(memory.first(kBufferBytes));
  }
  return buffers;
}

class MapManyTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_THAT(server_, IsOk());
    client_ = Client::Connect(server_->socket_path());
    ASSERT_THAT(client_, IsOk());
  }

  absl::StatusOr<ChildServer> server_ = StartServer();
  absl::StatusOr<Client> client_ = absl::UnknownError("not connected");
};

class MapManyPathTest : public MapManyTest, public ::testing::WithParamInterface<DmaPath> {};

TEST_P(MapManyPathTest, DeviceWritesEachBufferAtItsOwnAddress) {
  std::vector<std::byte> memory(300 * kBufferBytes);
  const std::vector<std::span<std::byte>> buffers = Cut(memory);
  const auto mappings = client_->MapMany(buffers, {.path = GetParam()});
  ASSERT_THAT(mappings, IsOk());
  ASSERT_EQ(mappings->size(), buffers.size());
  DmaCopyOptions options;
  options.path = GetParam();
  const auto driver = DmaCopyDriver::Open(*client_, options);
  ASSERT_THAT(driver, IsOk());

  // The last one of the first window of requests, its neighbours, and the ends.
  for (const size_t at : {size_t{0}, size_t{31}, size_t{32}, size_t{33}, buffers.size() - 1}) {
    ASSERT_EQ((*mappings)[at].path(), GetParam()) << at;
    EXPECT_THAT((*driver)->Run(DmaCopyOperation::Fill(0x3333333333333333, (*mappings)[at].iova(),
                                                      kBufferBytes)),
                IsOk())
        << at;
    EXPECT_THAT(buffers[at], Each(Eq(std::byte{0x33}))) << at;
  }
  EXPECT_THAT(buffers[1], Each(Eq(std::byte{0})));
  EXPECT_THAT(buffers[34], Each(Eq(std::byte{0})));
}

INSTANTIATE_TEST_SUITE_P(Paths, MapManyPathTest,
                         ::testing::Values(DmaPath::kFileIo, DmaPath::kMessage),
                         [](const testing::TestParamInfo<DmaPath>& tested) {
                           return tested.param == DmaPath::kFileIo ? "FileIo" : "Message";
                         });

TEST_F(MapManyTest, OneThatOverlapsAnotherLeavesTheServerAsItWas) {
  std::vector<std::byte> memory(100 * kBufferBytes);
  std::vector<std::span<std::byte>> buffers = Cut(memory);
  buffers.push_back(buffers[50].subspan(100));

  EXPECT_THAT(client_->MapMany(buffers).status(), StatusIs(absl::StatusCode::kAlreadyExists));

  buffers.pop_back();
  EXPECT_THAT(client_->MapMany(buffers), IsOk());
}

TEST_F(MapManyTest, ThreadsMapManyAndOneAndUnmapThemBesideEachOther) {
  constexpr size_t kThreads = 4;
  constexpr int kRounds = 4;
  ASSERT_THAT(client_->GetDeviceInfo(), IsOk());
  const int fds_before = OpenFdCountOf(server_->process().pid());
  std::array<std::vector<std::byte>, kThreads> memory;
  for (std::vector<std::byte>& one : memory) one.resize(100 * kBufferBytes);
  std::vector<std::byte> single(kBufferBytes);
  std::vector<std::thread> threads;
  for (std::vector<std::byte>& mine : memory) {
    threads.emplace_back([&] {
      for (int round = 0; round < kRounds; ++round) {
        const auto mappings = client_->MapMany(Cut(mine));
        ASSERT_THAT(mappings, IsOk());
        ASSERT_EQ(mappings->size(), 100u);
      }
    });
  }
  threads.emplace_back([&] {
    for (int round = 0; round < 50 * kRounds; ++round) {
      absl::StatusOr<DmaMapping> mapping = client_->Map(single);
      ASSERT_THAT(mapping, IsOk());
      ASSERT_THAT(mapping->Unmap(), IsOk());
    }
  });
  for (std::thread& thread : threads) thread.join();

  // Nothing is left: all of it can be mapped once more, by one thread.
  std::vector<std::span<std::byte>> all = Cut(single);
  for (std::vector<std::byte>& one : memory) {
    for (const std::span<std::byte>& buffer : Cut(one)) all.push_back(buffer);
  }
  EXPECT_THAT(client_->MapMany(all), IsOk());
  ASSERT_THAT(client_->GetDeviceInfo(), IsOk());
  EXPECT_EQ(OpenFdCountOf(server_->process().pid()), fds_before);
}

}  // namespace
}  // namespace vfio_user
