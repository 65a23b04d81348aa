#include "tests/conformance/client/info_checks.h"

#include <cstdint>
#include <functional>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "proto_defs/wire/command.h"
#include "proto_defs/wire/device_info.h"
#include "tests/conformance/client/client_under_test.h"
#include "tests/conformance/client/reply_body.h"
#include "tests/conformance/client/stage.h"

namespace vfio_user {
namespace {

using absl::StatusCode;
using Bytes = std::vector<uint8_t>;

absl::Status AskDevice(Stage& stage) { return stage.client().GetDeviceInfo().status(); }
// Region 7: BAR 0 is for what comes afterwards.
absl::Status AskRegion(Stage& stage) {
  return stage.client().GetRegionInfo(RegionIndex::kConfig).status();
}
absl::Status AskIrq(Stage& stage) { return stage.client().GetIrqInfo(IrqIndex::kMsix).status(); }

struct InfoReply {
  std::string_view name;
  std::string_view expects;
  std::function<Bytes(Bytes good)> body;
  StatusCode code = StatusCode::kDataLoss;
  Requirement requirement = Requirement::kRequired;
};

std::vector<InfoReply> DeviceReplies() {
  constexpr std::string_view kCounts = "No count of a server's says how often a client loops.";
  return {
      {"4-billion-regions", kCounts,
       [](const Bytes&) { return Body().U32(16).U32(3).U32(UINT32_MAX).U32(5).bytes(); },
       StatusCode::kDataLoss, Requirement::kRecommended},
      {"4-billion-irq-types", kCounts,
       [](const Bytes&) { return Body().U32(16).U32(3).U32(9).U32(UINT32_MAX).bytes(); },
       StatusCode::kDataLoss, Requirement::kRecommended},
      {"more-than-is-known", "A newer server's reply may go on.",
       [](Bytes good) {
         good.resize(32, 0xff);
         return good;
       },
       StatusCode::kOk, Requirement::kRecommended},
      {"unknown-flags", "Flags that a client does not know are ignored.",
       [](const Bytes&) { return Body().U32(16).U32(UINT32_MAX).U32(9).U32(5).bytes(); },
       StatusCode::kOk, Requirement::kRecommended},
  };
}

// argsz, flags, index, cap_offset, size, file offset.
Body Region(uint32_t argsz, uint32_t flags, uint32_t index, uint64_t size) {
  return Body().U32(argsz).U32(flags).U32(index).U32(0).U64(size).U64(0);
}

std::vector<InfoReply> RegionReplies() {
  return {
      {"another-index", "A description of another region is not taken for the one asked for.",
       [](const Bytes&) { return Region(32, 3, 6, 256).bytes(); }},
      {"argsz-4-gib", "No client allocates 4 GiB because a server asks for it.",
       [](const Bytes&) { return Region(UINT32_MAX, 3, 7, 256).bytes(); }},
      {"argsz-0", "A reply's argsz below its length does no harm.",
       [](const Bytes&) { return Region(0, 3, 7, 256).bytes(); }, StatusCode::kOk,
       Requirement::kRecommended},
      {"argsz-that-is-never-enough", "The client asks twice at most.",
       [](const Bytes&) { return Region(48, 3, 7, 256).bytes(); }, StatusCode::kOk,
       Requirement::kRecommended},
      {"size-of-all-64-bits", "A region may have any size that is not mapped.",
       [](const Bytes&) { return Region(32, 3, 7, UINT64_MAX).bytes(); }, StatusCode::kOk},
      {"unknown-flags", "Flags that a client does not know are ignored.",
       [](const Bytes&) { return Region(32, 0xffffff03, 7, 256).bytes(); }, StatusCode::kOk,
       Requirement::kRecommended},
      {"file-range-wraps", "A mapping of a file beyond 2^64 is refused before it is tried.",
       [](const Bytes&) {
         return Body().U32(32).U32(7).U32(7).U32(0).U64(0x2000).U64(UINT64_MAX - 0xfff).bytes();
       }},
      {"mmap-without-descriptor", "Without a descriptor a region is reached by messages.",
       [](const Bytes&) { return Region(32, 7, 7, 0x2000).bytes(); }, StatusCode::kOk,
       Requirement::kPeerQuirk},
  };
}

std::vector<InfoReply> IrqReplies() {
  return {
      {"another-index", "A description of another type is not taken for the one asked for.",
       [](const Bytes&) { return Body().U32(16).U32(1).U32(1).U32(4).bytes(); }},
      {"4-billion-vectors", "No count of a server's says how much a client allocates.",
       [](const Bytes&) { return Body().U32(16).U32(1).U32(2).U32(UINT32_MAX).bytes(); },
       StatusCode::kDataLoss, Requirement::kRecommended},
      {"no-vectors", "A type without vectors is one that the device does not have.",
       [](const Bytes&) { return Body().U32(16).U32(1).U32(2).U32(0).bytes(); }, StatusCode::kOk},
      {"unknown-flags", "Flags that a client does not know are ignored.",
       [](const Bytes&) { return Body().U32(16).U32(UINT32_MAX).U32(2).U32(4).bytes(); },
       StatusCode::kOk, Requirement::kRecommended},
  };
}

struct Family {
  std::string_view name;
  std::string_view section;
  Command command{};
  std::vector<InfoReply> replies;
  absl::Status (*call)(Stage&) = nullptr;
};

std::vector<Family> Families() {
  return {{"device-info", "VFIO_USER_DEVICE_GET_INFO", Command::kDeviceGetInfo, DeviceReplies(),
           AskDevice},
          {"region-info", "VFIO_USER_DEVICE_GET_REGION_INFO", Command::kDeviceGetRegionInfo,
           RegionReplies(), AskRegion},
          {"irq-info", "VFIO_USER_DEVICE_GET_IRQ_INFO", Command::kDeviceGetIrqInfo, IrqReplies(),
           AskIrq}};
}

}  // namespace

std::vector<ClientCheck> InfoChecks() {
  std::vector<ClientCheck> checks;
  for (Family& family : Families()) {
    for (InfoReply& reply : family.replies) {
      checks.push_back(CheckOf(BodyReply{.name = reply.name,
                                         .section = family.section,
                                         .expects = reply.expects,
                                         .command = family.command,
                                         .body = std::move(reply.body),
                                         .call = family.call,
                                         .code = reply.code,
                                         .requirement = reply.requirement}));
      checks.back().description.name.insert(0, std::string(family.name) + "/");
      checks.back().needs.push_back(ClientAbility::kInfo);
    }
  }
  return checks;
}

}  // namespace vfio_user
