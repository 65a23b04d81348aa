#include "client/region_fixture.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "absl/status/status.h"
#include "proto_defs/wire/hex_bytes.h"
#include "proto_defs/wire/region_access.h"
#include "proto_defs/wire/wire_writer.h"
#include "tests/testing/status_matchers.h"

namespace vfio_user {

void RegionFixture::Connect(const std::string& version_json) {
  absl::StatusOr<GreetedSocket> greeted = Greet(version_json);
  ASSERT_THAT(greeted, IsOk());
  server_.emplace(std::move(greeted->server));
  twin_ = std::move(greeted->twin);
  absl::StatusOr<Client> client = Client::Adopt(std::move(greeted->client));
  ASSERT_THAT(client, IsOk());
  ASSERT_THAT(server_->Receive(), IsOk());  // VERSION.
  client_.emplace(*std::move(client));
}

absl::StatusOr<Region> RegionFixture::Open(const RegionInfo& info, std::vector<UniqueFd> files,
                                           const RegionOptions& options) {
  auto served = std::async(std::launch::async, [&] {
    EXPECT_THAT(AnswerNext(*server_, Hex("10000000 03000000 09000000 05000000")).get(), IsOk());
    const std::vector<uint8_t> whole = Serialize(info);
    if (whole.size() > RegionInfo::kBytes) {
      std::vector<uint8_t> start;
      WireWriter out(start);
      info.AppendTo(out, RegionInfo::kBytes);
      EXPECT_THAT(AnswerNext(*server_, std::move(start)).get(), IsOk());
    }
    EXPECT_THAT(AnswerNext(*server_, whole, std::move(files)).get(), IsOk());
  });
  absl::StatusOr<Region> region = client_->OpenRegion(info.index, options);
  served.get();
  return region;
}

void RegionFixture::OpenRegisters(const std::string& version_json) {
  ASSERT_NO_FATAL_FAILURE(Connect(version_json));
  absl::StatusOr<Region> region =
      Open({.flags = RegionFlags(RegionFlag::kRead) | RegionFlag::kWrite,
            .index = RegionIndex::kBar2,
            .size = memory_.size()});
  ASSERT_THAT(region, IsOk());
  region_.emplace(*std::move(region));
}

std::future<std::vector<RegionFixture::SeenAccess>> RegionFixture::ServeMemory(int count) {
  return std::async(std::launch::async, [this, count] {
    std::vector<SeenAccess> seen;
    for (int i = 0; i < count; ++i) ServeOne(seen);
    return seen;
  });
}

void RegionFixture::ServeOne(std::vector<SeenAccess>& seen) {
  const absl::StatusOr<ScriptedPeer::Message> request = server_->Receive();
  ASSERT_THAT(request, IsOk());
  const MessageHeader& header = request->header;
  if (header.command == Command::kDeviceGetInfo) {
    seen.push_back({.command = header.command});
    ASSERT_THAT(server_->Reply(header, Hex("10000000 03000000 09000000 05000000")), IsOk());
    return;
  }
  const auto access = RegionAccess::ParsePrefix(request->body, "request");
  ASSERT_THAT(access, IsOk());
  ASSERT_LE(access->offset + access->count, memory_.size());
  seen.push_back({header.command, access->offset, access->count, header.no_reply});
  std::vector<uint8_t> reply(request->body.begin(), request->body.begin() + RegionAccess::kBytes);
  const auto at = memory_.begin() + static_cast<std::ptrdiff_t>(access->offset);
  if (header.command == Command::kRegionRead) {
    reply.insert(reply.end(), at, at + access->count);
  } else {
    std::copy(request->body.begin() + RegionAccess::kBytes, request->body.end(), at);
  }
  if (header.no_reply) return;
  ASSERT_THAT(server_->Reply(header, reply), IsOk());
}

}  // namespace vfio_user
