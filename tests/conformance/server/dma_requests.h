// DMA_MAP and DMA_UNMAP as the checks send them, right and wrong.
#ifndef TESTS_CONFORMANCE_SERVER_DMA_REQUESTS_H_
#define TESTS_CONFORMANCE_SERVER_DMA_REQUESTS_H_

#include <cstdint>
#include <vector>

#include "proto_defs/transport/unique_fd.h"
#include "tests/conformance/server/wire_client.h"

namespace vfio_user {

inline constexpr uint32_t kDmaRead = 1;
inline constexpr uint32_t kDmaWrite = 2;
inline constexpr uint32_t kDmaReadWrite = kDmaRead | kDmaWrite;
inline constexpr uint32_t kDmaMmap = 4;
inline constexpr uint32_t kDmaFileIo = 8;

inline constexpr uint32_t kUnmapBitmap = 1;
inline constexpr uint32_t kUnmapAll = 2;

// The numbers of a DMA_MAP, any of them. As they stand they are right; the address is one that a
// device with 28 address bits reaches.
struct MapNumbers {
  uint32_t argsz = 32;
  uint32_t flags = kDmaReadWrite;
  uint64_t offset = 0;  // In bytes.
  uint64_t address = 0x100000;
  uint64_t size = 0x4000;  // In bytes.
};

struct UnmapNumbers {
  uint32_t argsz = 24;
  uint32_t flags = 0;
  uint64_t address = 0x100000;
  uint64_t size = 0x4000;  // In bytes.
};

WireRequest MapRequest(const MapNumbers& numbers, std::vector<FdView> fds = {});
WireRequest UnmapRequest(const UnmapNumbers& numbers);

// The request for the bitmap of what an UnmapNumbers names, as its flags must say too.
struct BitmapNumbers {
  uint64_t page_size = 4096;  // In bytes.
  uint64_t size_bytes = 8;    // Of the bitmap.
};
WireRequest UnmapRequest(const UnmapNumbers& numbers, const BitmapNumbers& bitmap);

// A file without a name, of `bytes` zeros.
UniqueFd MemoryFile(uint64_t bytes);

}  // namespace vfio_user

#endif  // TESTS_CONFORMANCE_SERVER_DMA_REQUESTS_H_
