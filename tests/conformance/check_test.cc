#include "tests/conformance/check.h"

#include "gtest/gtest.h"

namespace vfio_user {
namespace {

TEST(CheckTest, NamesRequirementsAsTheyAreReported) {
  EXPECT_EQ(RequirementName(Requirement::kRequired), "required");
  EXPECT_EQ(RequirementName(Requirement::kRecommended), "recommended");
  EXPECT_EQ(RequirementName(Requirement::kPeerQuirk), "peer quirk");
}

TEST(CheckTest, OutcomesKeepTheirWords) {
  EXPECT_EQ(CheckOutcome::Failed("no reply").words, "no reply");
  EXPECT_EQ(CheckOutcome::Skipped("no interrupts").kind, CheckOutcome::Kind::kSkipped);
}

}  // namespace
}  // namespace vfio_user
