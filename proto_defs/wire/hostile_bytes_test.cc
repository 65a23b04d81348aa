// Every parser against bytes that nobody would send: random ones, and messages with a few bytes
// changed, cut or added. What a sanitizer finds is found here; the same seed gives the same bytes.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <ostream>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "gtest/gtest.h"
#include "proto_defs/wire/command.h"
#include "proto_defs/wire/device_feature.h"
#include "proto_defs/wire/device_info.h"
#include "proto_defs/wire/dma_access.h"
#include "proto_defs/wire/dma_map.h"
#include "proto_defs/wire/format.h"
#include "proto_defs/wire/header.h"
#include "proto_defs/wire/iova.h"
#include "proto_defs/wire/irq.h"
#include "proto_defs/wire/migration_data.h"
#include "proto_defs/wire/region_access.h"
#include "proto_defs/wire/region_info.h"
#include "proto_defs/wire/region_io_fds.h"
#include "proto_defs/wire/version.h"
#include "proto_defs/wire/wire_writer.h"
#include "tests/testing/status_matchers.h"

namespace vfio_user {
namespace {

constexpr int kBodies = 20000;

using Bytes = std::vector<uint8_t>;
using Body = std::span<const uint8_t>;

class HostileBytes {
 public:
  explicit HostileBytes(Bytes sample) : sample_(std::move(sample)) {}

  // Every fourth body is all random, the others are the sample with up to four changes. Each is an
  // allocation of its own length, so that a read past its end is one past the allocation.
  Bytes Next() {
    if (Below(4) == 0) return Random(Below(128));
    Bytes body = sample_;
    for (size_t changes = 1 + Below(4); changes > 0; --changes) Change(body);
    return Bytes(body);
  }

 private:
  size_t Below(size_t bound) { return static_cast<size_t>(random_() % bound); }

  Bytes Random(size_t length) {
    Bytes out(length);
    std::ranges::generate(out, [this] { return static_cast<uint8_t>(random_()); });
    return out;
  }

  void Change(Bytes& body) {
    const size_t at = Below(body.size() + 1);
    switch (Below(5)) {
      case 0:
        return body.resize(at);
      case 1: {
        const Bytes more = Random(Below(32));
        body.insert(body.end(), more.begin(), more.end());
        return;
      }
      case 2:
        if (at < body.size()) body[at] ^= static_cast<uint8_t>(1 << Below(8));
        return;
      default:
        return Overwrite(body, at & ~size_t{3});
    }
  }

  // Puts a number that is likely to be a bound over a field.
  void Overwrite(Bytes& body, size_t at) {
    constexpr std::array<uint64_t, 12> kNumbers = {0,
                                                   1,
                                                   2,
                                                   8,
                                                   16,
                                                   32,
                                                   0x7fffffff,
                                                   0x80000000,
                                                   UINT32_MAX,
                                                   UINT64_MAX - 15,
                                                   UINT64_MAX - 1,
                                                   UINT64_MAX};
    const uint64_t number = kNumbers[Below(kNumbers.size())] + Below(3);
    const size_t width = Below(2) == 0 ? sizeof(uint32_t) : sizeof(uint64_t);
    if (at + width <= body.size()) std::memcpy(&body[at], &number, width);
  }

  std::mt19937_64 random_{20240229};
  Bytes sample_;
};

// Returns whether `body` was taken.
using Visit = bool (*)(Body body);

// What was taken must be a message that can be written and is then taken again as the same.
template <typename Message>
void ExpectStable(const Message& message, absl::StatusOr<Message> (*parse)(Body)) {
  const Bytes bytes = Serialize(message);
  const absl::StatusOr<Message> again = parse(bytes);
  ASSERT_THAT(again, IsOk());
  EXPECT_EQ(Serialize(*again), bytes);
  EXPECT_FALSE(ToText(message).empty());
}

template <typename Message, absl::StatusOr<Message> (*parse)(Body)>
bool VisitParse(Body body) {
  const absl::StatusOr<Message> message = parse(body);
  if (message.ok()) ExpectStable(*message, parse);
  return message.ok();
}

template <typename Message>
bool VisitMessage(Body body) {
  return VisitParse<Message, &Message::Parse>(body);
}

template <typename Message>
absl::StatusOr<Message> ParseNamed(Body body) {
  return Message::Parse(body, "ACCESS");
}

template <typename Message>
absl::StatusOr<Message> ParseNamedPrefix(Body body) {
  return Message::ParsePrefix(body, "ACCESS");
}

// Every command and a few that are none, as a command and as a reply.
bool VisitFormatBody(Body body) {
  MessageHeader header;
  for (uint16_t command = 0; command < 20; ++command) {
    header.command = Command{command};
    header.type = static_cast<uint8_t>(MessageType::kCommand);
    EXPECT_FALSE(FormatBody(header, body).empty());
    header.type = static_cast<uint8_t>(MessageType::kReply);
    EXPECT_FALSE(FormatBody(header, body).empty());
  }
  return true;
}

struct Case {
  std::string_view name;
  Bytes sample;  // A message that is taken.
  Visit visit;

