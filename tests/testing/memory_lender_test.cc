#include "tests/testing/memory_lender.h"

#include <sys/types.h>
#include <unistd.h>

#include <cstdint>

#include "gtest/gtest.h"
#include "proto_defs/transport/unique_fd.h"

namespace vfio_user {
namespace {

int value = 1;

ssize_t ReadValue(FdView mem, int& into) {
  return ::pread(mem.get(), &into, sizeof(into),
                 static_cast<off_t>(reinterpret_cast<uintptr_t>(&value)));
}

TEST(MemoryLenderTest, LendsAMemoryOfItsOwn) {
  const MemoryLender lender([] { value = 2; });
  int there = 0;

  EXPECT_EQ(ReadValue(lender.mem(), there), static_cast<ssize_t>(sizeof(there)));

  EXPECT_EQ(there, 2);
  EXPECT_EQ(value, 1);
  EXPECT_NE(lender.credentials().pid, ::getpid());
}

TEST(MemoryLenderTest, TakesItsMemoryWithIt) {
  MemoryLender one;
  MemoryLender other;
  int there = 0;

  one.Exit();
  other.Exec();

  EXPECT_EQ(ReadValue(one.mem(), there), 0);
  EXPECT_EQ(ReadValue(other.mem(), there), 0);
}

}  // namespace
}  // namespace vfio_user
