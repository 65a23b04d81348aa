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

absl::StatusOr<std::vector<std::byte>> LoadData(const Arguments& arguments) {
  if (arguments.size == 0) return UsageError("--size is 0, want at least 1; give one like 64M");
  if (arguments.file.empty()) return PseudoRandomBytes(arguments.size);
  VFIO_USER_ASSIGN_OR_RETURN(InputFile file, InputFile::Open(arguments.file));
  return file.ReadAll();
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

absl::StatusOr<std::vector<RoundTrip>> RunPaths(const Arguments& arguments,
                                                const std::vector<std::byte>& data,
                                                const StopSignals& stop) {
  VFIO_USER_ASSIGN_OR_RETURN(ChildServer server, ChildServer::Start({}));
  fmt::print(stderr,
             "A second process (pid {}) serves a dma-copy device. It moves {} out of this "
             "process's memory and\nback into another buffer of it, where every byte is compared; "
             "once for each path.\n",
             server.process().pid(), ByteText(data.size()));
  VFIO_USER_ASSIGN_OR_RETURN(const Client client, Client::Connect(server.socket_path()));
  std::vector<RoundTrip> results;
  for (const DmaPath path : {DmaPath::kFileIo, DmaPath::kMmap, DmaPath::kMessage}) {
    if (arguments.path.value_or(path) != path) continue;
    VFIO_USER_ASSIGN_OR_RETURN(const RoundTrip result,
                               RunRoundTrip(client, data, path, [&] { return stop.Check(); }));
    results.push_back(result);
  }
  VFIO_USER_RETURN_IF_ERROR(server.Stop());
  return results;
}

absl::Status Demo(const Arguments& arguments) {
  VFIO_USER_ASSIGN_OR_RETURN(const std::vector<std::byte> data, LoadData(arguments));
  VFIO_USER_ASSIGN_OR_RETURN(const StopSignals stop, StopSignals::Block());
  VFIO_USER_ASSIGN_OR_RETURN(const std::vector<RoundTrip> results, RunPaths(arguments, data, stop));
  if (arguments.json) {
    PrintJson(results);
  } else {
    PrintTable(results);
  }
  for (const RoundTrip& result : results) {
    if (result.verified) continue;
    return absl::DataLossError(fmt::format("the bytes came back changed by {}; please report this",
                                           DmaPathName(result.path)));
  }
  return absl::OkStatus();
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
