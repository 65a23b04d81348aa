// vfio-user copy: a file through a dma-copy device.
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/client.h"
#include "client/client_options.h"
#include "fmt/format.h"
#include "proto_defs/base/status_macros.h"
#include "tools/vfio_user/arguments.h"
#include "tools/vfio_user/byte_text.h"
#include "tools/vfio_user/exit_code.h"
#include "tools/vfio_user/file_copy.h"
#include "tools/vfio_user/input_file.h"
#include "tools/vfio_user/output_file.h"
#include "tools/vfio_user/progress_bar.h"
#include "tools/vfio_user/stop_signals.h"
#include "tools/vfio_user/subcommand.h"

namespace vfio_user {
namespace {

constexpr char kExamples[] =
    "The file is read into memory from malloc (a memfd for mmap) that the device\n"
    "copies to other such memory, from where it is written. FILE appears under its\n"
    "name only when it is complete.\n"
    "Examples:\n"
    "  vfio-user copy /tmp/copy.sock --in disk.img --out copy.img\n"
    "  vfio-user copy /tmp/copy.sock --in disk.img --out copy.img --path message";

struct Arguments {
  std::string socket_path;
  std::string in;
  std::string out;
  DmaPath path = DmaPath::kAuto;
};

// The output is another file and replaces nothing before the end, so that this could work; but
// whoever asks for it means something else.
absl::Status CheckNotTheSame(const InputFile& input, const std::string& out) {
  struct stat stat = {};
  if (::stat(out.c_str(), &stat) != 0 || !S_ISREG(stat.st_mode) ||
      stat.st_dev != input.stat().st_dev || stat.st_ino != input.stat().st_ino) {
    return absl::OkStatus();
  }
  return UsageError(
      fmt::format("{} and {} are the same file; name another one to write", input.path(), out));
}

// A copy that ended after `bytes`: how far it was, or whose connection broke and what remains to be
// done.
absl::Status ExplainEnd(const absl::Status& status, uint64_t bytes,
                        const std::string& socket_path) {
  if (absl::IsCancelled(status)) {
    return absl::CancelledError(
        fmt::format("{} after {}", std::string(status.message()), ByteText(bytes)));
  }
  // A server may also stop within a message.
  if (!absl::IsUnavailable(status) && !absl::IsDataLoss(status)) return status;
  return absl::UnavailableError(fmt::format("{}: lost the server: {}; start it and the copy again",
                                            socket_path, std::string(status.message())));
}

absl::Status Copy(const Arguments& arguments) {
  VFIO_USER_ASSIGN_OR_RETURN(InputFile input, InputFile::Open(arguments.in));
  VFIO_USER_RETURN_IF_ERROR(CheckNotTheSame(input, arguments.out));
  VFIO_USER_ASSIGN_OR_RETURN(OutputFile output, OutputFile::Create(arguments.out));
  // Not before: to open a pipe waits for whoever is at its other end.
  VFIO_USER_ASSIGN_OR_RETURN(const StopSignals stop, StopSignals::Block());
  input.StopAt(stop);
  output.StopAt(stop);
  VFIO_USER_ASSIGN_OR_RETURN(const Client client, Client::Connect(arguments.socket_path));

  const CopyBuffering buffering = CopyBuffering::For(input.size_hint());
  VFIO_USER_ASSIGN_OR_RETURN(FileCopy copy, FileCopy::Prepare(client, buffering, arguments.path));
  fmt::print(stderr, "buffering {} in {}, {} at a time\n", ByteText(buffering.total_bytes()),
             DmaBuffer::MemoryName(arguments.path), ByteText(buffering.slot_bytes));

  const auto start = std::chrono::steady_clock::now();
  uint64_t bytes = 0;
  absl::Status copied;
  {
    ProgressBar bar(STDERR_FILENO, input.size_hint());
    copied = copy.Run(input, output,
                      [&](uint64_t done) {
                        bytes = done;
                        bar.Update(done);
                        return stop.Check();
                      })
                 .status();
  }
  VFIO_USER_RETURN_IF_ERROR(ExplainEnd(copied, bytes, arguments.socket_path));
  VFIO_USER_RETURN_IF_ERROR(output.Commit());
  const absl::Duration elapsed = absl::FromChrono(std::chrono::steady_clock::now() - start);
  fmt::print(stderr, "copied {} by {} in {:.2f} s, {}\n", ByteText(bytes), DmaPathName(copy.path()),
             absl::ToDoubleSeconds(elapsed), RateText(bytes, elapsed));
  return absl::OkStatus();
}

}  // namespace

Action AddCopy(CLI::App& app) {
  const auto arguments = std::make_shared<Arguments>();
  AddSocketPath(app, arguments->socket_path);
  app.add_option("--in", arguments->in, "the file to read")->required()->type_name("FILE");
  app.add_option("--out", arguments->out, "the file to write; one that is there is replaced")
      ->required()
      ->type_name("FILE");
  AddDmaPath(app, arguments->path);
  app.footer(kExamples);
  return [arguments] { return Copy(*arguments); };
}

}  // namespace vfio_user
