// A register that is rung through an eventfd instead of being written by a message.
#ifndef CLIENT_DOORBELL_H_
#define CLIENT_DOORBELL_H_

#include <cstdint>
#include <memory>
#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto_defs/transport/unique_fd.h"
#include "proto_defs/wire/region_io_fds.h"

namespace vfio_user {

class Session;

// Ringing it costs two quick system calls and waits for nobody; the device hears of it a while
// later. It carries no value: how often it was rung is all that the device learns. Movable.
// Thread-safe, but for moving. Keeps the connection alive.
class Doorbell {
 public:
  // ResourceExhausted when the device has left so many rings unheard that no more can be counted
  // (2^64 - 2). A server that is gone is not noticed.
  //
  // One write(), where the server made the eventfd with EFD_NONBLOCK; otherwise it looks for room
  // first. It can wait all the same, for as long as the server likes, where there is room for fewer
  // than `times`, or what there was is used by somebody else in between, or the server has taken
  // O_NONBLOCK back: to set it here would change it for the server, which may rely on waiting.
  absl::Status Ring(uint64_t times = 1) const;

  // What a write to the region would have to be for the device to take it as a ring.
  uint64_t offset() const { return entry_.offset; }
  uint64_t size() const { return entry_.size; }  // In bytes.
  // nullopt: any value.
  std::optional<uint64_t> value() const;

  // The eventfd, for whoever is to ring in our place. Borrowed.
  int fd() const { return eventfd_.get(); }

 private:
  friend class Region;
  // DataLoss, and the end of the connection, for a descriptor that is no eventfd.
  static absl::StatusOr<Doorbell> Create(std::shared_ptr<Session> session, UniqueFd eventfd,
                                         const IoFdEntry& entry);
  Doorbell(std::shared_ptr<Session> session, UniqueFd eventfd, const IoFdEntry& entry);

  std::shared_ptr<Session> session_;
  UniqueFd eventfd_;
  IoFdEntry entry_;
  bool nonblocking_ = false;
};

}  // namespace vfio_user

#endif  // CLIENT_DOORBELL_H_
