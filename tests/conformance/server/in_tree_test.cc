// The devices of this tree, each served by a process of its own, against every check; and one that
// is only for tests, so that there is a device for each check.
#include <cctype>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "proto_defs/base/status_macros.h"
#include "tests/conformance/check.h"
#include "tests/conformance/server/server_check.h"
#include "tests/conformance/server/server_traits.h"
#include "tests/conformance/server/server_under_test.h"
#include "tests/conformance/server/suite.h"
#include "tests/testing/server_process.h"
#include "tests/testing/tool_run.h"
#include "tools/vfio_user/child_server.h"

namespace vfio_user {
namespace {

// Served by a program of its own; every other device by the tool.
constexpr char kAllParts[] = "all-parts";

absl::StatusOr<ChildServer> StartServing(const std::string& device) {
  if (device != kAllParts) return StartServer(device);
  ChildServer::Options options;
  options.program = ProgramPath("tests/conformance/server/serve_all_parts");
  options.device = device;
  return ChildServer::Start(options);
}

struct Served {
  ChildServer process;
  SuiteOptions options;
  ServerTraits traits;
};

absl::StatusOr<std::unique_ptr<Served>> Serve(const std::string& device) {
  VFIO_USER_ASSIGN_OR_RETURN(ChildServer process, StartServing(device));
  SuiteOptions options = {.socket_path = process.socket_path(),
                          // Machines that build and test other things meanwhile are slow.
                          .patience = absl::Seconds(20),
                          .check_timeout = absl::Seconds(120)};
  VFIO_USER_ASSIGN_OR_RETURN(ServerTraits traits, DiscoverTraits(options));
  return std::make_unique<Served>(
      Served{std::move(process), std::move(options), std::move(traits)});
}

// Which devices a check was skipped for, by its name. A check that is skipped for all of them has
// never been seen to pass, nor to fail.
class SkippedEverywhere : public ::testing::Environment {
 public:
  void Add(const ServerCheck& check, const std::string& device) {
    devices_[std::string(check.name)].insert(device);
  }

  void TearDown() override {
    for (const auto& [check, devices] : devices_) {
      if (devices.size() == kDevices) ADD_FAILURE() << check << " is skipped for every device";
    }
  }

  static constexpr size_t kDevices = 4;

 private:
  std::map<std::string, std::set<std::string>> devices_;
};

SkippedEverywhere& skipped_everywhere() {
  static auto& environment =
      *static_cast<SkippedEverywhere*>(::testing::AddGlobalTestEnvironment(new SkippedEverywhere));
  return environment;
}

// One server for all checks of a device: what one leaves behind another one finds.
class InTreeTest : public ::testing::TestWithParam<std::pair<std::string, ServerCheck>> {
 protected:
  static void TearDownTestSuite() { servers().clear(); }

  static std::map<std::string, std::unique_ptr<Served>>& servers() {
    static auto& map = *new std::map<std::string, std::unique_ptr<Served>>;
    return map;
  }

  static Served* Server(const std::string& device) {
    std::unique_ptr<Served>& server = servers()[device];
    if (server == nullptr) {
      absl::StatusOr<std::unique_ptr<Served>> started = Serve(device);
      if (!started.ok()) {
        ADD_FAILURE() << started.status();
        return nullptr;
      }
      server = *std::move(started);
    }
    return server.get();
  }
};

TEST_P(InTreeTest, Passes) {
  const auto& [device, check] = GetParam();
  Served* const server = Server(device);
  ASSERT_NE(server, nullptr);

  const ServerCheckResult result = RunCheck(check, server->options, server->traits);

  if (result.outcome.kind == CheckOutcome::Kind::kSkipped) {
    skipped_everywhere().Add(check, device);
    GTEST_SKIP() << result.outcome.words;
  }
  EXPECT_EQ(result.outcome.kind, CheckOutcome::Kind::kPassed) << result.outcome.words;
  // Legal and still worth a word: not in this tree.
  EXPECT_EQ(result.remark, "");
}

std::vector<std::pair<std::string, ServerCheck>> EveryCheckOf(const std::string& device) {
  std::vector<std::pair<std::string, ServerCheck>> all;
  for (const ServerCheck& check : ServerChecks()) all.emplace_back(device, check);
  return all;
}

std::string TestName(const ::testing::TestParamInfo<std::pair<std::string, ServerCheck>>& info) {
  std::string name(info.param.second.name);
  for (char& c : name) {
    if (std::isalnum(static_cast<unsigned char>(c)) == 0) c = '_';
  }
  return name;
}

INSTANTIATE_TEST_SUITE_P(Null, InTreeTest, ::testing::ValuesIn(EveryCheckOf("null")), TestName);
INSTANTIATE_TEST_SUITE_P(Edu, InTreeTest, ::testing::ValuesIn(EveryCheckOf("edu")), TestName);
INSTANTIATE_TEST_SUITE_P(DmaCopy, InTreeTest, ::testing::ValuesIn(EveryCheckOf("dma-copy")),
                         TestName);
INSTANTIATE_TEST_SUITE_P(AllParts, InTreeTest, ::testing::ValuesIn(EveryCheckOf(kAllParts)),
                         TestName);

}  // namespace
}  // namespace vfio_user
