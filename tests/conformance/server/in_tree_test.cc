// The devices of this tree, each served by a process of its own, against every check; and one that
// is only for tests, so that there is a device for each check. What makes a server faster is off in
// some of these processes, and on in others.
#include <cctype>
#include <compare>
#include <cstddef>
#include <future>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "fmt/format.h"
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

using Tested = std::pair<Setting, ServerCheck>;

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
class InTreeTest : public ::testing::TestWithParam<Tested> {
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

std::vector<Setting> AllSettings() {
  return {{"null"},
          {"edu"},
          {"dma-copy"},
          {kAllParts},
          {"dma-copy", {"--no-process-vm"}},
          {"dma-copy", {"--busy-poll", "200"}},
          {kAllParts, {"--busy-poll", "200"}}};
}

// Those that wait until the server loses its patience, which takes seconds, or all others.
enum class Pace { kSlow, kQuick };

std::vector<Tested> EveryCheckInEverySetting(Pace pace) {
  std::vector<Tested> all;
  for (const Setting& setting : AllSettings()) {
    for (const ServerCheck& check : ServerChecks()) {
      const bool slow = check.name.ends_with("loses-its-turn");
      if (slow == (pace == Pace::kSlow)) all.emplace_back(setting, check);
    }
  }
  return all;
}

std::string NameOf(const Tested& tested) {
  const auto& [setting, check] = tested;
  std::string name = setting.device;
  for (const std::string& argument : setting.arguments) name += argument;
  name += fmt::format("_{}", check.name);
  for (char& c : name) {
    if (std::isalnum(static_cast<unsigned char>(c)) == 0) c = '_';
  }
  return name;
}

INSTANTIATE_TEST_SUITE_P(Devices, InTreeTest,
                         ::testing::ValuesIn(EveryCheckInEverySetting(Pace::kQuick)),
                         [](const auto& tested) { return NameOf(tested.param); });

// All at once, with a server each, since all that they do is wait.
TEST(InTreePatienceTest, EndsInEverySetting) {
  const std::vector<Tested> all = EveryCheckInEverySetting(Pace::kSlow);
  std::vector<std::unique_ptr<Served>> servers;
  for (const auto& [setting, check] : all) {
    absl::StatusOr<std::unique_ptr<Served>> served = Serve(setting);
    ASSERT_TRUE(served.ok()) << served.status();
    servers.push_back(*std::move(served));
  }

  std::vector<std::future<ServerCheckResult>> results;
  for (size_t i = 0; i < all.size(); ++i) {
    results.push_back(std::async(std::launch::async, [&check = all[i].second, &on = *servers[i]] {
      return RunCheck(check, on.options, on.traits);
    }));
  }

  ASSERT_FALSE(all.empty());
  for (size_t i = 0; i < all.size(); ++i) {
    const ServerCheckResult result = results[i].get();
    EXPECT_EQ(result.outcome.kind, CheckOutcome::Kind::kPassed)
        << NameOf(all[i]) << ": " << result.outcome.words;
    EXPECT_EQ(result.remark, "") << NameOf(all[i]);
  }
}

}  // namespace
}  // namespace vfio_user
