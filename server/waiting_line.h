// Clients that came while another one had their place.
#ifndef SERVER_WAITING_LINE_H_
#define SERVER_WAITING_LINE_H_

#include <poll.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "absl/time/time.h"
#include "proto_defs/transport/deadline.h"
#include "proto_defs/transport/socket.h"
#include "proto_defs/wire/limits.h"
#include "server/seat.h"

namespace vfio_user {

// A client whose place is free in a moment gets it. Any other one is told EBUSY, in answer to its
// VERSION, and closed. For none of them does anybody wait: a client that does not send its VERSION
// holds nothing but a place in this line, and only until `patience` is over.
//
// Thread-compatible.
class WaitingLine {
 public:
  // So many may stand here, so that clients cannot use up the server's descriptors.
  static constexpr size_t kPlaces = 16;

  explicit WaitingLine(absl::Duration patience) : patience_(patience) {}

  // `seat`, borrowed, is where the client wants to go. Closed at once when the line is full.
  void Add(Socket socket, Seat& seat);

  // Does for each client what can be done now.
  void Tend();

  // Closes them all.
  void Clear() { clients_.clear(); }

  // What to poll for, and until when, before Tend can do more. It can also do more when a seat has
  // become vacant.
  void AppendPollEntries(std::vector<pollfd>& entries) const;
  Deadline NextDeadline() const;

  size_t size() const { return clients_.size(); }

 private:
  struct Client {
    std::optional<Socket> socket;
    Seat* seat = nullptr;
    Deadline deadline;
    // Waits for its seat, and is not to be read from: that is for whoever serves it.
    bool waiting = false;
    std::array<uint8_t, kHeaderBytes> header = {};
    size_t header_bytes = 0;  // Received so far.
  };

  // Whether the client is done with, one way or the other.
  static bool TendOne(Client& client);
  static bool Refuse(Client& client);

  const absl::Duration patience_;
  std::vector<Client> clients_;
};

}  // namespace vfio_user

#endif  // SERVER_WAITING_LINE_H_
