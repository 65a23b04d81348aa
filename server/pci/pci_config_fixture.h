// What tests of a config space share: it, and bytes in and out of it.
#ifndef SERVER_PCI_PCI_CONFIG_FIXTURE_H_
#define SERVER_PCI_PCI_CONFIG_FIXTURE_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "gtest/gtest.h"
#include "server/device.h"
#include "server/pci/pci_config_space.h"

namespace vfio_user {

class PciConfigFixture : public testing::Test {
 protected:
  // Until the test calls Make, of a device without anything.
  void Make(const DeviceDescription& description) { config_ = PciConfigSpace(description); }

  std::vector<uint8_t> Read(size_t offset, size_t count) const {
    std::vector<uint8_t> bytes(count);
    config_.Read(offset, std::as_writable_bytes(std::span(bytes)));
    return bytes;
  }
  PciWriteEffect Write(size_t offset, std::vector<uint8_t> bytes) {
    return config_.Write(offset, std::as_bytes(std::span(bytes)));
  }

  PciConfigSpace config_{DeviceDescription()};
};

}  // namespace vfio_user

#endif  // SERVER_PCI_PCI_CONFIG_FIXTURE_H_
