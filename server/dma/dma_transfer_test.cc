#include "server/dma/dma_transfer.h"

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "gtest/gtest.h"
#include "proto_defs/wire/dma_map.h"
#include "proto_defs/wire/iova.h"
#include "server/dma/client_memory.h"
#include "server/dma/dma_cancellation.h"
#include "server/dma/file_pool.h"
#include "server/dma/memory_use.h"
#include "server/dma_space.h"
#include "tests/testing/memfd.h"
#include "tests/testing/status_matchers.h"

namespace vfio_user {
namespace {

// Memory at 0x1000 that holds "abcd".
class DmaTransferTest : public testing::Test {
 protected:
  DmaTransferTest() {
    auto file = pool_.Acquire(Memfd("abcd")).value();
    table_.Insert({Iova{0x1000}, Iova{0x1003},
                   std::make_shared<ClientMemory>(
                       DmaMapFlags(DmaMapFlag::kRead),
                       DirectPath(FileWindow{.file = std::move(file), .offset = 0}), nullptr)});
  }

  FilePool pool_;
  ClientMemoryTable table_;
  ClientMemoryTable::Recent recent_;
  DmaCancellation cancellation_;
  std::string into_ = std::string(4, ' ');
  const DmaReadPiece piece_ = {Iova{0x1000}, std::as_writable_bytes(std::span(into_))};
};

TEST_F(DmaTransferTest, ReachesWhatItFoundAfterItWasTakenAway) {
  MemoryUses uses;
  DmaTransfer<std::byte> transfer;
  ASSERT_THAT(transfer.Add(table_, recent_, piece_, DmaAccessPath::kAuto), IsOk());
  uses.Begin(transfer.use());
  for (const auto& memory : table_.RemoveAll()) uses.Keep(memory);

  EXPECT_FALSE(transfer.needs_messenger());
  EXPECT_THAT(transfer.Run(nullptr, cancellation_.Begin()), IsOk());

  EXPECT_EQ(into_, "abcd");
  EXPECT_EQ(uses.End(transfer.use()).size(), 1u);
}

TEST_F(DmaTransferTest, StopsWhenItIsCancelledAfterTheLookup) {
  DmaTransfer<std::byte> transfer;
  ASSERT_THAT(transfer.Add(table_, recent_, piece_, DmaAccessPath::kAuto), IsOk());
  const DmaCancellation::Token token = cancellation_.Begin();
  cancellation_.Cancel();

  EXPECT_THAT(transfer.Run(nullptr, token), StatusIs(absl::StatusCode::kCancelled));

  EXPECT_EQ(into_, "    ");
}

}  // namespace
}  // namespace vfio_user
