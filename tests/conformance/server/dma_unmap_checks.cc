// DMA_UNMAP.
#include <cerrno>
#include <cstdint>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fmt/format.h"
#include "proto_defs/base/status_macros.h"
#include "tests/conformance/server/check_families.h"
#include "tests/conformance/server/dma_requests.h"
#include "tests/conformance/server/outcome.h"

namespace vfio_user {
namespace {

constexpr std::string_view kUnmap = "VFIO_USER_DMA_UNMAP";
// The flags, which the specification calls unused.
constexpr std::string_view kFlags = "libvfio-user include/vfio-user.h, flags of DMA_UNMAP";

constexpr uint64_t kBase = MapNumbers().address;
constexpr uint64_t kSize = MapNumbers().size;

// A client that has mapped the usual range.
absl::StatusOr<WireClient> ConnectAndMap(ServerUnderTest& server) {
  if (server.traits().ignores_dma) return Skip("the device takes no notice of mappings");
  VFIO_USER_ASSIGN_OR_RETURN(WireClient client, server.Connect());
  VFIO_USER_RETURN_IF_ERROR(client.DoPlain(MapRequest({})));
  return client;
}

absl::Status Refuses(ServerUnderTest& server, const WireRequest& request,
                     std::initializer_list<int> usual) {
  VFIO_USER_ASSIGN_OR_RETURN(WireClient client, ConnectAndMap(server));
  VFIO_USER_RETURN_IF_ERROR(client.RefusedInStep(request, usual));
  // And the mapping is still there.
  return client.Do(UnmapRequest({})).status();
}

absl::Status EchoesTheRequest(ServerUnderTest& server) {
  VFIO_USER_ASSIGN_OR_RETURN(WireClient client, ConnectAndMap(server));
  const WireRequest request = UnmapRequest({});
  VFIO_USER_ASSIGN_OR_RETURN(const WireClient::Message reply, client.Do(request));
  if (reply.body == request.body) return client.InStep();
  return Misbehaved(
      fmt::format("the reply's {} bytes are not those of the request", reply.body.size()));
}

absl::Status OnceIsEnough(ServerUnderTest& server) {
  VFIO_USER_ASSIGN_OR_RETURN(WireClient client, ConnectAndMap(server));
  VFIO_USER_RETURN_IF_ERROR(client.Do(UnmapRequest({})).status());
  return client.RefusedInStep(UnmapRequest({}), {ENOENT});
}

absl::Status RefusesOtherRanges(ServerUnderTest& server) {
  const UnmapNumbers others[] = {{.size = kSize / 2},
                                 {.size = kSize * 2},
                                 {.address = kBase + kSize / 2, .size = kSize / 2},
                                 {.address = kBase + 1},
                                 {.address = kBase - kSize, .size = 2 * kSize}};
  for (const UnmapNumbers& other : others) {
    VFIO_USER_RETURN_IF_ERROR(InCase(Refuses(server, UnmapRequest(other), {ENOENT}),
                                     fmt::format("[{:#x}, +{:#x}) of [{:#x}, +{:#x})",
                                                 other.address, other.size, kBase, kSize)));
  }
  return absl::OkStatus();
}

absl::Status CanBeMappedAgain(ServerUnderTest& server) {
  VFIO_USER_ASSIGN_OR_RETURN(WireClient client, ConnectAndMap(server));
  for (int i = 0; i < 3; ++i) {
    VFIO_USER_RETURN_IF_ERROR(client.Do(UnmapRequest({})).status());
    VFIO_USER_RETURN_IF_ERROR(client.DoPlain(MapRequest({})));
  }
  return absl::OkStatus();
}

absl::Status AllTakesEverything(ServerUnderTest& server) {
  VFIO_USER_ASSIGN_OR_RETURN(WireClient client, ConnectAndMap(server));
  VFIO_USER_RETURN_IF_ERROR(client.DoPlain(MapRequest({.address = kBase + 4 * kSize})));
  const WireRequest all = UnmapRequest({.flags = kUnmapAll, .address = 0, .size = 0});
  VFIO_USER_RETURN_IF_ERROR(client.Do(all).status());
  VFIO_USER_RETURN_IF_ERROR(client.RefusedInStep(UnmapRequest({}), {ENOENT}));
  VFIO_USER_RETURN_IF_ERROR(
      client.RefusedInStep(UnmapRequest({.address = kBase + 4 * kSize}), {ENOENT}));
  return client.Do(all).status();
}

absl::Status RefusesShortBodies(ServerUnderTest& server) {
  for (const size_t bytes : {size_t{0}, size_t{4}, size_t{8}, size_t{23}}) {
    WireRequest request = UnmapRequest({});
    request.body.resize(bytes);
    VFIO_USER_RETURN_IF_ERROR(
        InCase(Refuses(server, request, {EINVAL}), fmt::format("{} bytes", bytes)));
  }
  return absl::OkStatus();
}

// SPDK sends one.
absl::Status TakesADescriptor(ServerUnderTest& server) {
  VFIO_USER_ASSIGN_OR_RETURN(WireClient client, ConnectAndMap(server));
  const UniqueFd file = MemoryFile(kSize);
  WireRequest request = UnmapRequest({});
  request.fds = {FdView(file)};
  VFIO_USER_RETURN_IF_ERROR(client.Do(request).status());
  return client.InStep();
}

absl::Status RefusesBitmapWithoutItsHeader(ServerUnderTest& server) {
  return Refuses(server, UnmapRequest({.argsz = 48, .flags = kUnmapBitmap}), {EINVAL});
}

// One whose pages cannot be, and one that is too small or too large for the range.
absl::Status RefusesBitmap(ServerUnderTest& server, const BitmapNumbers& bitmap) {
  return Refuses(server, UnmapRequest({.argsz = 4096, .flags = kUnmapBitmap}, bitmap),
                 {EINVAL, ENOTSUP});
}

absl::Status RefusesHugeBitmap(ServerUnderTest& server) {
  return RefusesBitmap(server, {.page_size = 4096, .size_bytes = uint64_t{1} << 40});
}

constexpr ServerCheck kChecks[] = {
    {"dma-unmap/is-done-and-echoed", kUnmap, Requirement::kRequired, EchoesTheRequest},
    {"dma-unmap/range-can-be-mapped-again", kUnmap, Requirement::kRequired, CanBeMappedAgain},
    {"dma-unmap/of-what-is-not-mapped-is-refused", kUnmap, Requirement::kRequired, OnceIsEnough},
    {"dma-unmap/other-ranges-than-mapped-are-refused", kUnmap, Requirement::kRecommended,
     RefusesOtherRanges},
    {"dma-unmap/of-a-huge-range-never-mapped-is-refused", "QEMU's client under a vIOMMU",
     Requirement::kPeerQuirk,
     [](ServerUnderTest& server) {
       return Refuses(server, UnmapRequest({.address = 0, .size = uint64_t{1} << 48}), {ENOENT});
     }},
    {"dma-unmap/argsz-below-24-is-refused", kUnmap, Requirement::kRequired,
     [](ServerUnderTest& server) {
       return Refuses(server, UnmapRequest({.argsz = 23}), {EINVAL});
     }},
    {"dma-unmap/short-body-is-refused", kUnmap, Requirement::kRequired, RefusesShortBodies},
    {"dma-unmap/unknown-flag-is-refused", kFlags, Requirement::kRecommended,
     [](ServerUnderTest& server) { return Refuses(server, UnmapRequest({.flags = 4}), {EINVAL}); }},
    {"dma-unmap/all-takes-everything", kFlags, Requirement::kRecommended, AllTakesEverything},
    {"dma-unmap/all-with-a-range-is-refused", kFlags, Requirement::kRecommended,
     [](ServerUnderTest& server) {
       return Refuses(server, UnmapRequest({.flags = kUnmapAll}), {EINVAL});
     }},
    {"dma-unmap/all-with-bitmap-is-refused", kFlags, Requirement::kRecommended,
     [](ServerUnderTest& server) {
       return Refuses(
           server,
           UnmapRequest({.argsz = 48, .flags = kUnmapAll | kUnmapBitmap, .address = 0, .size = 0},
                        {}),
           {EINVAL});
     }},
    {"dma-unmap/bitmap-without-its-header-is-refused", kFlags, Requirement::kRecommended,
     RefusesBitmapWithoutItsHeader},
    {"dma-unmap/bitmap-of-odd-pages-is-refused", kFlags, Requirement::kRecommended,
     [](ServerUnderTest& server) { return RefusesBitmap(server, {.page_size = 4097}); }},
    {"dma-unmap/bitmap-of-pages-of-0-bytes-is-refused", kFlags, Requirement::kRecommended,
     [](ServerUnderTest& server) { return RefusesBitmap(server, {.page_size = 0}); }},
    {"dma-unmap/bitmap-larger-than-argsz-is-refused", kFlags, Requirement::kRequired,
     RefusesHugeBitmap},
    {"dma-unmap/stray-descriptor-is-taken", "SPDK's client", Requirement::kPeerQuirk,
     TakesADescriptor},
};

}  // namespace

std::span<const ServerCheck> DmaUnmapChecks() { return kChecks; }

}  // namespace vfio_user
