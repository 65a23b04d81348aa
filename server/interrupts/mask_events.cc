#include "server/interrupts/mask_events.h"

#include <memory>
#include <utility>

#include "proto_defs/base/status_macros.h"
#include "server/events/event_fd.h"

namespace vfio_user {

absl::Status MaskEvents::Apply(const SetIrqsRequest& request, std::vector<UniqueFd> fds) {
  VFIO_USER_RETURN_IF_ERROR(interrupts_.Check(request, fds.size()));
  std::vector<EventPoller::Watch> watches(request.count);
  for (uint32_t i = 0; i < fds.size(); ++i) {
    const Key key = {request.index, request.action, request.start + i};
    VFIO_USER_ASSIGN_OR_RETURN(watches[i], Add(key, std::move(fds[i])));
  }
  for (uint32_t i = 0; i < request.count; ++i) {
    const Key key = {request.index, request.action, request.start + i};
    watches_.erase(key);
    if (!fds.empty()) watches_.emplace(key, std::move(watches[i]));
  }
  return absl::OkStatus();
}

absl::StatusOr<EventPoller::Watch> MaskEvents::Add(const Key& key, UniqueFd fd) {
  VFIO_USER_ASSIGN_OR_RETURN(EventFd event, EventFd::Adopt(std::move(fd)));
  SetIrqsRequest change;
  change.action = key.action;
  change.index = key.index;
  change.start = key.vector;
  change.count = 1;
  return poller_.Add(std::make_shared<const EventFd>(std::move(event)),
                     [&interrupts = interrupts_, change](const EventFd& signalled) {
                       if (signalled.Take() > 0) (void)interrupts.Apply(change, {});
                     });
}

void MaskEvents::Drop(IrqIndex index) {
  std::erase_if(watches_, [index](const auto& entry) { return entry.first.index == index; });
}

}  // namespace vfio_user
