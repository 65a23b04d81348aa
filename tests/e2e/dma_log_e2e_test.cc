// What a device in another process wrote, as its client is told.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/client.h"
#include "client/client_options.h"
#include "client/dirty_pages.h"
#include "client/dma_log.h"
#include "client/dma_mapping.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/wire/iova.h"
#include "tests/testing/server_process.h"
#include "tests/testing/status_matchers.h"
#include "tools/vfio_user/child_server.h"
#include "tools/vfio_user/dma_copy_driver.h"

namespace vfio_user {
namespace {

using ::testing::ElementsAre;

constexpr uint64_t kIova = 0x10000;
constexpr uint64_t kPage = 4096;

std::vector<IovaRange> WrittenOf(const DirtyPages& pages) {
  std::vector<IovaRange> written;
  for (const IovaRange& range : pages) written.push_back(range);
  return written;
}

class DmaLogE2eTest : public ::testing::TestWithParam<DmaPath> {
 protected:
  void SetUp() override {
    ASSERT_THAT(server_, IsOk());
    client_ = Client::Connect(server_->socket_path());
    ASSERT_THAT(client_, IsOk());
    driver_ = DmaCopyDriver::Open(*client_);
    ASSERT_THAT(driver_, IsOk());
    mapping_ = client_->Map(memory_, {.path = GetParam(), .iova = Iova{kIova}});
    ASSERT_THAT(mapping_, IsOk());
  }

  absl::Status Fill(uint64_t offset, uint64_t length) {
    return (*driver_)->Run(DmaCopyOperation::Fill(1, Iova{kIova + offset}, length)).status();
  }

  std::vector<std::byte> memory_ = std::vector<std::byte>(16 * kPage);
  absl::StatusOr<ChildServer> server_ = StartServer();
  absl::StatusOr<Client> client_ = absl::UnknownError("not connected");
  absl::StatusOr<std::unique_ptr<DmaCopyDriver>> driver_ = absl::UnknownError("not opened");
  absl::StatusOr<DmaMapping> mapping_ = absl::UnknownError("not mapped");
};

TEST_P(DmaLogE2eTest, TellsWhatTheDeviceWroteOnceAndWhenItIsUnmapped) {
  const absl::StatusOr<DmaLog> log = client_->StartDmaLogging();
  ASSERT_THAT(log, IsOk());
  ASSERT_THAT(Fill(2 * kPage, 8), IsOk());
  ASSERT_THAT(Fill(5 * kPage - 8, 16), IsOk());

  absl::StatusOr<DirtyPages> pages = log->Report({Iova{kIova}, memory_.size()}, kPage);
  ASSERT_THAT(pages, IsOk());
  EXPECT_THAT(WrittenOf(*pages), ElementsAre(IovaRange{Iova{kIova + 2 * kPage}, kPage},
                                             IovaRange{Iova{kIova + 4 * kPage}, 2 * kPage}));

  ASSERT_THAT(Fill(9 * kPage, 8), IsOk());
  pages = mapping_->UnmapAndReport(2 * kPage);
  ASSERT_THAT(pages, IsOk());
  EXPECT_THAT(WrittenOf(*pages), ElementsAre(IovaRange{Iova{kIova + 8 * kPage}, 2 * kPage}));
}

INSTANTIATE_TEST_SUITE_P(Paths, DmaLogE2eTest,
                         ::testing::Values(DmaPath::kFileIo, DmaPath::kMessage));

}  // namespace
}  // namespace vfio_user
