// vfio-user conformance: how a server keeps to the protocol.
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/client.h"
#include "fmt/format.h"
#include "nlohmann/json.hpp"
#include "proto_defs/base/errno_status.h"
#include "proto_defs/base/status_macros.h"
#include "tests/conformance/check.h"
#include "tests/conformance/server/server_check.h"
#include "tests/conformance/server/server_traits.h"
#include "tests/conformance/server/server_under_test.h"
#include "tests/conformance/server/suite.h"
#include "tools/vfio_user/arguments.h"
#include "tools/vfio_user/exit_code.h"
#include "tools/vfio_user/stop_signals.h"
#include "tools/vfio_user/subcommand.h"

namespace vfio_user {
namespace {

constexpr char kExamples[] =
    "Each check connects anew, so the server has to take one client after another; it\n"
    "gets requests that no client sends, and its device is reset. Not for a server\n"
    "that is in use.\n"
    "  required     the specification says so\n"
    "  recommended  the specification leaves it open; keeps bad clients harmless\n"
    "  peer quirk   what clients that are in use need beside the specification\n"
    "A check that does not apply to the device is skipped, and says why. Exit code 1\n"
    "when a required one fails. A signal ends it after the check under way, a second\n"
    "one at once.\n"
    "Examples:\n"
    "  vfio-user conformance --list\n"
    "  vfio-user conformance /tmp/copy.sock\n"
    "  vfio-user conformance /tmp/copy.sock --only dma-map/ --json";

using Json = nlohmann::ordered_json;
using Kind = CheckOutcome::Kind;

struct Arguments {
  std::string socket_path;
  std::string only;
  uint64_t timeout_s = 5;
  bool list = false;
  bool json = false;
};

struct Line {
  ServerCheck check;
  ServerCheckResult result;
};

struct SuiteRun {
  std::vector<Line> lines;
  std::string gone;    // Since when and why the server takes no client; empty while it does.
  size_t not_run = 0;  // Because a signal came.
};

std::string_view KindName(Kind kind) {
  switch (kind) {
    case Kind::kPassed:
      return "pass";
    case Kind::kFailed:
      return "fail";
    case Kind::kSkipped:
      return "skip";
  }
  return "unknown";
}

// Why it failed or was skipped, or what is worth a word although it passed.
const std::string& Words(const ServerCheckResult& result) {
  return result.outcome.kind == Kind::kPassed ? result.remark : result.outcome.words;
}

std::string Text(const Line& line) {
  const std::string& words = Words(line.result);
  const std::string reason = words.empty() ? "" : ": " + words;
  return fmt::format("{}  {:<11}  {}{}\n", KindName(line.result.outcome.kind),
                     RequirementName(line.check.requirement), line.check.name, reason);
}

size_t Count(const std::vector<Line>& lines, Kind kind) {
  return static_cast<size_t>(std::ranges::count_if(
      lines, [&](const Line& line) { return line.result.outcome.kind == kind; }));
}

size_t RequiredFailures(const std::vector<Line>& lines) {
  return static_cast<size_t>(std::ranges::count_if(lines, [](const Line& line) {
    return line.result.outcome.kind == Kind::kFailed &&
           line.check.requirement == Requirement::kRequired;
  }));
}

std::string Summary(const std::vector<Line>& lines) {
  return fmt::format("{} checks: {} passed, {} failed ({} of them required), {} skipped\n",
                     lines.size(), Count(lines, Kind::kPassed), Count(lines, Kind::kFailed),
                     RequiredFailures(lines), Count(lines, Kind::kSkipped));
}

Json Report(const SuiteRun& run) {
  const std::vector<Line>& lines = run.lines;
  Json checks = Json::array();
  for (const Line& line : lines) {
    checks.push_back({{"name", line.check.name},
                      {"section", line.check.section},
                      {"requirement", RequirementName(line.check.requirement)},
                      {"outcome", KindName(line.result.outcome.kind)},
                      {"words", Words(line.result)},
                      {"seconds", absl::ToDoubleSeconds(line.result.took)}});
  }
  return {{"checks", checks},
          {"passed", Count(lines, Kind::kPassed)},
          {"failed", Count(lines, Kind::kFailed)},
          {"required_failed", RequiredFailures(lines)},
          {"skipped", Count(lines, Kind::kSkipped)},
          {"not_run", run.not_run}};
}

absl::Status List(const std::vector<ServerCheck>& checks, const Arguments& arguments) {
  if (arguments.json) {
    Json all = Json::array();
    for (const ServerCheck& check : checks) {
      all.push_back({{"name", check.name},
                     {"section", check.section},
                     {"requirement", RequirementName(check.requirement)}});
    }
    fmt::print("{}\n", all.dump(2));
    return absl::OkStatus();
  }
  for (const ServerCheck& check : checks) {
    fmt::print("{:<11}  {}  [{}]\n", RequirementName(check.requirement), check.name, check.section);
  }
  return absl::OkStatus();
}

// Why the server takes no client, if it does not, after `check`.
std::string GoneSince(const ServerCheck& check, const SuiteOptions& options) {
  const absl::Status serves = StillServes(options);
  if (serves.ok()) return "";
  return fmt::format("since {} the server takes no client ({})", check.name,
                     std::string(serves.message()));
}

// Not one of the suite, which ends with it when a check has killed the server.
Line LostServer(const std::string& gone) {
  return {{"server/outlives-the-checks", "no client may end the server", Requirement::kRequired,
           nullptr},
          {CheckOutcome::Failed(gone), "", absl::ZeroDuration()}};
}

// A line as soon as it is known. A server that a check has killed is not asked any more.
SuiteRun RunAll(const std::vector<ServerCheck>& checks, const SuiteOptions& options,
                const ServerTraits& traits, std::FILE* talk) {
  SuiteRun run;
  const auto add = [&](const Line& line) {
    fmt::print(talk, "{}", Text(line));
    (void)std::fflush(talk);
    run.lines.push_back(line);
  };
  for (const ServerCheck& check : checks) {
    if (!run.gone.empty()) {
      add({check, {CheckOutcome::Skipped("not run: " + run.gone), "", absl::ZeroDuration()}});
      continue;
    }
    const Line line = {check, RunCheck(check, options, traits)};
    // The one under way counts as not run: it may have failed of the signal.
    if (StopSignalThatCame() != 0) {
      run.not_run = checks.size() - run.lines.size();
      break;
    }
    add(line);
    const bool suspect =
        line.result.outcome.kind == Kind::kFailed || run.lines.size() == checks.size();
    if (suspect) run.gone = GoneSince(check, options);
  }
  if (!run.gone.empty()) add(LostServer(run.gone));
  return run;
}

absl::Status Judge(const SuiteRun& run) {
  if (run.not_run > 0) {
    return absl::CancelledError(fmt::format("stopped by {}; {} checks were not run",
                                            StopSignalName(StopSignalThatCame()), run.not_run));
  }
  if (!run.gone.empty()) return absl::UnavailableError(run.gone);
  const size_t required = RequiredFailures(run.lines);
  if (required == 0) return absl::OkStatus();
  return absl::FailedPreconditionError(
      fmt::format("{} required checks failed of {}", required, run.lines.size()));
}

absl::Status Conformance(const Arguments& arguments) {
  const std::vector<ServerCheck> checks = ServerChecks(arguments.only);
  if (checks.empty()) {
    return UsageError(
        fmt::format("no check's name starts with \"{}\"; see --list", arguments.only));
  }
  if (arguments.list) return List(checks, arguments);
  if (arguments.socket_path.empty())
    return UsageError("SOCKET is missing; see vfio-user conformance --help");
  if (arguments.timeout_s == 0) return UsageError("--timeout is 0, want at least 1");
  const SuiteOptions options = {.socket_path = arguments.socket_path,
                                .patience = absl::Seconds(arguments.timeout_s),
                                .check_timeout = absl::Seconds(60 + arguments.timeout_s)};
  VFIO_USER_RETURN_IF_ERROR(NoteStopSignals());
  const absl::StatusOr<ServerTraits> traits = DiscoverTraits(options);
  if (!traits.ok()) {
    // A client of the library says best what is wrong with a socket.
    VFIO_USER_RETURN_IF_ERROR(Client::Connect(arguments.socket_path).status());
    return Annotate(traits.status(), arguments.socket_path);
  }
  const SuiteRun run = RunAll(checks, options, *traits, arguments.json ? stderr : stdout);
  if (arguments.json) {
    fmt::print("{}\n", Report(run).dump(2, ' ', false, Json::error_handler_t::replace));
  } else {
    fmt::print("{}", Summary(run.lines));
  }
  return Judge(run);
}

}  // namespace

Action AddConformance(CLI::App& app) {
  const auto arguments = std::make_shared<Arguments>();
  AddSocketPath(app, arguments->socket_path)->required(false);
  app.add_option("--only", arguments->only, "only checks whose name starts so")
      ->type_name("PREFIX");
  AddNumber(app, {"--timeout", "SECONDS", "how long the server may take for one answer; 5"},
            arguments->timeout_s);
  app.add_flag("--list", arguments->list, "print the checks there are, and end");
  app.add_flag("--json", arguments->json, "print JSON; the lines go to stderr");
  app.footer(kExamples);
  return [arguments] { return Conformance(*arguments); };
}

}  // namespace vfio_user
