#include "proto_defs/wire/version.h"

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "gtest/gtest.h"
#include "proto_defs/wire/hex_bytes.h"
#include "proto_defs/wire/invalid_argument_matcher.h"
#include "proto_defs/wire/limits.h"
#include "proto_defs/wire/wire_writer.h"

namespace vfio_user {
namespace {

// A VERSION 0.2 with `json` and its NUL.
std::vector<uint8_t> WithJson(std::string_view json) {
  std::vector<uint8_t> bytes = Hex("00 00 02 00");
  bytes.insert(bytes.end(), json.begin(), json.end());
  bytes.push_back(0);
  return bytes;
}

std::vector<uint8_t> WithCapabilities(const std::string& members) {
  return WithJson("{\"capabilities\":{" + members + "}}");
}

std::string JsonOf(const VersionMessage& message) {
  const std::vector<uint8_t> bytes = Serialize(message);
  EXPECT_EQ(bytes.back(), 0);
  return std::string(bytes.begin() + VersionMessage::kBytes, bytes.end() - 1);
}

// What QEMU 11.1 says of itself.
constexpr std::string_view kQemuJson =
    R"({"capabilities":{"pgsizes":4096,"max_msg_fds":16,"max_dma_maps":65535,)"
    R"("max_data_xfer_size":1048576,"migration":{"max_bitmap_size":268435456,"pgsize":4096},)"
    R"("write_multiple":true}})";

TEST(VersionMessageTest, ParsesWhatQemuSends) {
  const absl::StatusOr<VersionMessage> version = VersionMessage::Parse(WithJson(kQemuJson));

  ASSERT_TRUE(version.ok()) << version.status();
  const Capabilities& capabilities = version->capabilities;
  EXPECT_EQ(capabilities.pgsizes, 4096u);
  EXPECT_EQ(capabilities.max_msg_fds, 16u);
  EXPECT_EQ(capabilities.max_dma_maps, 65535u);
  EXPECT_EQ(capabilities.max_data_xfer_size, 1048576u);
  EXPECT_EQ(capabilities.write_multiple, true);
  EXPECT_EQ(capabilities.migration,
            (MigrationCapability{.pgsize = 4096, .max_bitmap_size = 268435456}));
  EXPECT_EQ(capabilities.twin_socket, std::nullopt);
}

TEST(VersionMessageTest, ParsesTheTwinSocketOfAReply) {
  const absl::StatusOr<VersionMessage> version =
      VersionMessage::Parse(WithCapabilities(R"("twin_socket":{"supported":true,"fd_index":0})"));

  ASSERT_TRUE(version.ok()) << version.status();
  EXPECT_EQ(version->capabilities.twin_socket, (TwinSocket{.supported = true, .fd_index = 0}));
  EXPECT_TRUE(version->capabilities.TwinSocketSupported());
}

TEST(VersionMessageTest, TakesATwinSocketWithoutWordsForUnsupported) {
  const absl::StatusOr<VersionMessage> version =
      VersionMessage::Parse(WithCapabilities(R"("twin_socket":{})"));

  ASSERT_TRUE(version.ok()) << version.status();
  EXPECT_FALSE(version->capabilities.TwinSocketSupported());
}

TEST(VersionMessageTest, ParsesANumberWithoutData) {
  const absl::StatusOr<VersionMessage> version = VersionMessage::Parse(Hex("01 00 09 00"));

  ASSERT_TRUE(version.ok()) << version.status();
  EXPECT_EQ(version->major, 1);
  EXPECT_EQ(version->minor, 9);
  EXPECT_EQ(version->capabilities, Capabilities());
}

TEST(VersionMessageTest, RejectsEveryTruncation) {
  const std::vector<uint8_t> bytes = WithJson(kQemuJson);
  for (size_t length = 0; length < bytes.size(); ++length) {
    if (length == VersionMessage::kBytes) continue;
    EXPECT_THAT(VersionMessage::Parse(std::span(bytes).first(length)),
                IsInvalidArgument("VERSION: "))
        << length;
  }
}

TEST(VersionMessageTest, WantsOneNulAtTheEnd) {
  std::vector<uint8_t> two = WithJson("{}");
  two.push_back(0);
  EXPECT_THAT(VersionMessage::Parse(two), IsInvalidArgument("NUL"));

  std::vector<uint8_t> early = WithJson("{}");
  early[5] = 0;
  EXPECT_THAT(VersionMessage::Parse(early), IsInvalidArgument("NUL"));

  std::vector<uint8_t> none = WithJson("{}");
  none.pop_back();
  EXPECT_THAT(VersionMessage::Parse(none), IsInvalidArgument("NUL"));
}

TEST(VersionMessageTest, RejectsWhatIsNoObject) {
  for (const std::string_view json :
       {"", " ", "null", "1", "[]", "\"x\"", "{", "{}{}", "{\"a\":}", "{a:1}", "{\"\xff\":1}"}) {
    EXPECT_THAT(VersionMessage::Parse(WithJson(json)), IsInvalidArgument("not a JSON object"))
        << json;
  }
}

TEST(VersionMessageTest, RejectsCapabilitiesThatAreNoObject) {
  for (const std::string json : {"null", "1", "[]", "\"x\"", "true"}) {
    EXPECT_THAT(VersionMessage::Parse(WithJson("{\"capabilities\":" + json + "}")),
                IsInvalidArgument("VERSION: capabilities is of type"))
        << json;
  }
}

TEST(VersionMessageTest, DropsKeysItDoesNotKnow) {
  const absl::StatusOr<VersionMessage> version = VersionMessage::Parse(
      WithJson(R"({"x":[1],"capabilities":{"y":{"max_msg_fds":-1},"z":1.5}})"));

  ASSERT_TRUE(version.ok()) << version.status();
  EXPECT_EQ(version->capabilities, Capabilities());
  EXPECT_TRUE(VersionMessage::Parse(WithJson("{}")).ok());
}

TEST(VersionMessageTest, RejectsNumbersOfTheWrongType) {
  for (const std::string key : {"max_msg_fds", "max_data_xfer_size", "max_dma_maps", "pgsizes"}) {
    for (const std::string value :
         {"-1", "1.0", "1e3", "18446744073709551616", "\"8\"", "true", "null", "[]", "{}"}) {
      EXPECT_THAT(VersionMessage::Parse(WithCapabilities("\"" + key + "\":" + value)),
                  IsInvalidArgument("VERSION: " + key + " is of type"))
          << key << value;
    }
  }
}

TEST(VersionMessageTest, RejectsOtherMembersOfTheWrongType) {
  for (const std::string member :
       {R"("write_multiple":1)", R"("write_multiple":"true")", R"("twin_socket":true)",
        R"("twin_socket":{"supported":1})", R"("twin_socket":{"supported":true,"fd_index":-1})",
        R"("twin_socket":{"supported":true,"fd_index":"0"})", R"("migration":1)",
        R"("migration":{"pgsize":-1})", R"("migration":{"max_bitmap_size":null})"}) {
    EXPECT_THAT(VersionMessage::Parse(WithCapabilities(member)), IsInvalidArgument("is of type"))
        << member;
  }
}

TEST(VersionMessageTest, RejectsATransferSizeOfZero) {
  EXPECT_THAT(VersionMessage::Parse(WithCapabilities(R"("max_data_xfer_size":0)")),
              IsInvalidArgument("max_data_xfer_size is 0"));
  EXPECT_TRUE(VersionMessage::Parse(WithCapabilities(R"("max_data_xfer_size":1)")).ok());
}

TEST(VersionMessageTest, RejectsMoreDescriptorsThanAnybodyTakes) {
  EXPECT_TRUE(VersionMessage::Parse(WithCapabilities(R"("max_msg_fds":1024)")).ok());
  EXPECT_TRUE(VersionMessage::Parse(WithCapabilities(R"("max_msg_fds":0)")).ok());
  EXPECT_THAT(VersionMessage::Parse(WithCapabilities(R"("max_msg_fds":1025)")),
              IsInvalidArgument("max_msg_fds is 1025, want at most 1024"));
}

TEST(VersionMessageTest, BoundsTheJson) {
  const std::string blanks(kMaxVersionDataBytes - 3, ' ');
  EXPECT_TRUE(VersionMessage::Parse(WithJson("{}" + blanks)).ok());

  EXPECT_THAT(VersionMessage::Parse(WithJson("{}" + blanks + " ")),
              IsInvalidArgument("VERSION: data is 4097 bytes, want at most 4096"));
}

TEST(VersionMessageTest, SurvivesDeepNesting) {
  const std::string open(2000, '[');
  const std::string close(2000, ']');
  EXPECT_TRUE(VersionMessage::Parse(WithJson("{\"x\":" + open + close + "}")).ok());
  EXPECT_THAT(VersionMessage::Parse(WithJson("{\"x\":" + open + "}")),
              IsInvalidArgument("not a JSON object"));

  std::string objects;
  for (int i = 0; i < 800; ++i) objects += "{\"\":";
  EXPECT_THAT(VersionMessage::Parse(WithJson(objects)), IsInvalidArgument("not a JSON object"));
}

TEST(VersionMessageTest, AlwaysWritesJson) {
  EXPECT_EQ(Serialize(VersionMessage{.minor = 1}),
            Hex("00 00 01 00"
                // {"capabilities":{}}
                "7b 22 63 61 70 61 62 69 6c 69 74 69 65 73 22 3a 7b 7d 7d"
                "00"));
}

TEST(VersionMessageTest, WritesWhatIsSetWithoutBlanks) {
  VersionMessage version;
  version.capabilities.max_msg_fds = 8;
  version.capabilities.twin_socket = TwinSocket{.supported = true};

  EXPECT_EQ(JsonOf(version),
            R"({"capabilities":{"max_msg_fds":8,"twin_socket":{"supported":true}}})");
}

VersionMessage EverythingAServerHas() {
  VersionMessage version;
  version.capabilities = {.max_msg_fds = 253,
                          .max_data_xfer_size = 1 << 20,
                          .max_dma_maps = 65535,
                          .pgsizes = 4096,
                          .write_multiple = false,
                          .twin_socket = TwinSocket{.supported = true, .fd_index = 0},
                          .migration = MigrationCapability{.pgsize = 4096}};
  return version;
}

TEST(VersionMessageTest, SurvivesTheRoundTrip) {
  VersionMessage version = EverythingAServerHas();
  version.capabilities.migration->max_bitmap_size = UINT64_MAX;

  const absl::StatusOr<VersionMessage> parsed = VersionMessage::Parse(Serialize(version));

  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(*parsed, version);
}

TEST(VersionMessageTest, FitsTheBufferOfQemuWithAllThatQemuAsksFor) {
  constexpr size_t kQemuRequestBytes = 214;
  VersionMessage version = EverythingAServerHas();
  version.capabilities.twin_socket.reset();

  EXPECT_LE(kHeaderBytes + Serialize(version).size(), kQemuRequestBytes);
}

TEST(CapabilitiesTest, FallsBackToTheSpecifiedDefaults) {
  const Capabilities none;

  EXPECT_EQ(none.MaxMsgFds(), 1u);
  EXPECT_EQ(none.MaxDataXferBytes(), 1048576u);
  EXPECT_EQ(none.MaxDmaMaps(), 65535u);
  EXPECT_EQ(none.PageSizes(), 4096u);
  EXPECT_FALSE(none.WriteMultiple());
  EXPECT_FALSE(none.TwinSocketSupported());
}

TEST(CapabilitiesTest, SaysWhatWasSaid) {
  const Capabilities said{.max_msg_fds = 0,
                          .max_data_xfer_size = 512,
                          .max_dma_maps = 2,
                          .pgsizes = 0x200000,
                          .write_multiple = true,
                          .twin_socket = TwinSocket{.supported = true},
                          .migration = std::nullopt};

  EXPECT_EQ(said.MaxMsgFds(), 0u);
  EXPECT_EQ(said.MaxDataXferBytes(), 512u);
  EXPECT_EQ(said.MaxDmaMaps(), 2u);
  EXPECT_EQ(said.PageSizes(), 0x200000u);
  EXPECT_TRUE(said.WriteMultiple());
  EXPECT_TRUE(said.TwinSocketSupported());
}

TEST(CapabilitiesTest, BoundsTheTransferSize) {
  EXPECT_EQ(Capabilities{.max_data_xfer_size = UINT64_MAX}.MaxDataXferBytes(),
            kMaxAdvertisedDataXferBytes);
  EXPECT_EQ(Capabilities{.max_data_xfer_size = 0}.MaxDataXferBytes(), 1u);
}

}  // namespace
}  // namespace vfio_user
