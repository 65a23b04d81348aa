#include "server/dma/mapping_budget.h"

#include <cerrno>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gtest/gtest.h"
#include "proto_defs/base/errno_status.h"
#include "tests/testing/status_matchers.h"

namespace vfio_user {
namespace {

TEST(MappingBudgetTest, RefusesMoreThanThereIsUntilSomeIsGivenBack) {
  MappingBudget budget(2);
  absl::StatusOr<MappingBudget::Share> first = budget.Take();
  const absl::StatusOr<MappingBudget::Share> second = budget.Take();
  ASSERT_THAT(first, IsOk());
  ASSERT_THAT(second, IsOk());

  for (int i = 0; i < 3; ++i) {
    const absl::Status refused = budget.Take().status();
    EXPECT_THAT(refused, StatusIs(absl::StatusCode::kResourceExhausted));
    EXPECT_EQ(ErrnoOf(refused), ENOSPC);
  }

  first->reset();
  EXPECT_THAT(budget.Take(), IsOk());
}

TEST(MappingBudgetTest, AMovedShareIsGivenBackOnce) {
  MappingBudget budget(1);
  {
    absl::StatusOr<MappingBudget::Share> share = budget.Take();
    ASSERT_THAT(share, IsOk());
    const MappingBudget::Share moved = *std::move(share);
    EXPECT_FALSE(budget.Take().ok());
  }

  const absl::StatusOr<MappingBudget::Share> only = budget.Take();
  EXPECT_THAT(only, IsOk());
  EXPECT_FALSE(budget.Take().ok());
}

TEST(MappingBudgetTest, OfThisProcessIsOne) {
  EXPECT_EQ(&MappingBudget::OfThisProcess(), &MappingBudget::OfThisProcess());
  EXPECT_THAT(MappingBudget::OfThisProcess().Take(), IsOk());
}

}  // namespace
}  // namespace vfio_user
