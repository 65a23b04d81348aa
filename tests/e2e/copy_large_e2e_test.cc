// Files that are large against the memory that `vfio-user copy` takes.
#include <fcntl.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "absl/base/config.h"
#include "absl/status/statusor.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/transport/unique_fd.h"
#include "tests/testing/server_process.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"
#include "tests/testing/tool_run.h"
#include "tools/vfio_user/child_server.h"
#include "tools/vfio_user/round_trip.h"

namespace vfio_user {
namespace {

using ::testing::HasSubstr;

#if defined(ABSL_HAVE_ADDRESS_SANITIZER) || defined(ABSL_HAVE_THREAD_SANITIZER)
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

class CopyLargeTest : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override { ASSERT_THAT(server_, IsOk()); }

  TempDir directory_;
  const std::string in_ = directory_.File("in");
  const std::string out_ = directory_.File("out");
  absl::StatusOr<ChildServer> server_ = StartServer();
};

TEST_P(CopyLargeTest, GivesTheSame300MiB) {
  const std::vector<std::byte> data = PseudoRandomBytes(75 << 20);
  std::ofstream file(in_, std::ios::binary);
  for (int i = 0; i < 4; ++i) {
    file.write(reinterpret_cast<const char*>(data.data()),
               static_cast<std::streamsize>(data.size()));
  }
  file.close();

  const ToolRun run =
      RunTool({"copy", server_->socket_path(), "--in", in_, "--out", out_, "--path", GetParam()});

  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_EQ(std::system(("cmp " + in_ + " " + out_).c_str()), 0);
}

// The number before " MiB" in "buffering 128.0 MiB in malloc".
uint64_t BufferedKib(const std::string& err) {
  constexpr char kBefore[] = "buffering ";
  const size_t at = err.find(kBefore);
  return at == std::string::npos
             ? 0
             : static_cast<uint64_t>(std::atof(err.c_str() + at + sizeof(kBefore) - 1) * 1024);
}

TEST_P(CopyLargeTest, Takes1GiBInNoMoreMemoryThanItSays) {
  const UniqueFd file(::open(in_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  // A sanitizer's own memory is not what is measured, and its time is long.
  ASSERT_EQ(::ftruncate(file.get(), kSanitized ? 1 << 28 : 1 << 30), 0);

  const ToolRun run = RunTool(
      {"copy", server_->socket_path(), "--in", in_, "--out", "/dev/null", "--path", GetParam()});

  ASSERT_EQ(run.exit_code, 0) << run.err;
  ASSERT_THAT(run.err, HasSubstr(" MiB in "));
  if (kSanitized) return;
  EXPECT_LT(static_cast<double>(run.max_rss_kib), 1.1 * static_cast<double>(BufferedKib(run.err)));
}

INSTANTIATE_TEST_SUITE_P(Paths, CopyLargeTest, ::testing::Values("file-io", "message", "mmap"));

}  // namespace
}  // namespace vfio_user
