// The devices of this tree, each served by a process of its own, against every check; and one that
// is only for tests, so that there is a device for each check. What makes a server faster is off in
// some of these processes, and on in others.
#include <cctype>
#include <compare>
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

struct Setting {
  std::string device;
  std::vector<std::string> arguments = {};  // Of `serve`.

  auto operator<=>(const Setting&) const = default;
};

absl::StatusOr<ChildServer> StartServing(const Setting& setting) {
  if (setting.device != kAllParts) return StartServer(setting.device, setting.arguments);
  ChildServer::Options options;
  options.program = ProgramPath("tests/conformance/server/serve_all_parts");
  options.device = setting.device;
  options.arguments = setting.arguments;
  return ChildServer::Start(options);
}

struct Served {
  ChildServer process;
  SuiteOptions options;
  ServerTraits traits;
};

absl::StatusOr<std::unique_ptr<Served>> Serve(const Setting& setting) {
  VFIO_USER_ASSIGN_OR_RETURN(ChildServer process, StartServing(setting));
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

// One server for all checks in a setting: what one leaves behind another one finds.
class InTreeTest : public ::testing::TestWithParam<std::pair<Setting, ServerCheck>> {
 protected:
  static void TearDownTestSuite() { servers().clear(); }

  static std::map<Setting, std::unique_ptr<Served>>& servers() {
    static auto& map = *new std::map<Setting, std::unique_ptr<Served>>;
    return map;
  }

  static Served* Server(const Setting& setting) {
    std::unique_ptr<Served>& server = servers()[setting];
    if (server == nullptr) {
      absl::StatusOr<std::unique_ptr<Served>> started = Serve(setting);
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
  const auto& [setting, check] = GetParam();
  Served* const server = Server(setting);
  ASSERT_NE(server, nullptr);

  const ServerCheckResult result = RunCheck(check, server->options, server->traits);

  if (result.outcome.kind == CheckOutcome::Kind::kSkipped) {
    skipped_everywhere().Add(check, setting.device);
    GTEST_SKIP() << result.outcome.words;
  }
  EXPECT_EQ(result.outcome.kind, CheckOutcome::Kind::kPassed) << result.outcome.words;
  // Legal and still worth a word: not in this tree.
  EXPECT_EQ(result.remark, "");
}

std::vector<std::pair<Setting, ServerCheck>> EveryCheckIn(const Setting& setting) {
  std::vector<std::pair<Setting, ServerCheck>> all;
  for (const ServerCheck& check : ServerChecks()) all.emplace_back(setting, check);
  return all;
}

// Those that do not wait until the server loses its patience, which has nothing to do with its
// device.
std::vector<std::pair<Setting, ServerCheck>> QuickChecksIn(const Setting& setting) {
  std::vector<std::pair<Setting, ServerCheck>> quick = EveryCheckIn(setting);
  std::erase_if(quick,
                [](const auto& tested) { return tested.second.name.ends_with("loses-its-turn"); });
  return quick;
}

std::string TestName(const ::testing::TestParamInfo<std::pair<Setting, ServerCheck>>& info) {
  std::string name(info.param.second.name);
  for (char& c : name) {
    if (std::isalnum(static_cast<unsigned char>(c)) == 0) c = '_';
  }
  return name;
}

INSTANTIATE_TEST_SUITE_P(Null, InTreeTest, ::testing::ValuesIn(EveryCheckIn({"null"})), TestName);
INSTANTIATE_TEST_SUITE_P(Edu, InTreeTest, ::testing::ValuesIn(QuickChecksIn({"edu"})), TestName);
INSTANTIATE_TEST_SUITE_P(DmaCopy, InTreeTest, ::testing::ValuesIn(QuickChecksIn({"dma-copy"})),
                         TestName);
INSTANTIATE_TEST_SUITE_P(AllParts, InTreeTest, ::testing::ValuesIn(QuickChecksIn({kAllParts})),
                         TestName);

INSTANTIATE_TEST_SUITE_P(DmaCopyByDescriptor, InTreeTest,
                         ::testing::ValuesIn(QuickChecksIn({"dma-copy", {"--no-process-vm"}})),
                         TestName);
INSTANTIATE_TEST_SUITE_P(DmaCopySpinning, InTreeTest,
                         ::testing::ValuesIn(QuickChecksIn({"dma-copy", {"--busy-poll", "200"}})),
                         TestName);
INSTANTIATE_TEST_SUITE_P(AllPartsSpinning, InTreeTest,
                         ::testing::ValuesIn(QuickChecksIn({kAllParts, {"--busy-poll", "200"}})),
                         TestName);

}  // namespace
}  // namespace vfio_user
