#include "proto_defs/wire/version.h"

#include <algorithm>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "fmt/format.h"
#include "nlohmann/json.hpp"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/wire/limits.h"
#include "proto_defs/wire/wire_reader.h"
#include "proto_defs/wire/wire_writer.h"

namespace vfio_user {
namespace {

using nlohmann::json;

absl::Status WrongType(std::string_view key, std::string_view want, const json& got) {
  return absl::InvalidArgumentError(
      fmt::format("VERSION: {} is of type {}, want {}", key, got.type_name(), want));
}

// The member `key` of `object`; null if there is none.
const json* Find(const json& object, std::string_view key) {
  const auto it = object.find(std::string(key));
  return it == object.end() ? nullptr : &*it;
}

absl::Status ReadNumber(const json& object, std::string_view key, std::optional<uint64_t>& out) {
  const json* value = Find(object, key);
  if (value == nullptr) return absl::OkStatus();
  // False for what is negative, has a fraction, or does not fit 64 bits.
  if (!value->is_number_unsigned()) {
    return WrongType(key, "a whole number, 0 or above", *value);
  }
  out = value->get<uint64_t>();
  return absl::OkStatus();
}

absl::Status ReadBool(const json& object, std::string_view key, std::optional<bool>& out) {
  const json* value = Find(object, key);
  if (value == nullptr) return absl::OkStatus();
  if (!value->is_boolean()) return WrongType(key, "true or false", *value);
  out = value->get<bool>();
  return absl::OkStatus();
}

// The object `key` of `object`; null if there is none.
absl::StatusOr<const json*> FindObject(const json& object, std::string_view key) {
  const json* value = Find(object, key);
  if (value != nullptr && !value->is_object()) return WrongType(key, "an object", *value);
  return value;
}

absl::Status ReadTwinSocket(const json& object, Capabilities& out) {
  VFIO_USER_ASSIGN_OR_RETURN(const json* twin, FindObject(object, "twin_socket"));
  if (twin == nullptr) return absl::OkStatus();
  std::optional<bool> supported;
  out.twin_socket.emplace();
  VFIO_USER_RETURN_IF_ERROR(ReadBool(*twin, "supported", supported));
  out.twin_socket->supported = supported.value_or(false);
  return ReadNumber(*twin, "fd_index", out.twin_socket->fd_index);
}

absl::Status ReadMigration(const json& object, Capabilities& out) {
  VFIO_USER_ASSIGN_OR_RETURN(const json* migration, FindObject(object, "migration"));
  if (migration == nullptr) return absl::OkStatus();
  out.migration.emplace();
  VFIO_USER_RETURN_IF_ERROR(ReadNumber(*migration, "pgsize", out.migration->pgsize));
  return ReadNumber(*migration, "max_bitmap_size", out.migration->max_bitmap_size);
}

absl::Status CheckBounds(const Capabilities& capabilities) {
  if (capabilities.max_data_xfer_size == 0) {
    return absl::InvalidArgumentError("VERSION: max_data_xfer_size is 0, want at least 1");
  }
  if (capabilities.MaxMsgFds() > kMaxAdvertisedMsgFds) {
    return absl::InvalidArgumentError(fmt::format("VERSION: max_msg_fds is {}, want at most {}",
                                                  capabilities.MaxMsgFds(), kMaxAdvertisedMsgFds));
  }
  return absl::OkStatus();
}

absl::StatusOr<Capabilities> ReadCapabilities(const json& object) {
  Capabilities out;
  VFIO_USER_RETURN_IF_ERROR(ReadNumber(object, "max_msg_fds", out.max_msg_fds));
  VFIO_USER_RETURN_IF_ERROR(ReadNumber(object, "max_data_xfer_size", out.max_data_xfer_size));
  VFIO_USER_RETURN_IF_ERROR(ReadNumber(object, "max_dma_maps", out.max_dma_maps));
  VFIO_USER_RETURN_IF_ERROR(ReadNumber(object, "pgsizes", out.pgsizes));
  VFIO_USER_RETURN_IF_ERROR(ReadBool(object, "write_multiple", out.write_multiple));
  VFIO_USER_RETURN_IF_ERROR(ReadTwinSocket(object, out));
  VFIO_USER_RETURN_IF_ERROR(ReadMigration(object, out));
  VFIO_USER_RETURN_IF_ERROR(CheckBounds(out));
  return out;
}

absl::StatusOr<Capabilities> ParseVersionData(std::span<const uint8_t> data) {
  if (data.size() > kMaxVersionDataBytes) {
    return absl::InvalidArgumentError(fmt::format("VERSION: data is {} bytes, want at most {}",
                                                  data.size(), kMaxVersionDataBytes));
  }
  if (std::ranges::find(data, 0) != data.end() - 1) {
    return absl::InvalidArgumentError("VERSION: data has no NUL at its end, or one before it");
  }
  // Parses and destroys without recursion, so that depth costs memory only, and the bound above
  // bounds that.
  const json root = json::parse(data.begin(), data.end() - 1, nullptr, /*allow_exceptions=*/false);
  if (!root.is_object()) {
    return absl::InvalidArgumentError("VERSION: data is not a JSON object");
  }
  VFIO_USER_ASSIGN_OR_RETURN(const json* capabilities, FindObject(root, "capabilities"));
  if (capabilities == nullptr) return Capabilities{};
  return ReadCapabilities(*capabilities);
}

template <typename T>
void Put(json& object, const char* key, const std::optional<T>& value) {
  if (value) object[key] = *value;
}

json ToJson(const Capabilities& capabilities) {
  json out = json::object();
  Put(out, "max_msg_fds", capabilities.max_msg_fds);
  Put(out, "max_data_xfer_size", capabilities.max_data_xfer_size);
  Put(out, "max_dma_maps", capabilities.max_dma_maps);
  Put(out, "pgsizes", capabilities.pgsizes);
  Put(out, "write_multiple", capabilities.write_multiple);
  if (capabilities.twin_socket) {
    json& twin = out["twin_socket"] = json::object();
    twin["supported"] = capabilities.twin_socket->supported;
    Put(twin, "fd_index", capabilities.twin_socket->fd_index);
  }
  if (capabilities.migration) {
    json& migration = out["migration"] = json::object();
    Put(migration, "pgsize", capabilities.migration->pgsize);
    Put(migration, "max_bitmap_size", capabilities.migration->max_bitmap_size);
  }
  return out;
}

}  // namespace

uint64_t Capabilities::MaxMsgFds() const { return max_msg_fds.value_or(kDefaultMaxMsgFds); }

uint64_t Capabilities::MaxDataXferBytes() const {
  return std::clamp<uint64_t>(max_data_xfer_size.value_or(kDefaultMaxDataXferBytes), 1,
                              kMaxAdvertisedDataXferBytes);
}

uint64_t Capabilities::MaxDmaMaps() const { return max_dma_maps.value_or(kDefaultMaxDmaMaps); }

uint64_t Capabilities::PageSizes() const { return pgsizes.value_or(kDefaultPageSizes); }

bool Capabilities::WriteMultiple() const { return write_multiple.value_or(false); }

bool Capabilities::TwinSocketSupported() const { return twin_socket && twin_socket->supported; }

absl::StatusOr<VersionMessage> VersionMessage::Parse(std::span<const uint8_t> body) {
  WireReader in(body);
  VersionMessage out;
  out.major = in.Read<uint16_t>();
  out.minor = in.Read<uint16_t>();
  VFIO_USER_RETURN_IF_ERROR(in.FinishPrefix("VERSION"));
  const std::span<const uint8_t> data = in.TakeRest();
  if (data.empty()) return out;
  VFIO_USER_ASSIGN_OR_RETURN(out.capabilities, ParseVersionData(data));
  return out;
}

void VersionMessage::AppendTo(WireWriter& out) const {
  out.Write<uint16_t>(major);
  out.Write<uint16_t>(minor);
  json root = json::object();
  root["capabilities"] = ToJson(capabilities);
  const std::string text = root.dump();
  for (const char c : text) out.Write<uint8_t>(static_cast<uint8_t>(c));
  out.Write<uint8_t>(0);
}

}  // namespace vfio_user
