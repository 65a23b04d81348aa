// vfio-user demo: the main job, with the reference server in a second process.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/client.h"
#include "client/client_options.h"
#include "fmt/format.h"
#include "nlohmann/json.hpp"
#include "proto_defs/base/errno_status.h"
#include "proto_defs/base/status_macros.h"
#include "tools/vfio_user/arguments.h"
#include "tools/vfio_user/byte_text.h"
#include "tools/vfio_user/child_server.h"
#include "tools/vfio_user/dma_buffer.h"
#include "tools/vfio_user/exit_code.h"
#include "tools/vfio_user/input_file.h"
#include "tools/vfio_user/round_trip.h"
#include "tools/vfio_user/stop_signals.h"
#include "tools/vfio_user/subcommand.h"

namespace vfio_user {
namespace {

constexpr char kExamples[] =
    "Paths: file-io (the server reads and writes memory from malloc through\n"
    "/proc/self/mem), mmap (it maps a memfd), message (it asks this process for each\n"
    "piece).\n"
    "Examples:\n"
    "  vfio-user demo\n"
    "  vfio-user demo --file /usr/bin/env --path file-io\n"
    "  vfio-user demo --size 1G --json";

struct Arguments {
  std::string file;
  uint64_t size = 64 << 20;
  std::optional<DmaPath> path;  // All of them where it is absent.
  bool json = false;
};

// What was done, and why no more.
struct DemoRun {
  std::vector<RoundTrip> results;
  absl::Status status;
};

absl::StatusOr<std::optional<InputFile>> OpenFile(const Arguments& arguments) {
  if (arguments.size == 0) return UsageError("--size is 0, want at least 1; give one like 64M");
  if (arguments.file.empty()) return std::nullopt;
  VFIO_USER_ASSIGN_OR_RETURN(InputFile file, InputFile::Open(arguments.file));
  return file;
}

absl::StatusOr<std::vector<std::byte>> LoadData(std::optional<InputFile>& file, uint64_t size,
                                                const StopSignals& stop) {
  if (!file) return PseudoRandomBytes(size, [&] { return stop.Check(); });
  file->StopAt(stop);
  return file->ReadAll();
}

void PrintTable(const std::vector<RoundTrip>& results) {
  fmt::print("{:<8}  {:<6}  {:>12}  {:>10}  {:>14}  verified\n", "path", "memory", "bytes", "time",
             "throughput");
  for (const RoundTrip& result : results) {
    fmt::print("{:<8}  {:<6}  {:>12}  {:>8.4f} s  {:>14}  {}\n", DmaPathName(result.path),
               DmaBuffer::MemoryName(result.path), result.bytes,
               absl::ToDoubleSeconds(result.elapsed), RateText(result.bytes, result.elapsed),
               result.verified ? "yes" : "NO");
  }
}

void PrintJson(const std::vector<RoundTrip>& results) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const RoundTrip& result : results) {
    list.push_back({{"path", DmaPathName(result.path)},
                    {"memory", DmaBuffer::MemoryName(result.path)},
                    {"bytes", result.bytes},
                    {"seconds", absl::ToDoubleSeconds(result.elapsed)},
                    {"bytes_per_second", BytesPerSecond(result.bytes, result.elapsed)},
                    {"verified", result.verified}});
  }
  fmt::print("{}\n", list.dump(2));
}

DemoRun RunPaths(const Arguments& arguments, const std::vector<std::byte>& data,
                 const Client& client, const StopSignals& stop) {
  DemoRun run;
  for (const DmaPath path : {DmaPath::kFileIo, DmaPath::kMmap, DmaPath::kMessage}) {
    if (arguments.path.value_or(path) != path) continue;
    const absl::StatusOr<RoundTrip> result =
        RunRoundTrip(client, data, path, [&] { return stop.Check(); });
    run.status = Annotate(result.status(), DmaPathName(path));
    if (!result.ok()) break;
    run.results.push_back(*result);
  }
  return run;
}

absl::StatusOr<DemoRun> RunWithServer(const Arguments& arguments,
                                      const std::vector<std::byte>& data, const StopSignals& stop) {
  VFIO_USER_ASSIGN_OR_RETURN(ChildServer server, ChildServer::Start({}));
  fmt::print(stderr,
             "A second process (pid {}) serves a dma-copy device. It moves {} out of this "
             "process's memory and\nback into another buffer of it, where every byte is compared; "
             "once for each path.\n",
             server.process().pid(), ByteText(data.size()));
  VFIO_USER_ASSIGN_OR_RETURN(const Client client, Client::Connect(server.socket_path()));
  DemoRun run = RunPaths(arguments, data, client, stop);
  run.status.Update(server.Stop());
  return run;
}

absl::Status Demo(const Arguments& arguments) {
  VFIO_USER_ASSIGN_OR_RETURN(std::optional<InputFile> file, OpenFile(arguments));
  // Not before: to open a pipe waits for whoever is at its other end.
  VFIO_USER_ASSIGN_OR_RETURN(const StopSignals stop, StopSignals::Block());
  const absl::StatusOr<std::vector<std::byte>> data = LoadData(file, arguments.size, stop);
  VFIO_USER_RETURN_IF_ERROR(Annotate(data.status(), "getting the bytes to move"));
  VFIO_USER_ASSIGN_OR_RETURN(const DemoRun run, RunWithServer(arguments, *data, stop));
  if (arguments.json) {
    PrintJson(run.results);
  } else if (!run.results.empty()) {
    PrintTable(run.results);
  }
  for (const RoundTrip& result : run.results) {
    if (result.verified) continue;
    return absl::DataLossError(fmt::format("the bytes came back changed by {}; please report this",
                                           DmaPathName(result.path)));
  }
  return run.status;
}

}  // namespace

Action AddDemo(CLI::App& app) {
  const auto arguments = std::make_shared<Arguments>();
  CLI::Option* const file =
      app.add_option("--file", arguments->file, "the bytes to move; generated ones without it")
          ->type_name("FILE");
  AddByteCount(app,
               {"--size", "BYTES",
                "of generated data, with K, M or G for powers of\n1024: 64M (the default)"},
               arguments->size)
      ->excludes(file);
  AddDemoPath(app, arguments->path);
  app.add_flag("--json", arguments->json, "print JSON");
  app.footer(kExamples);
  return [arguments] { return Demo(*arguments); };
}

}  // namespace vfio_user
