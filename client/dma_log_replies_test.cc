// Servers that answer a log's requests with something else.
#include <cerrno>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/client.h"
#include "client/dirty_pages.h"
#include "client/dma_log.h"
#include "client/session/scripted_server.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/wire/hex_bytes.h"
#include "proto_defs/wire/iova.h"
#include "tests/testing/scripted_peer.h"
#include "tests/testing/status_matchers.h"

namespace vfio_user {
namespace {

using ::testing::HasSubstr;

constexpr uint64_t kPage = 4096;

class DmaLogBadReportTest : public testing::Test {
 protected:
  // Of the first page at 0x10000, with `reply` to the report.
  absl::StatusOr<DirtyPages> ReportWith(const std::string& reply) {
    absl::StatusOr<GreetedSocket> greeted = Greet(kNoTwin);
    if (!greeted.ok()) return greeted.status();
    ScriptedPeer peer = std::move(greeted->server);
    const absl::StatusOr<Client> client = Client::Adopt(std::move(greeted->client));
    if (!client.ok() || !peer.Receive().ok()) return client.status();
    ServedRequests served =
        AnswerInOrder(peer, {{.body = Hex("08000000 06000200")}, {.body = Hex(reply)}});
    const absl::StatusOr<DmaLog> log = client->StartDmaLogging();
    if (!log.ok()) return log.status();
    absl::StatusOr<DirtyPages> pages = log->Report({Iova{0x10000}, kPage}, kPage);
    EXPECT_THAT(served.get(), IsOk());
    peer.Close();
    return pages;
  }
};

TEST_F(DmaLogBadReportTest, TakesTheRightOne) {
  EXPECT_THAT(ReportWith("28000000 08000100 0000010000000000 0010000000000000"
                         "0010000000000000 0100000000000000"),
              IsOk());
}

TEST_F(DmaLogBadReportTest, EndsTheConnectionOnAnyOther) {
  const std::vector<std::pair<std::string, std::string>> bad = {
      {"28000000 08000100 0010010000000000 0010000000000000 0010000000000000 0100000000000000",
       "of [0x11000, +0x1000)"},
      {"28000000 08000100 0000010000000000 0008000000000000 0010000000000000 0100000000000000",
       "of [0x10000, +0x800)"},
      {"28000000 08000100 0000010000000000 0010000000000000 0020000000000000 0100000000000000",
       "pages of 0x2000"},
      {"28000000 08000100 0000010000000000 0010000000000000 0010000000000000", "no bitmap"},
      {"28000000 08000100 0000010000000000 0010000000000000 0010000000000000 01",
       "bitmap is 1 bytes, want 8"},
      {"28000000 08000100 0000010000000000 0010000000000000 0010000000000000"
       "0100000000000000 0000000000000000",
       "data is 40 bytes, want at most 32"},
      {"28000000 08000100 0000010000000000", "body is"},
  };
  for (const auto& [reply, why] : bad) {
    EXPECT_THAT(ReportWith(reply), StatusIs(absl::StatusCode::kDataLoss, HasSubstr(why))) << reply;
  }
}

TEST(DmaLogStartTest, TakesThePageSizeThatTheDeviceChose) {
  absl::StatusOr<GreetedSocket> greeted = Greet(kNoTwin);
  ASSERT_THAT(greeted, IsOk());
  const absl::StatusOr<Client> client = Client::Adopt(std::move(greeted->client));
  ASSERT_THAT(client, IsOk());
  ASSERT_THAT(greeted->server.Receive(), IsOk());
  ServedRequest served =
      AnswerNext(greeted->server, Hex("28000000 06000200 0000200000000000 01000000 00000000"
                                      "0000000000000000 00f0ffffffffffff"));

  const absl::StatusOr<DmaLog> log = client->StartDmaLogging();

  ASSERT_THAT(log, IsOk());
  EXPECT_EQ(log->page_size(), 0x200000u);
  EXPECT_THAT(served.get(), IsOk());
  greeted->server.Close();
}

TEST(DmaLogStartTest, SaysThatTheDeviceDoesNotLog) {
  absl::StatusOr<GreetedSocket> greeted = Greet(kNoTwin);
  ASSERT_THAT(greeted, IsOk());
  const absl::StatusOr<Client> client = Client::Adopt(std::move(greeted->client));
  ASSERT_THAT(client, IsOk());
  ASSERT_THAT(greeted->server.Receive(), IsOk());
  // It is asked, and then whether it ever would.
  ServedRequests served = AnswerAll(greeted->server, {EINVAL, EINVAL, EINVAL, EINVAL});

  EXPECT_THAT(client->StartDmaLogging(),
              StatusIs(absl::StatusCode::kUnimplemented, HasSubstr("does not log")));
  // Nothing is left that would be in the way of a second try.
  EXPECT_THAT(client->StartDmaLogging(),
              testing::Not(StatusIs(absl::StatusCode::kFailedPrecondition)));
  greeted->server.Close();
}

}  // namespace
}  // namespace vfio_user
