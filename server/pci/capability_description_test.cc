#include "server/pci/capability_description.h"

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/wire/device_info.h"
#include "server/device.h"
#include "tests/testing/status_matchers.h"

namespace vfio_user {
namespace {

using ::testing::HasSubstr;

DeviceDescription Good() {
  DeviceDescription description;
  description.irqs = {{.index = IrqIndex::kMsi, .count = 32}};
  description.power_management = true;
  description.msi = {.per_vector_mask = true};
  description.express = PciExpressDescription();
  description.vendor_capabilities = {
      {.bytes = {1, 2, 3}, .writable = {0xf0}, .cleared_by_one = {0x0f, 0xff}}};
  description.extended_capabilities = {
      {.id = 3, .content = {.bytes = std::vector<uint8_t>(8, 0x11)}}};
  return description;
}

TEST(CapabilityDescriptionTest, AcceptsEverythingAtOnceAndNothing) {
  EXPECT_THAT(CheckCapabilities(Good()), IsOk());
  EXPECT_THAT(CheckCapabilities(DeviceDescription()), IsOk());
}

TEST(CapabilityDescriptionTest, AcceptsWhatFillsConfigSpace) {
  DeviceDescription description;
  description.express = PciExpressDescription();
  // 64 for the header, 60 for PCI Express, 3 before the bytes.
  description.vendor_capabilities = {{.bytes = std::vector<uint8_t>(256 - 64 - 60 - 3)}};
  description.extended_capabilities = {
      {.id = 11, .content = {.bytes = std::vector<uint8_t>(4096 - 256 - 4)}}};
  EXPECT_THAT(CheckCapabilities(description), IsOk());

  description.vendor_capabilities[0].bytes.push_back(0);
  EXPECT_THAT(CheckCapabilities(description),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("0x104, want 0x100")));
}

struct Wrong {
  const char* name;
  std::function<void(DeviceDescription&)> spoil;
  const char* complaint;
};

class CapabilityDescriptionWrongTest : public testing::TestWithParam<Wrong> {};

TEST_P(CapabilityDescriptionWrongTest, IsRefused) {
  DeviceDescription description = Good();
  GetParam().spoil(description);

  EXPECT_THAT(CheckCapabilities(description),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(GetParam().complaint)));
}

INSTANTIATE_TEST_SUITE_P(
    Descriptions, CapabilityDescriptionWrongTest,
    testing::Values(
        Wrong{"ThreeVectors", [](auto& d) { d.irqs[0].count = 3; }, "3 vectors, want a power"},
        Wrong{"ManyVectors", [](auto& d) { d.irqs[0].count = 64; }, "64 vectors"},
        Wrong{"LongWritable", [](auto& d) { d.vendor_capabilities[0].writable.resize(4); },
              "a mask of 4 bytes, the capability has 3"},
        Wrong{"LongCleared", [](auto& d) { d.vendor_capabilities[0].cleared_by_one.resize(5); },
              "a mask of 5 bytes"},
        Wrong{"BothWays", [](auto& d) { d.vendor_capabilities[0].cleared_by_one[0] = 0x10; },
              "byte 0 can be written and is cleared"},
        Wrong{"IdZero", [](auto& d) { d.extended_capabilities[0].id = 0; }, "id is 0"},
        Wrong{"VersionZero", [](auto& d) { d.extended_capabilities[0].version = 0; },
              "version is 0"},
        Wrong{"VersionSixteen", [](auto& d) { d.extended_capabilities[0].version = 16; },
              "version is 16"},
        Wrong{"ExtendedContent",
              [](auto& d) { d.extended_capabilities[0].content.writable.resize(9); },
              "extended capability 0x3: a mask of 9"},
        Wrong{"NoExpress", [](auto& d) { d.express.reset(); }, "without PCI Express"},
        Wrong{"TooMuchExtended",
              [](auto& d) { d.extended_capabilities[0].content.bytes.resize(4096 - 256 - 3); },
              "extended capabilities end at 0x1004"}),
    [](const auto& wrong) { return std::string(wrong.param.name); });

}  // namespace
}  // namespace vfio_user
