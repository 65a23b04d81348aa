#include "client/interrupt_type.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <future>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/client.h"
#include "client/session/scripted_server.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/base/errno_status.h"
#include "proto_defs/wire/device_info.h"
#include "proto_defs/wire/hex_bytes.h"
#include "tests/testing/fd_count.h"
#include "tests/testing/scripted_peer.h"
#include "tests/testing/status_matchers.h"

namespace vfio_user {
namespace {

using ::testing::ElementsAreArray;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// Takes three descriptors with a message.
constexpr char kThreeFds[] = R"({"capabilities":{"max_msg_fds":3,"write_multiple":true,)"
                             R"("twin_socket":{"supported":true,"fd_index":0}}})";

// The 8 vectors of MSI-X.
class InterruptTypeTest : public testing::Test {
 protected:
  void SetUp() override {
    absl::StatusOr<GreetedSocket> greeted = Greet(kThreeFds);
    ASSERT_THAT(greeted, IsOk());
    server_.emplace(std::move(greeted->server));
    twin_ = std::move(greeted->twin);
    absl::StatusOr<Client> client = Client::Adopt(std::move(greeted->client));
    ASSERT_THAT(client, IsOk());
    ASSERT_THAT(server_->Receive(), IsOk());  // VERSION.
    auto served = std::async(std::launch::async, [&] {
      EXPECT_THAT(AnswerNext(*server_, Hex("10000000 03000000 09000000 05000000")).get(), IsOk());
      EXPECT_THAT(AnswerNext(*server_, Hex("10000000 03000000 02000000 08000000")).get(), IsOk());
    });
    absl::StatusOr<InterruptType> msix = client->OpenInterrupts(IrqIndex::kMsix);
    served.get();
    ASSERT_THAT(msix, IsOk());
    msix_.emplace(*std::move(msix));
  }
  // An interrupt that is left must not wait for a server that does not answer.
  void TearDown() override { server_->Close(); }

