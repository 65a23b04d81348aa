// DEVICE_FEATURE as it is on the wire: optional abilities that a device is asked about, read and
// set. What the library knows the meaning of has classes of its own: DeviceMigration, DmaLog.
#ifndef CLIENT_DEVICE_FEATURES_H_
#define CLIENT_DEVICE_FEATURES_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto_defs/wire/device_feature.h"

namespace vfio_user {

class Session;

// Keeps the connection alive. A value type; thread-safe.
class DeviceFeatures {
 public:
  // Whether the device has `feature` with all of `ops` (kGet, kSet).
  absl::StatusOr<bool> Probe(Feature feature, FeatureOps ops) const;

  // What the feature says to `data`, at most `max_bytes` of it; more is the server's fault, and
  // ends the connection. InvalidArgument mostly means that the device does not have the feature.
  absl::StatusOr<std::vector<uint8_t>> Get(Feature feature, std::span<const uint8_t> data,
                                           uint32_t max_bytes) const;

  // Gives `data` back as the server changed it; empty if it did not say. The same errors.
  absl::StatusOr<std::vector<uint8_t>> Set(Feature feature, std::span<const uint8_t> data) const;

 private:
  friend class Client;
  friend class DmaLog;
  friend class DeviceMigration;
  explicit DeviceFeatures(std::shared_ptr<Session> session) : session_(std::move(session)) {}

  absl::StatusOr<std::vector<uint8_t>> Ask(const DeviceFeature& request) const;
  // `refusal`, or Unimplemented with `lacking` where the device does not have the feature at all.
  absl::Status Explain(const absl::Status& refusal, const DeviceFeature& probe,
                       std::string_view lacking) const;

  std::shared_ptr<Session> session_;
};

}  // namespace vfio_user

#endif  // CLIENT_DEVICE_FEATURES_H_
