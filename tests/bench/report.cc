// Runs benchmark binaries one after the other, and writes what they found: DIR/report.json has all
// of it, DIR/report.html shows it, and DIR/report.md is what docs/performance.md quotes.
#include <fcntl.h>

#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "fmt/format.h"
#include "proto_defs/base/errno_status.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/transport/unique_fd.h"
#include "tests/bench/bench_results.h"
#include "tests/bench/ratio_target.h"
#include "tests/bench/report_contents.h"
#include "tools/report_page/machine.h"
#include "tools/report_page/report_markdown.h"
#include "tools/report_page/report_page.h"
#include "tools/vfio_user/child_process.h"

namespace vfio_user {
namespace {

namespace fs = std::filesystem;

constexpr absl::Duration kPatience = absl::Hours(1);  // With one binary.

struct Arguments {
  std::string out;
  std::vector<std::string> binaries;
  std::string repetitions;
  std::string min_time;
};

std::string ReadFile(const fs::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

absl::Status WriteFile(const fs::path& path, const std::string& text) {
  std::ofstream file(path);
  file << text << std::flush;
  if (file) return absl::OkStatus();
  return absl::UnavailableError(fmt::format("cannot write {}", path.string()));
}

// `bazel run` starts programs elsewhere than where it was called.
fs::path OutputDirectory(const std::string& out) {
  const char* called_from = std::getenv("BUILD_WORKING_DIRECTORY");
  return called_from != nullptr ? fs::path(called_from) / out : fs::path(out);
}

// Where results go, and what the binaries print.
struct Output {
  fs::path directory;
  UniqueFd log;
};

absl::StatusOr<BinaryResults> RunBinary(const std::string& binary, const Arguments& arguments,
                                        const Output& output) {
  const std::string name = fs::path(binary).filename();
  const fs::path json = output.directory / (name + ".json");
  std::vector<std::string> flags = {"--benchmark_out=" + json.string(),
                                    "--benchmark_out_format=json"};
  if (!arguments.repetitions.empty()) {
    flags.push_back("--benchmark_repetitions=" + arguments.repetitions);
  }
  if (!arguments.min_time.empty()) flags.push_back("--benchmark_min_time=" + arguments.min_time);
  VFIO_USER_ASSIGN_OR_RETURN(
      ChildProcess process,
      ChildProcess::Spawn(fs::absolute(binary), flags, {-1, output.log.get(), output.log.get()}));
  VFIO_USER_ASSIGN_OR_RETURN(const ProcessEnd end, process.Wait(kPatience));
  if (end.exit_code != 0) {
    return absl::UnavailableError(
        fmt::format("{} ended with exit code {}; see report.log", name, end.exit_code));
  }
  absl::StatusOr<BinaryResults> results = ParseBenchResults(name, ReadFile(json));
  fs::remove(json);
  return results;
}

std::string TargetsReached(const BinaryResults& results) {
  int reached = 0;
  int all = 0;
  for (const TargetResult& target : results.targets) {
    if (BoundsText(target.target).empty()) continue;
    ++all;
    if (target.reached()) ++reached;
  }
  return fmt::format("{} of {} targets reached", reached, all);
}

absl::Status WriteAll(const fs::path& directory, const Machine& machine,
                      const std::vector<BinaryResults>& all) {
  VFIO_USER_RETURN_IF_ERROR(
      WriteFile(directory / "report.json", ReportContentsJson(machine, all).dump(2) + "\n"));
  VFIO_USER_RETURN_IF_ERROR(
      WriteFile(directory / "report.html", RenderHtml(ReportContentsPage(machine, all))));
  VFIO_USER_RETURN_IF_ERROR(
      WriteFile(directory / "report.md", RenderMarkdown(ReportContentsSummary(machine, all))));
  fmt::print(stderr, "wrote report.json, report.html and report.md to {}\n", directory.string());
  return absl::OkStatus();
}

absl::Status Report(const Arguments& arguments) {
  const Machine machine = DescribeMachine();
  const fs::path directory = OutputDirectory(arguments.out);
  std::error_code error;
  fs::create_directories(directory, error);
  if (error) return absl::UnavailableError(fmt::format("{}: {}", arguments.out, error.message()));
  const Output output = {
      directory, UniqueFd(::open((directory / "report.log").c_str(),
                                 O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0666))};
  if (!output.log.valid()) return ErrnoStatus(errno, "report.log");
  std::vector<BinaryResults> all;
  const absl::Time start = absl::Now();
  // What the others found is not lost with it.
  absl::Status failed;
  size_t next = 0;
  for (const std::string& binary : arguments.binaries) {
    fmt::print(stderr, "== {} of {}, after {:.0f} s: {}\n", ++next, arguments.binaries.size(),
               absl::ToDoubleSeconds(absl::Now() - start), binary);
    absl::StatusOr<BinaryResults> results = RunBinary(binary, arguments, output);
    if (!results.ok()) {
      fmt::print(stderr, "   {}\n", std::string(results.status().message()));
      failed = results.status();
      continue;
    }
    fmt::print(stderr, "   {}\n", TargetsReached(*results));
    all.push_back(*std::move(results));
  }
  VFIO_USER_RETURN_IF_ERROR(WriteAll(directory, machine, all));
  return failed;
}

int Run(int argc, char** argv) {
  CLI::App app("Runs all benchmarks, and writes report.json, report.html and report.md.");
  Arguments arguments;
  app.add_option("--out", arguments.out, "the directory to write to")->required()->type_name("DIR");
  app.add_option("--repetitions", arguments.repetitions, "of each benchmark instead of its own");
  app.add_option("--min-time", arguments.min_time, "of each repetition, in seconds");
  app.add_option("BINARY", arguments.binaries, "the benchmarks' binaries")->required();
  CLI11_PARSE(app, argc, argv);
  const absl::Status status = Report(arguments);
  if (status.ok()) return 0;
  fmt::print(stderr, "report: {}\n", std::string(status.message()));
  return 1;
}

}  // namespace
}  // namespace vfio_user

int main(int argc, char** argv) { return vfio_user::Run(argc, argv); }