  std::optional<ScriptedPeer> server_;
  std::optional<ScriptedPeer> twin_;
  std::optional<InterruptType> msix_;
};

TEST_F(InterruptTypeTest, BindsManyVectorsInRunsThatTheServerTakes) {
  ServedRequests served = AnswerAll(*server_, {0, 0, 0});

  absl::StatusOr<std::vector<Interrupt>> bound = msix_->Bind(1, 7);

  const auto requests = served.get();
  ASSERT_THAT(bound, IsOk());
  ASSERT_THAT(requests, IsOk());
  EXPECT_THAT(requests->at(0).body,
              ElementsAreArray(Hex("14000000 24000000 02000000 01000000 03000000")));
  EXPECT_EQ(requests->at(0).fds.size(), 3u);
  EXPECT_THAT(requests->at(1).body,
              ElementsAreArray(Hex("14000000 24000000 02000000 04000000 03000000")));
  EXPECT_EQ(requests->at(1).fds.size(), 3u);
  EXPECT_THAT(requests->at(2).body,
              ElementsAreArray(Hex("14000000 24000000 02000000 07000000 01000000")));
  EXPECT_EQ(requests->at(2).fds.size(), 1u);
  ASSERT_EQ(bound->size(), 7u);
  EXPECT_EQ(bound->at(4).vector(), 5u);
  const uint64_t once = 1;
  ASSERT_EQ(::write(requests->at(1).fds[1].get(), &once, sizeof(once)), ssize_t{sizeof(once)});
  EXPECT_THAT(bound->at(4).Wait(absl::ZeroDuration()), IsOkAndHolds(1u));
  server_->Close();
}

TEST_F(InterruptTypeTest, UnbindsWhatItBoundWhenALaterRunIsRefused) {
  const int before = OpenFdCount();
  ServedRequests served = AnswerAll(*server_, {0, EINVAL, 0, 0, 0});

  EXPECT_THAT(msix_->Bind(0, 6), StatusIs(absl::StatusCode::kInvalidArgument));

  {
    const auto requests = served.get();
    ASSERT_THAT(requests, IsOk());
    for (size_t i = 2; i < 5; ++i) EXPECT_THAT(requests->at(i).fds, IsEmpty());
  }
  EXPECT_EQ(OpenFdCount(), before);
}

TEST_F(InterruptTypeTest, RejectsVectorsThatTheDeviceDoesNotHave) {
  EXPECT_THAT(msix_->Bind(4, 5),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("no msix vectors 4 to 8: it has 8")));
  EXPECT_THAT(msix_->Bind(8), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(msix_->Mask(7, UINT32_MAX), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(msix_->Trigger(std::vector<uint32_t>{0, 8}), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(msix_->BindMaskSwitch(8), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(msix_->Bind(0, 0), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST_F(InterruptTypeTest, ActsOnVectorsInARow) {
  ServedRequests served = AnswerAll(*server_, {0, 0, 0, 0});

  EXPECT_THAT(msix_->Mask(2, 3), IsOk());
  EXPECT_THAT(msix_->Unmask(0, 8), IsOk());
  EXPECT_THAT(msix_->Trigger(7, 1), IsOk());
  EXPECT_THAT(msix_->Mask(std::vector<uint32_t>{4, 3, 5, 3}), IsOk());

  const auto requests = served.get();
  ASSERT_THAT(requests, IsOk());
  EXPECT_THAT(requests->at(0).body,
              ElementsAreArray(Hex("14000000 09000000 02000000 02000000 03000000")));
  EXPECT_THAT(requests->at(1).body,
              ElementsAreArray(Hex("14000000 11000000 02000000 00000000 08000000")));
  EXPECT_THAT(requests->at(2).body,
              ElementsAreArray(Hex("14000000 21000000 02000000 07000000 01000000")));
  EXPECT_THAT(requests->at(3).body,
              ElementsAreArray(Hex("14000000 09000000 02000000 03000000 03000000")));
}

TEST_F(InterruptTypeTest, ActsOnVectorsThatAreNotInARow) {
  ServedRequests served = AnswerAll(*server_, {0, 0, EINVAL});

  EXPECT_THAT(msix_->Trigger(std::vector<uint32_t>{5, 2}), IsOk());
  EXPECT_THAT(msix_->Mask(std::vector<uint32_t>{0, 2}), IsOk());
  EXPECT_EQ(ErrnoOf(msix_->Unmask(std::vector<uint32_t>{0, 2})), EINVAL);

  const auto requests = served.get();
  ASSERT_THAT(requests, IsOk());
  EXPECT_THAT(requests->at(0).body,
              ElementsAreArray(Hex("14000000 22000000 02000000 02000000 04000000 01 00 00 01")));
  EXPECT_THAT(requests->at(1).body,
              ElementsAreArray(Hex("14000000 0a000000 02000000 00000000 03000000 01 00 01")));
  EXPECT_THAT(requests->at(2).body,
              ElementsAreArray(Hex("14000000 12000000 02000000 00000000 03000000 01 00 01")));
}

TEST_F(InterruptTypeTest, NoVectorsAreNoRequest) {
  EXPECT_THAT(msix_->Mask(0, 0), IsOk());
  EXPECT_THAT(msix_->Trigger(std::vector<uint32_t>{}), IsOk());

  ServedRequest served = AnswerNext(*server_);
  EXPECT_THAT(msix_->Mask(1, 1), IsOk());
  const auto request = served.get();
  ASSERT_THAT(request, IsOk());
  EXPECT_THAT(request->body, ElementsAreArray(Hex("14000000 09000000 02000000 01000000 01000000")));
}

TEST_F(InterruptTypeTest, DisablingEndsTheBindings) {
  ServedRequests served = AnswerAll(*server_, {0, 0, 0});
  {
    const absl::StatusOr<Interrupt> interrupt = msix_->Bind(3);
    ASSERT_THAT(interrupt, IsOk());

    EXPECT_THAT(msix_->Disable(), IsOk());
  }
  // The next that the server gets is this, and not an unbinding.
  EXPECT_THAT(msix_->Mask(0, 1), IsOk());

  const auto requests = served.get();
  ASSERT_THAT(requests, IsOk());
  EXPECT_THAT(requests->at(1).body,
              ElementsAreArray(Hex("14000000 21000000 02000000 00000000 00000000")));
  EXPECT_THAT(requests->at(2).body,
              ElementsAreArray(Hex("14000000 09000000 02000000 00000000 01000000")));
}

TEST_F(InterruptTypeTest, ASwitchIsAnEventfdUntilItIsDestroyed) {
  const int before = OpenFdCount();
  ServedRequests served = AnswerAll(*server_, {0, 0});
  {
    const absl::StatusOr<InterruptSwitch> unmask = msix_->BindUnmaskSwitch(4);
    ASSERT_THAT(unmask, IsOk());
    EXPECT_THAT(unmask->Signal(), IsOk());
    EXPECT_THAT(unmask->Signal(), IsOk());
  }

  {
    const auto requests = served.get();
    ASSERT_THAT(requests, IsOk());
    EXPECT_THAT(requests->at(0).body,
                ElementsAreArray(Hex("14000000 14000000 02000000 04000000 01000000")));
    ASSERT_EQ(requests->at(0).fds.size(), 1u);
    uint64_t signals = 0;
    ASSERT_EQ(::read(requests->at(0).fds[0].get(), &signals, sizeof(signals)),
              ssize_t{sizeof(signals)});
    EXPECT_EQ(signals, 2u);
    EXPECT_THAT(requests->at(1).body,
                ElementsAreArray(Hex("14000000 14000000 02000000 04000000 01000000")));
    EXPECT_THAT(requests->at(1).fds, IsEmpty());
  }
  EXPECT_EQ(OpenFdCount(), before);
}

TEST_F(InterruptTypeTest, AnOlderSwitchDoesNotUnbindANewerOneOfItsVector) {
  ServedRequests served = AnswerAll(*server_, {0, 0, 0});
  std::optional<absl::StatusOr<InterruptSwitch>> older = msix_->BindMaskSwitch(1);
  const absl::StatusOr<InterruptSwitch> newer = msix_->BindMaskSwitch(1);
  ASSERT_THAT(newer, IsOk());

  older.reset();
  EXPECT_THAT(msix_->Mask(7, 1), IsOk());

  const auto requests = served.get();
  ASSERT_THAT(requests, IsOk());
  EXPECT_THAT(requests->at(2).body,
              ElementsAreArray(Hex("14000000 09000000 02000000 07000000 01000000")));
  server_->Close();
}

TEST_F(InterruptTypeTest, AMaskSwitchCanBeMovedOntoAnother) {
  ServedRequests served = AnswerAll(*server_, {0, 0, 0});
  absl::StatusOr<InterruptSwitch> one = msix_->BindMaskSwitch(1);
  absl::StatusOr<InterruptSwitch> other = msix_->BindMaskSwitch(2);
  ASSERT_THAT(one, IsOk());
  ASSERT_THAT(other, IsOk());

  *one = *std::move(other);

  const auto requests = served.get();
  ASSERT_THAT(requests, IsOk());
  EXPECT_THAT(requests->at(2).body,
              ElementsAreArray(Hex("14000000 0c000000 02000000 01000000 01000000")));
  EXPECT_THAT(other->Signal(),
              StatusIs(absl::StatusCode::kFailedPrecondition));  // NOLINT: moved from on purpose.
  server_->Close();
}

}  // namespace
}  // namespace vfio_user
