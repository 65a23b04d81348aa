#include "server/interrupts/interrupt_types.h"

#include "gtest/gtest.h"
#include "proto_defs/wire/device_info.h"
#include "proto_defs/wire/irq.h"
#include "server/device.h"

namespace vfio_user {
namespace {

TEST(InterruptTypesTest, MasksAllButErrorsAndRequestsAndIntxByItself) {
  EXPECT_EQ(InterruptFlags(IrqIndex::kIntx).ToWire(), 7u);
  EXPECT_EQ(InterruptFlags(IrqIndex::kMsi).ToWire(), 3u);
  EXPECT_EQ(InterruptFlags(IrqIndex::kMsix).ToWire(), 3u);
  EXPECT_EQ(InterruptFlags(IrqIndex::kErr).ToWire(), 1u);
  EXPECT_EQ(InterruptFlags(IrqIndex::kReq).ToWire(), 1u);
}

TEST(InterruptTypesTest, CountsTheVectorsOfAType) {
  DeviceDescription description;
  description.irqs = {{.index = IrqIndex::kMsix, .count = 100}};

  EXPECT_EQ(VectorCount(description, IrqIndex::kMsix), 100u);
  EXPECT_EQ(VectorCount(description, IrqIndex::kIntx), 0u);
}

}  // namespace
}  // namespace vfio_user
