// DEVICE_FEATURE as the checks send it, right and wrong.
#ifndef TESTS_CONFORMANCE_SERVER_FEATURE_REQUESTS_H_
#define TESTS_CONFORMANCE_SERVER_FEATURE_REQUESTS_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto_defs/wire/device_feature.h"
#include "tests/conformance/server/wire_client.h"

namespace vfio_user {

inline constexpr uint32_t kFeatureGet = 1 << 16;
inline constexpr uint32_t kFeatureSet = 1 << 17;
inline constexpr uint32_t kFeatureProbe = 1 << 18;

// `flags`: a feature and operations. argsz holds the data of the largest reply there is.
WireRequest FeatureRequest(uint32_t flags, std::vector<uint8_t> data = {},
                           uint32_t argsz = 1 << 20);

constexpr uint32_t FlagsOf(Feature feature, uint32_t operations) {
  return static_cast<uint32_t>(feature) | operations;
}

// The data of the reply to a kFeatureGet.
absl::StatusOr<std::vector<uint8_t>> GetFeature(WireClient& client, Feature feature,
                                                std::vector<uint8_t> data = {});

// DMA_LOGGING_START's data, any of it. The range is what a MapNumbers has as it stands.
struct LoggingNumbers {
  uint64_t page_size = 4096;
  uint32_t num_ranges = 1;
  std::vector<DmaLoggingRange> ranges = {{.address = Iova{0x100000}, .length = 0x4000}};
};

WireRequest StartLoggingRequest(const LoggingNumbers& numbers);
WireRequest StopLoggingRequest();
// DMA_LOGGING_REPORT's.
std::vector<uint8_t> ReportData(uint64_t address, uint64_t length, uint64_t page_size);

absl::StatusOr<MigState> GetState(WireClient& client);
WireRequest SetStateRequest(MigState state);
absl::Status SetState(WireClient& client, MigState state);

}  // namespace vfio_user

#endif  // TESTS_CONFORMANCE_SERVER_FEATURE_REQUESTS_H_
