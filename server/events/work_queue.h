// Work for one thread, in order, some of it held back until an answer is sent.
#ifndef SERVER_EVENTS_WORK_QUEUE_H_
#define SERVER_EVENTS_WORK_QUEUE_H_

#include <cstddef>
#include <deque>
#include <functional>

#include "absl/base/thread_annotations.h"
#include "proto_defs/base/mutex.h"

namespace vfio_user {

// Thread-safe. Work runs on whichever thread is in Run, with no lock held.
class WorkQueue {
 public:
  using Work = std::function<void()>;

  // A client that waits for its replies has a handful under way, and a device posts a few more.
  static constexpr size_t kMostQueued = 1024;

  // While one lives, work that is posted is queued but does not begin. One at a time.
  class Hold {
   public:
    explicit Hold(WorkQueue& queue) : queue_(queue) { queue_.BeginHold(); }
    ~Hold() { queue_.EndHold(); }
    Hold(const Hold&) = delete;
    Hold& operator=(const Hold&) = delete;

   private:
    WorkQueue& queue_;
  };

  // Queues `work` behind what was posted before. After Close it is dropped.
  void Post(Work work);

  // Whether so much is queued that clients may not add to it: they can send requests faster than
  // a device that waits for them runs what those ask for.
  bool full();

  // Runs what is posted, until Close. By one thread.
  void Run();

  // Waits until nothing is queued and nothing runs. Not by work, and not by who has a Hold.
  void WaitUntilIdle();

  // Ends Run. Work that has not begun is dropped.
  void Close();

 private:
  void BeginHold();
  void EndHold();
  // How many of the queue, from its front, may begin.
  size_t ready() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return holding_ ? ready_while_held_ : queue_.size();
  }

  Mutex mu_;
  CondVar changed_;  // Something is ready, or closed_.
  CondVar idle_;
  std::deque<Work> queue_ ABSL_GUARDED_BY(mu_);
  bool running_ ABSL_GUARDED_BY(mu_) = false;
  bool closed_ ABSL_GUARDED_BY(mu_) = false;
  bool holding_ ABSL_GUARDED_BY(mu_) = false;
  size_t ready_while_held_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace vfio_user

#endif  // SERVER_EVENTS_WORK_QUEUE_H_
