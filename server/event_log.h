// One line for each thing that a server's operator may want to know.
#ifndef SERVER_EVENT_LOG_H_
#define SERVER_EVENT_LOG_H_

#include <functional>
#include <string>
#include <string_view>
#include <utility>

#include "fmt/format.h"

namespace vfio_user {

// A value; thread-safe as far as the sink is.
class EventLog {
 public:
  using Sink = std::function<void(std::string_view)>;

  // `where` begins each line: the device and its socket. An empty sink takes nothing.
  EventLog(Sink sink, std::string where) : sink_(std::move(sink)), where_(std::move(where)) {}

  void Write(std::string_view line) const {
    if (sink_) sink_(fmt::format("{}: {}", where_, line));
  }

 private:
  Sink sink_;
  std::string where_;
};

}  // namespace vfio_user

#endif  // SERVER_EVENT_LOG_H_
