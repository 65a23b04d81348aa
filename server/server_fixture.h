// What tests of the server share: a server with a device at a socket, and what it logged.
#ifndef SERVER_SERVER_FIXTURE_H_
#define SERVER_SERVER_FIXTURE_H_

#include <algorithm>
#include <cstdlib>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "proto_defs/base/mutex.h"
#include "server/device.h"
#include "server/server.h"
#include "tests/testing/temp_dir.h"

namespace vfio_user {

class ServerFixture : public testing::Test {
 protected:
  ServerFixture() {
    options_.negotiation_timeout = absl::Seconds(20);
    options_.dma_timeout = absl::Seconds(20);
    options_.log = [this](std::string_view line) {
      MutexLock lock(mu_);
      log_.emplace_back(line);
      logged_.NotifyAll();
    };
  }

  // Before what the device uses of the test goes away.
  void TearDown() override { server_.reset(); }

  // Serves `device` at path(), with options_ as they are the first time.
  void Serve(std::unique_ptr<Device> device) { ServeAt(path(), std::move(device)); }

  void ServeAt(const std::string& path, std::unique_ptr<Device> device) {
    if (server_ == nullptr) {
      auto server = Server::Create(options_);
      if (!server.ok()) std::abort();
      server_ = *std::move(server);
    }
    if (!server_->Listen(path, std::move(device)).ok()) std::abort();
  }

  std::string path() const { return directory_.File("socket"); }

  std::vector<std::string> log() const {
    MutexLock lock(mu_);
    return log_;
  }

  // Waits until a line of the log has `part` in it.
  void WaitForLog(std::string_view part) const {
    MutexLock lock(mu_);
    while (std::ranges::none_of(
        log_, [part](const std::string& line) { return line.find(part) != std::string::npos; })) {
      logged_.Wait(mu_);
    }
  }

  TempDir directory_;
  ServerOptions options_;
  std::unique_ptr<Server> server_;

 private:
  mutable Mutex mu_;
  mutable CondVar logged_;
  std::vector<std::string> log_ ABSL_GUARDED_BY(mu_);
};

// What another thread of a test finds out, one after the other.
template <typename T>
class Mailbox {
 public:
  void Put(T value) {
    MutexLock lock(mu_);
    values_.push_back(std::move(value));
    changed_.NotifyAll();
  }
  // Waits for it.
  T Take() {
    MutexLock lock(mu_);
    while (values_.empty()) changed_.Wait(mu_);
    T value = std::move(values_.front());
    values_.pop_front();
    return value;
  }

 private:
  Mutex mu_;
  CondVar changed_;
  std::deque<T> values_ ABSL_GUARDED_BY(mu_);
};

}  // namespace vfio_user

#endif  // SERVER_SERVER_FIXTURE_H_
