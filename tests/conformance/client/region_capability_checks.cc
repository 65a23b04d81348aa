#include <cstdint>
#include <functional>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "proto_defs/wire/command.h"
#include "proto_defs/wire/device_info.h"
#include "tests/conformance/client/client_under_test.h"
#include "tests/conformance/client/info_checks.h"
#include "tests/conformance/client/reply_body.h"
#include "tests/conformance/client/stage.h"

namespace vfio_user {
namespace {

using absl::StatusCode;

constexpr uint32_t kRegionBytes = 0x10000;
constexpr uint16_t kSparse = 1;
constexpr uint16_t kType = 2;

// The fixed part of a region that can be read, written and mapped, with capabilities.
Body Fixed(uint32_t argsz, uint32_t cap_offset) {
  constexpr uint32_t kFlags = 1 | 2 | 4 | 8;
  return Body().U32(argsz).U32(kFlags).U32(7).U32(cap_offset).U64(kRegionBytes).U64(0);
}

struct Capabilities {
  std::string_view name;
  std::string_view expects;
  std::vector<uint8_t> body;
  StatusCode code = StatusCode::kDataLoss;
  Requirement requirement = Requirement::kRequired;
};

constexpr std::string_view kChain = "A chain that leaves the reply, or does not end, is refused.";
constexpr std::string_view kArea = "An area that is not in the region is refused.";
constexpr std::string_view kCut = "A capability that ends before it should is refused.";

// Capability header: id, version, next.
std::vector<Capabilities> Chains() {
  return {
      {"capabilities-inside-the-fixed-part", kChain,
       Fixed(48, 16).U16(kType).U16(1).U32(0).U32(0).U32(0).bytes()},
      {"capabilities-beyond-the-end", kChain,
       Fixed(48, 4096).U16(kType).U16(1).U32(0).U32(0).U32(0).bytes()},
      {"capabilities-at-the-end", kChain,
       Fixed(48, 48).U16(kType).U16(1).U32(0).U32(0).U32(0).bytes()},
      {"capabilities-at-4-gib", kChain,
       Fixed(48, 0xfffffff8).U16(kType).U16(1).U32(0).U32(0).U32(0).bytes()},
      {"capability-that-is-its-own-next", kChain,
       Fixed(48, 32).U16(9).U16(1).U32(32).U32(0).U32(0).bytes()},
      {"capabilities-in-a-circle", kChain,
       Fixed(64, 32).U16(8).U16(1).U32(48).U64(0).U16(9).U16(1).U32(32).U64(0).bytes()},
      {"capability-next-backwards", kChain,
       Fixed(64, 48).U64(0).U64(0).U16(9).U16(1).U32(8).U64(0).bytes()},
      {"capability-next-beyond", kChain,
       Fixed(48, 32).U16(9).U16(1).U32(0x7fffffff).U64(0).bytes()},
      {"capability-header-cut", kCut, Fixed(36, 32).U16(kType).U16(1).bytes()},
      {"type-cut", kCut, Fixed(44, 32).U16(kType).U16(1).U32(0).U32(0).bytes()},
      {"type-twice", "A capability that is there twice is refused.",
       Fixed(64, 32).U16(kType).U16(1).U32(48).U64(0).U16(kType).U16(1).U32(0).U64(0).bytes(),
       StatusCode::kDataLoss, Requirement::kRecommended},
      {"capability-unknown", "A capability that a client does not know is skipped.",
       Fixed(48, 32).U16(77).U16(3).U32(0).U64(0).bytes(), StatusCode::kOk},
      {"capabilities-at-0", "Capabilities at 0 are none, as in the kernel's interface.",
       Fixed(32, 0).bytes(), StatusCode::kOk, Requirement::kRecommended},
  };
}

// The areas follow: their number, 4 reserved bytes, offset and size of each.
Body Sparse(uint32_t argsz, uint32_t areas, uint16_t version = 1) {
  return Fixed(argsz, 32).U16(kSparse).U16(version).U32(0).U32(areas).U32(0);
}

std::vector<Capabilities> Areas() {
  return {
      {"4-billion-areas", "Nothing is allocated for areas that are not there.",
       Sparse(64, UINT32_MAX).U64(0).U64(4096).bytes()},
      {"one-area-too-few", kCut, Sparse(64, 2).U64(0).U64(4096).bytes()},
      {"area-cut", kCut, Sparse(56, 1).U64(0).bytes()},
      {"sparse-header-cut", kCut, Fixed(44, 32).U16(kSparse).U16(1).U32(0).U32(1).bytes()},
      {"area-outside", kArea, Sparse(64, 1).U64(kRegionBytes).U64(4096).bytes()},
      {"area-crosses-the-end", kArea, Sparse(64, 1).U64(kRegionBytes - 4096).U64(8192).bytes()},
      {"area-wraps", kArea, Sparse(64, 1).U64(UINT64_MAX - 4095).U64(8192).bytes()},
      {"area-of-all-64-bits", kArea, Sparse(64, 1).U64(0).U64(UINT64_MAX).bytes()},
      {"sparse-of-another-version",
       "A list of areas that is not understood does not make the whole region mappable.",
       Sparse(64, 1, 2).U64(0).U64(4096).bytes(), StatusCode::kDataLoss, Requirement::kRecommended},
      {"no-areas", "A list without areas is one.", Sparse(48, 0).bytes(), StatusCode::kOk},
      {"area-of-0-bytes", "An area without bytes does no harm.",
       Sparse(64, 1).U64(4096).U64(0).bytes(), StatusCode::kOk, Requirement::kRecommended},
      {"areas-that-overlap", "Areas that overlap do no harm.",
       Sparse(80, 2).U64(0).U64(8192).U64(4096).U64(8192).bytes(), StatusCode::kOk,
       Requirement::kRecommended},
      {"area-not-of-pages", "An area that is not of whole pages does no harm.",
       Sparse(64, 1).U64(123).U64(45).bytes(), StatusCode::kOk, Requirement::kRecommended},
  };
}

}  // namespace

std::vector<ClientCheck> RegionCapabilityChecks() {
  std::vector<ClientCheck> checks;
  for (const auto& replies : {Chains(), Areas()}) {
    for (const Capabilities& reply : replies) {
      checks.push_back(CheckOf(
          BodyReply{.name = reply.name,
                    .section = "VFIO_USER_DEVICE_GET_REGION_INFO, VFIO region info caps",
                    .expects = reply.expects,
                    .command = Command::kDeviceGetRegionInfo,
                    .body = [body = reply.body](const std::vector<uint8_t>&) { return body; },
                    .call =
                        [](Stage& stage) {
                          return stage.client().GetRegionInfo(RegionIndex::kConfig).status();
                        },
                    .code = reply.code,
                    .requirement = reply.requirement}));
      checks.back().description.name.insert(0, "region-info/");
      checks.back().needs.push_back(ClientAbility::kInfo);
    }
  }
  return checks;
}

}  // namespace vfio_user
