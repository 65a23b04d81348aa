#include "server/events/work_queue.h"

#include <utility>

namespace vfio_user {

void WorkQueue::Post(Work work) {
  MutexLock lock(mu_);
  // `work` is destroyed by the caller's thread then: what it owns may post, too.
  if (closed_) return;
  queue_.push_back(std::move(work));
  if (!holding_) changed_.NotifyOne();
}

bool WorkQueue::full() {
  MutexLock lock(mu_);
  return queue_.size() >= kMostQueued;
}

void WorkQueue::Run() {
  MutexLock lock(mu_);
  while (true) {
    while (!closed_ && ready() == 0) changed_.Wait(mu_);
    if (closed_) return;
    Work work = std::move(queue_.front());
    queue_.pop_front();
    if (holding_) --ready_while_held_;
    running_ = true;
    mu_.Unlock();
    work();
    // Destroyed here and without the lock: what it owns may take a while, or post.
    work = nullptr;
    mu_.Lock();
    running_ = false;
    if (queue_.empty()) idle_.NotifyAll();
  }
}

void WorkQueue::WaitUntilIdle() {
  MutexLock lock(mu_);
  while (running_ || !queue_.empty()) idle_.Wait(mu_);
}

void WorkQueue::Close() {
  std::deque<Work> dropped;
  MutexLock lock(mu_);
  closed_ = true;
  dropped.swap(queue_);
  ready_while_held_ = 0;
  changed_.NotifyAll();
  if (!running_) idle_.NotifyAll();
}

void WorkQueue::BeginHold() {
  MutexLock lock(mu_);
  holding_ = true;
  ready_while_held_ = queue_.size();
}

void WorkQueue::EndHold() {
  MutexLock lock(mu_);
  holding_ = false;
  if (!queue_.empty()) changed_.NotifyOne();
}

}  // namespace vfio_user
