#include "tools/vfio_user/command_line.h"

#include <cerrno>
#include <cstdio>
#include <map>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "fmt/format.h"
#include "proto_defs/base/errno_status.h"
#include "tools/vfio_user/exit_code.h"
#include "tools/vfio_user/stop_signals.h"
#include "tools/vfio_user/subcommand.h"

namespace vfio_user {
namespace {

constexpr char kDescription[] =
    "Devices that other processes serve over the vfio-user protocol, used from the\n"
    "command line. Data goes to stdout, everything else to stderr. Numbers may be\n"
    "decimal or 0x... Exit codes:\n"
    "  0        done; for serve: ended by a signal\n"
    "  1        no server is there, or it, its device or the machine refused or broke\n"
    "  2        the command line was wrong, or names a file that cannot be read or a\n"
    "           place where no file, or socket to serve at, can be made\n"
    "  130, 143 stopped by SIGINT or SIGTERM";
// That of MODULE.bazel.
constexpr char kVersion[] = "vfio-user 0.1.0";
constexpr char kExamples[] =
    "Start with:\n"
    "  vfio-user demo\n"
    "  vfio-user serve dma-copy --socket /tmp/copy.sock &\n"
    "  vfio-user info /tmp/copy.sock\n"
    "  vfio-user COMMAND --help";

// What CLI11 says, as a line of ours: lower case, and with the place to look things up behind it
// unless it says what to do already.
absl::Status WrongCommandLine(const CLI::App& app, const CLI::ParseError& error) {
  const std::vector<CLI::App*> selected = app.get_subcommands();
  const std::vector<std::string> unknown = app.remaining();
  if (selected.empty() && !unknown.empty()) {
    return UsageError(fmt::format("no {} is called \"{}\"; see vfio-user --help",
                                  unknown[0].starts_with('-') ? "option" : "command", unknown[0]));
  }
  std::string what = error.what();
  // Not the name of an option or a positional argument.
  if (what.starts_with("The ")) what[0] = 't';
  if (what.find(';') != std::string::npos) return UsageError(what);
  const std::string command = selected.empty() ? "" : selected.front()->get_name() + " ";
  return UsageError(fmt::format("{}; see vfio-user {}--help", what, command));
}

// Output that could not be written (a full disk, a closed pipe) must not look like success.
absl::Status FlushOutput() {
  errno = 0;
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return absl::OkStatus();
  return ErrnoStatus(errno != 0 ? errno : EIO, "cannot write to stdout");
}

absl::Status RunAction(const CLI::App& app, const std::map<std::string, Action>& actions) {
  for (const CLI::App* sub : app.get_subcommands()) {
    absl::Status done = actions.at(sub->get_name())();
    const absl::Status flushed = FlushOutput();
    return done.ok() ? flushed : done;
  }
  return UsageError("a command is missing; see vfio-user --help");
}

// Of what `done` came of, if it did not run to its end.
int ExitCodeOfStop(const absl::Status& done) {
  const int signal = StopSignalThatCame();
  const bool says_so = absl::IsCancelled(done);
  ReportToUser(says_so ? done
                       : Annotate(done, fmt::format("stopped by {}", StopSignalName(signal))));
  return kExitStopped + signal;
}

int ParseAndRun(int argc, const char* const* argv) {
  CLI::App app(kDescription, "vfio-user");
  app.footer(kExamples);
  app.require_subcommand(0, 1);
  app.set_version_flag("--version", kVersion, "print the version, and end");
  std::map<std::string, Action> actions;
  for (const Subcommand& subcommand : Subcommands()) {
    CLI::App* sub = app.add_subcommand(subcommand.name, subcommand.help);
    actions.emplace(subcommand.name, subcommand.add(*sub));
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& help) {
    app.exit(help);
    return ReportToUser(FlushOutput());
  } catch (const CLI::ParseError& error) {
    return ReportToUser(WrongCommandLine(app, error));
  }
  const absl::Status done = RunAction(app, actions);
  return done.ok() || StopSignalThatCame() == 0 ? ReportToUser(done) : ExitCodeOfStop(done);
}

}  // namespace

int RunCommandLine(int argc, const char* const* argv) {
  const absl::Status no_memory =
      absl::ResourceExhaustedError("no memory for this; use less data at a time");
  try {
    return ParseAndRun(argc, argv);
  } catch (const std::bad_alloc&) {
    return ReportToUser(no_memory);
  } catch (const std::length_error&) {
    // More than a vector can ever have, as --size may ask for.
    return ReportToUser(no_memory);
  }
}

}  // namespace vfio_user