  friend std::ostream& operator<<(std::ostream& out, const Case& c) { return out << c.name; }
};

constexpr std::array<uint8_t, 5> kData = {1, 2, 3, 4, 5};

DmaUnmapRequest UnmapWithBitmap() {
  return {.argsz = 48,
          .flags = DmaUnmapFlag::kGetDirtyBitmap,
          .address = Iova{0x1000},
          .size = 0x1000,
          .bitmap = DirtyBitmapHeader{.page_size = 4096, .size_bytes = 8}};
}

RegionInfo RegionWithCaps() {
  return {.flags = RegionFlags(RegionFlag::kRead) | RegionFlag::kMmap,
          .size = 0x4000,
          .sparse_areas = std::vector<SparseArea>{{.offset = 0, .size = 0x1000},
                                                  {.offset = 0x2000, .size = 0x1000}},
          .type = RegionType{.type = 1, .subtype = 2}};
}

VersionMessage FullVersion() {
  VersionMessage version;
  version.capabilities = {.max_msg_fds = 8,
                          .max_data_xfer_size = 1 << 20,
                          .pgsizes = 4096,
                          .twin_socket = TwinSocket{.supported = true, .fd_index = 0},
                          .migration = MigrationCapability{.pgsize = 4096}};
  return version;
}

std::vector<Case> DmaCases() {
  const DmaAccess access{.address = Iova{0x1000}, .count = kData.size()};
  return {
      {"DmaMapRequest", Serialize(DmaMapRequest{.size = 1}), VisitMessage<DmaMapRequest>},
      {"DmaUnmapRequest", Serialize(UnmapWithBitmap()), VisitMessage<DmaUnmapRequest>},
      {"DmaUnmapReply", Serialize(DmaUnmapReply{.echo = UnmapWithBitmap(), .bitmap = Bytes(8)}),
       VisitMessage<DmaUnmapReply>},
      {"DmaAccess", Serialize(access), VisitParse<DmaAccess, ParseNamed<DmaAccess>>},
      {"DmaAccessPrefix", Serialize(access), VisitParse<DmaAccess, ParseNamedPrefix<DmaAccess>>},
      {"DmaWriteReply", Serialize(access), VisitParse<DmaAccess, &DmaAccess::ParseWriteReply>},
      {"DmaAccessWithData", Serialize(DmaAccessWithData{.access = access, .data = kData}),
       VisitParse<DmaAccessWithData, ParseNamed<DmaAccessWithData>>},
      {"DmaLoggingStart",
       Serialize(DmaLoggingStart{.page_size = 4096,
                                 .ranges = {{.address = Iova{0x1000}, .length = 0x1000}}}),
       VisitMessage<DmaLoggingStart>},
      {"DmaLoggingReport",
       Serialize(DmaLoggingReport{.length = 4096, .page_size = 4096, .bitmap = Bytes(8)}),
       VisitMessage<DmaLoggingReport>},
  };
}

std::vector<Case> RegionCases() {
  const RegionAccess access{.offset = 0x10, .count = kData.size()};
  return {
      {"RegionInfoRequest", Serialize(RegionInfoRequest()), VisitMessage<RegionInfoRequest>},
      {"RegionInfo", Serialize(RegionWithCaps()), VisitMessage<RegionInfo>},
      {"RegionIoFdsRequest", Serialize(RegionIoFdsRequest()), VisitMessage<RegionIoFdsRequest>},
      {"RegionIoFdsReply",
       Serialize(RegionIoFdsReply{.entries = {{.offset = 0, .size = 4}, {.offset = 4, .size = 4}}}),
       VisitMessage<RegionIoFdsReply>},
      {"RegionAccess", Serialize(access), VisitParse<RegionAccess, ParseNamed<RegionAccess>>},
      {"RegionAccessPrefix", Serialize(access),
       VisitParse<RegionAccess, ParseNamedPrefix<RegionAccess>>},
      {"RegionAccessWithData", Serialize(RegionAccessWithData{.access = access, .data = kData}),
       VisitParse<RegionAccessWithData, ParseNamed<RegionAccessWithData>>},
      {"WriteMultiRequest", Serialize(WriteMultiRequest{.entries = {{.access = access}, {}}}),
       VisitMessage<WriteMultiRequest>},
      {"WriteMultiReply", Serialize(WriteMultiReply()), VisitMessage<WriteMultiReply>},
  };
}

std::vector<Case> DeviceCases() {
  return {
      {"VersionMessage", Serialize(FullVersion()), VisitMessage<VersionMessage>},
      {"DeviceInfoRequest", Serialize(DeviceInfoRequest()), VisitMessage<DeviceInfoRequest>},
      {"DeviceInfo", Serialize(DeviceInfo()), VisitMessage<DeviceInfo>},
      {"IrqInfoRequest", Serialize(IrqInfoRequest()), VisitMessage<IrqInfoRequest>},
      {"IrqInfo", Serialize(IrqInfo()), VisitMessage<IrqInfo>},
      {"SetIrqsRequest",
       Serialize(SetIrqsRequest{.data = IrqData::kBool, .count = 3, .bools = {1, 0, 1}}),
       VisitMessage<SetIrqsRequest>},
      {"DeviceFeature", Serialize(DeviceFeature{.ops = FeatureOp::kGet, .data = Bytes(8)}),
       VisitMessage<DeviceFeature>},
      {"MigrationFeature", Serialize(MigrationFeature()), VisitMessage<MigrationFeature>},
      {"MigDeviceState", Serialize(MigDeviceState()), VisitMessage<MigDeviceState>},
      {"MigDataSize", Serialize(MigDataSize()), VisitMessage<MigDataSize>},
      {"MigDataReadRequest", Serialize(MigDataReadRequest()), VisitMessage<MigDataReadRequest>},
      {"MigDataReadReply", Serialize(MigDataReadReply{.data = kData}),
       VisitMessage<MigDataReadReply>},
      {"MigDataWriteRequest", Serialize(MigDataWriteRequest{.data = kData}),
       VisitMessage<MigDataWriteRequest>},
  };
}

class HostileBytesTest : public testing::TestWithParam<Case> {};

TEST_P(HostileBytesTest, NothingCrashesAndWhatIsTakenCanBeWrittenAndTakenAgain) {
  const Case& c = GetParam();
  ASSERT_TRUE(c.visit(c.sample)) << "the sample is to be a good message";
  HostileBytes hostile(c.sample);
  int taken = 0;

  for (int i = 0; i < kBodies && !HasFailure(); ++i) {
    const Bytes body = hostile.Next();
    if (c.visit(body)) ++taken;
  }

  EXPECT_GT(taken, 0) << "the changes are to leave some good messages";
}

TEST(HostileBytesFormatTest, EveryBodyHasSomeText) {
  HostileBytes hostile(Serialize(RegionWithCaps()));

  for (int i = 0; i < kBodies / 20; ++i) VisitFormatBody(hostile.Next());
}

std::string NameOf(const testing::TestParamInfo<Case>& info) {
  return std::string(info.param.name);
}

INSTANTIATE_TEST_SUITE_P(Dma, HostileBytesTest, testing::ValuesIn(DmaCases()), NameOf);
INSTANTIATE_TEST_SUITE_P(Region, HostileBytesTest, testing::ValuesIn(RegionCases()), NameOf);
INSTANTIATE_TEST_SUITE_P(Device, HostileBytesTest, testing::ValuesIn(DeviceCases()), NameOf);

}  // namespace
}  // namespace vfio_user
