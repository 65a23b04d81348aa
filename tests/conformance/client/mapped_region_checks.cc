#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fmt/format.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/transport/unique_fd.h"
#include "proto_defs/wire/command.h"
#include "proto_defs/wire/device_info.h"
#include "proto_defs/wire/region_info.h"
#include "tests/conformance/check.h"
#include "tests/conformance/client/client_check.h"
#include "tests/conformance/client/client_under_test.h"
#include "tests/conformance/client/device_memory_checks.h"
#include "tests/conformance/client/model_device.h"
#include "tests/conformance/client/reply_body.h"
#include "tests/conformance/client/scripted_server.h"
#include "tests/conformance/client/stage.h"
#include "tests/testing/memfd.h"
#include "tests/testing/scripted_peer.h"

namespace vfio_user {
namespace {

constexpr uint32_t kRegionBytes = ModelDevice::kBar2Bytes;
constexpr uint32_t kPlain = 1 | 2 | 4;  // Read, write, map.
constexpr uint32_t kCaps = kPlain | 8;
// What a read gives by message, and through the file.
constexpr uint32_t kByMessage = 0x01010101 * ModelDevice::kBar2Byte;
constexpr uint32_t kByFile = 0x46464646;

UniqueFd File(size_t bytes) { return Memfd(std::string(bytes, 'F')); }

// Memory that the server cannot take away, so that a client may trust it to be there.
UniqueFd SealedFile(size_t bytes) {
  UniqueFd file(::memfd_create("sealed", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  const std::string content(bytes, 'F');
  (void)!::write(file.get(), content.data(), content.size());
  (void)::fcntl(file.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW);
  return file;
}

UniqueFd Reopened(int flags) {
  const UniqueFd file = File(kRegionBytes);
  return UniqueFd(::open(fmt::format("/proc/self/fd/{}", file.get()).c_str(), flags | O_CLOEXEC));
}

UniqueFd Pipe() {
  int ends[2] = {-1, -1};
  if (::pipe2(ends, O_CLOEXEC) != 0) return UniqueFd();
  ::close(ends[1]);
  return UniqueFd(ends[0]);
}

std::vector<uint8_t> Whole(uint64_t file_offset = 0) {
  return Body().U32(32).U32(kPlain).U32(2).U32(0).U64(kRegionBytes).U64(file_offset).bytes();
}

std::vector<uint8_t> Area(uint64_t offset, uint64_t size) {
  return Body()
      .U32(64)
      .U32(kCaps)
      .U32(2)
      .U32(32)
      .U64(kRegionBytes)
      .U64(0)
      .U16(1)
      .U16(1)
      .U32(0)
      .U32(1)
      .U32(0)
      .U64(offset)
      .U64(size)
      .bytes();
}

struct Offer {
  std::string_view name;
  std::string_view expects;
  UniqueFd (*file)();
  std::vector<uint8_t> body = Whole();
  size_t fds = 1;
  // What a read at 0x1100 gives; either is right without.
  std::optional<uint32_t> value = kByMessage;
};

constexpr std::string_view kFallsBack = "A region that cannot be mapped is reached by messages.";
constexpr std::string_view kMapped = "A region is reached through its file.";

std::vector<Offer> Offers() {
  return {
      {"a-file", kMapped, [] { return File(kRegionBytes); }, Whole(), 1, kByFile},
      {"a-file-five-times", kMapped, [] { return File(kRegionBytes); }, Whole(), 5, std::nullopt},
      {"an-area", kMapped, [] { return File(kRegionBytes); }, Area(0x1000, 0x1000), 1, kByFile},
      {"another-area", kFallsBack, [] { return File(kRegionBytes); }, Area(0x2000, 0x1000)},
      {"nothing", kFallsBack, [] { return UniqueFd(); }, Whole(), 0},
      {"an-eventfd", kFallsBack, [] { return UniqueFd(::eventfd(0, EFD_CLOEXEC)); }},
      {"a-pipe", kFallsBack, Pipe},
      {"a-directory", kFallsBack, [] { return UniqueFd(::open("/", O_RDONLY | O_CLOEXEC)); }},
      {"dev-null", kFallsBack, [] { return UniqueFd(::open("/dev/null", O_RDWR | O_CLOEXEC)); }},
      {"an-empty-file", "Memory that is not there kills nobody.", [] { return File(0); }},
      {"a-file-too-short", "Memory that is not there kills nobody.", [] { return File(0x1000); }},
      {"a-sealed-file", kMapped, [] { return SealedFile(kRegionBytes); }, Whole(), 1, kByFile},
      {"a-sealed-file-too-short", "Memory that is not there kills nobody.",
       [] { return SealedFile(0x1000); }},
      {"a-file-to-read-only", kFallsBack, [] { return Reopened(O_RDONLY); }, Whole(), 1,
       std::nullopt},
      {"a-file-to-write-only", kFallsBack, [] { return Reopened(O_WRONLY); }},
      {"a-file-at-an-odd-offset", kFallsBack, [] { return File(2 * kRegionBytes); }, Whole(0x123)},
      {"a-file-beyond-its-end", kFallsBack, [] { return File(kRegionBytes); },
       Whole(16 * kRegionBytes)},
      {"a-file-at-2-to-the-63", kFallsBack, [] { return File(kRegionBytes); }, Whole(1ULL << 63)},
      {"an-odd-area", kFallsBack, [] { return File(kRegionBytes); }, Area(0x1123, 0x45), 1,
       std::nullopt},
  };
}

// The description of BAR 2, as far as argsz allows, with the file where it is whole.
AnswerScript Describe(const std::vector<uint8_t>& body, const std::vector<FdView>& fds) {
  return [body, fds](Exchange& exchange) -> absl::Status {
    VFIO_USER_ASSIGN_OR_RETURN(const RegionInfoRequest asked,
                               RegionInfoRequest::Parse(exchange.request().body));
    if (asked.index != RegionIndex::kBar2) return exchange.AnswerWell();
    if (asked.argsz >= body.size()) return exchange.main().Reply(exchange.header(), body, fds);
    return exchange.main().Reply(exchange.header(), Body()
                                                        .U32(static_cast<uint32_t>(body.size()))
                                                        .U32(kPlain)
                                                        .U32(2)
                                                        .U32(0)
                                                        .U64(kRegionBytes)
                                                        .U64(0)
                                                        .bytes());
  };
}

void OfferTwice(Stage& stage, const std::vector<uint8_t>& body, const std::vector<FdView>& fds) {
  for (int i = 0; i < 2; ++i) {
    (void)stage.server().Next(Command::kDeviceGetRegionInfo, Describe(body, fds));
  }
}

absl::Status Run(Stage& stage, const Offer& offer) {
  const UniqueFd file = offer.file();
  const int before = stage.adapter().OpenDescriptors();
  OfferTwice(stage, offer.body, std::vector<FdView>(offer.fds, file));
  for (const uint64_t offset : {0x1100U, 0x1ffeU, 0x3ffcU}) {
    const absl::StatusOr<uint32_t> value = stage.client().ReadMappable(offset);
    VFIO_USER_RETURN_IF_ERROR(
        Want(fmt::format("a read at {:#x}", offset), value.status(), {absl::StatusCode::kOk}));
    if (offset == 0x1100 && offer.value && *value != *offer.value) {
      return Wrong(
          fmt::format("a read at {:#x} gives {:#x}, want {:#x}", offset, *value, *offer.value));
    }
  }
  VFIO_USER_RETURN_IF_ERROR(stage.CheckWorks());
  const int after = stage.adapter().OpenDescriptors();
  // One of them may be kept.
  if (after <= before + 1) return absl::OkStatus();
  return Wrong(fmt::format("{} descriptors are open, {} before", after, before));
}

// The server takes away what is mapped.
absl::Status RunTruncated(Stage& stage) {
  const UniqueFd file = File(kRegionBytes);
  OfferTwice(stage, Whole(), {file});
  VFIO_USER_ASSIGN_OR_RETURN(const uint32_t value, stage.client().ReadMappable(0x1100));
  if (value != kByFile) return Wrong("the region is not mapped");
  if (::ftruncate(file.get(), 0) != 0) return Wrong("the file cannot be cut");
  // What a read gives then is open, but that it returns.
  (void)stage.client().ReadMappable(0x1100);
  return stage.CheckWorks();
}

ClientCheck CheckOf(std::string_view name, std::string_view expects) {
  ClientCheck check;
  check.description = {.name = fmt::format("mapped-region/{}", name),
                       .section = "VFIO_USER_DEVICE_GET_REGION_INFO",
                       .expects = std::string(expects)};
  check.needs = {ClientAbility::kMappedRegions};
  return check;
}

}  // namespace

std::vector<ClientCheck> MappedRegionChecks() {
  std::vector<ClientCheck> checks;
  for (const Offer& offer : Offers()) {
    ClientCheck check = CheckOf(offer.name, offer.expects);
    check.run = [offer](Stage& stage) { return Run(stage, offer); };
    checks.push_back(std::move(check));
  }
  checks.push_back(CheckOf("cut-off-later", "Memory that is taken away kills nobody."));
  checks.back().run = RunTruncated;
  return checks;
}

}  // namespace vfio_user
