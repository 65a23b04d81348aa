#include "client/session/owner_process.h"

#include <sys/wait.h>
#include <unistd.h>

#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/status_matchers.h"

namespace vfio_user {
namespace {

using ::testing::HasSubstr;

// Runs `body` in a forked child, whose exit code it returns.
template <typename Body>
int InChild(Body body) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(body());
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

class Counted {
 public:
  explicit Counted(int* destroyed) : destroyed_(destroyed) {}
  ~Counted() { ++*destroyed_; }

 private:
  int* destroyed_;
};

TEST(OwnerProcessTest, IsOkInTheProcessThatMadeIt) { EXPECT_THAT(OwnerProcess().Check(), IsOk()); }

TEST(OwnerProcessTest, IsFailedPreconditionInAForkedChild) {
  const OwnerProcess owner;

  const int code = InChild([&owner] {
    const auto refused =
        StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("connect anew after fork()"));
    return testing::Value(owner.Check(), refused) ? 0 : 1;
  });

  EXPECT_EQ(code, 0);
}

TEST(OwnerProcessTest, SharedObjectIsDestroyedByItsProcess) {
  int destroyed = 0;

  ShareInThisProcess(std::make_unique<Counted>(&destroyed)).reset();

  EXPECT_EQ(destroyed, 1);
}

TEST(OwnerProcessTest, SharedObjectIsLeftAloneByAForkedChild) {
  int destroyed = 0;
  std::shared_ptr<Counted> object = ShareInThisProcess(std::make_unique<Counted>(&destroyed));

  const int code = InChild([&] {
    object.reset();
    return destroyed;
  });

  EXPECT_EQ(code, 0);
}

}  // namespace
}  // namespace vfio_user
