// Everything at once: transfers on several threads while the client maps, unmaps and leaves.
#include <unistd.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <random>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/transport/unique_fd.h"
#include "proto_defs/wire/command.h"
#include "proto_defs/wire/dma_map.h"
#include "proto_defs/wire/iova.h"
#include "server/dma/client_dma_space_fixture.h"
#include "server/dma_space.h"
#include "tests/testing/fd_count.h"
#include "tests/testing/memfd.h"
#include "tests/testing/status_matchers.h"

namespace vfio_user {
namespace {

using testing::AnyOf;

constexpr uint64_t kSlotBytes = 256;
constexpr uint64_t kSlots = 6;  // Two for each path, next to each other.

class ClientDmaSpaceThreadsTest : public ClientDmaSpaceFixture {
 protected:
  // Answers until the connection ends.
  void Serve() {
    while (true) {
      const auto request = client_->Receive();
      if (!request.ok()) return;
      std::vector<uint8_t> reply(request->body.begin(), request->body.begin() + 16);
      if (request->header.command == Command::kDmaRead) reply.resize(16 + request->body[8]);
      (void)client_->Reply(request->header, reply);
    }
  }

  absl::Status MapSlot(uint64_t slot) {
    const uint64_t address = slot * kSlotBytes;
    switch (slot % 3) {
      case 0:
        return Map(address, kSlotBytes);
      case 1:
        return MapFileIo(address, std::span(memory_).subspan(address, kSlotBytes));
      default:
        return MapFd({.flags = kReadWrite, .address = Iova{address}, .size = kSlotBytes},
                     UniqueFd(::dup(file_.get())));
    }
  }

  // Transfers in a row of random addresses and lengths, over the edges of slots.
  void Transfer(unsigned seed) {
    std::mt19937 random(seed);
    std::string buffer(200, static_cast<char>(seed));
    while (!stop_) {
      const Iova at{random() % (kSlots * kSlotBytes)};
      const std::span<char> part(buffer.data(), 1 + random() % (buffer.size() - 1));
      const absl::Status status =
          random() % 2 == 0 ? space_.Read(at, WritableBytes(part)) : space_.Write(at, Bytes(part));
      EXPECT_THAT(status, AnyOf(IsOk(), StatusIs(absl::StatusCode::kOutOfRange),
                                StatusIs(absl::StatusCode::kCancelled),
                                StatusIs(absl::StatusCode::kUnavailable)));
      if (status.ok()) ++moved_;
    }
  }

  std::vector<char> memory_ = std::vector<char>(kSlots * kSlotBytes);
  const UniqueFd file_ = Memfd(std::string(kSlotBytes, 'f'));
  std::atomic<bool> stop_ = false;
  std::atomic<int> moved_ = 0;
};

TEST_F(ClientDmaSpaceThreadsTest, TransfersWhileTheClientMapsUnmapsAndLeaves) {
  const int before = OpenFdCount();
  std::thread client([this] { Serve(); });
  std::vector<std::thread> devices;
  for (unsigned i = 1; i <= 3; ++i) devices.emplace_back([this, i] { Transfer(i); });
  std::mt19937 random(0);
  std::atomic<int> released = 0;
  int unmapped = 0;

  // At the end with a goal, so that it means something on any machine.
  for (int i = 0; i < 500 || moved_ < 500; ++i) {
    const uint64_t slot = random() % kSlots;
    if (!MapSlot(slot).ok()) {
      EXPECT_THAT(space_.Unmap(Iova{slot * kSlotBytes}, kSlotBytes, [&] { ++released; }), IsOk());
      ++unmapped;
    }
    if (i % 50 == 17) space_.CancelTransfers();
    if (i % 50 == 18) space_.ResumeTransfers();
    if (i % 100 == 99) {
      space_.UnmapAll([&] { ++released; });
      ++unmapped;
    }
  }
  space_.Disconnect();

  EXPECT_EQ(released, unmapped);
  EXPECT_EQ(space_.mapping_count(), 0u);
  EXPECT_EQ(OpenFdCount(), before);
  stop_ = true;
  for (std::thread& device : devices) device.join();
  client.join();
}

}  // namespace
}  // namespace vfio_user
