// A thread that does nothing.
#ifndef TESTS_BENCH_SECOND_THREAD_H_
#define TESTS_BENCH_SECOND_THREAD_H_

#include <future>
#include <thread>

namespace vfio_user {

// For benchmarks of one thread: a server has several, and the library locks and counts references
// with atomics once there are.
class SecondThread {
 public:
  SecondThread() = default;
  SecondThread(const SecondThread&) = delete;
  SecondThread& operator=(const SecondThread&) = delete;
  ~SecondThread() {
    done_.set_value();
    thread_.join();
  }

 private:
  std::promise<void> done_;
  std::thread thread_{[this] { done_.get_future().wait(); }};
};

}  // namespace vfio_user

#endif  // TESTS_BENCH_SECOND_THREAD_H_
