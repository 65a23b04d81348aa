#include "tests/conformance/client/request_kinds.h"

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "fmt/format.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/wire/device_info.h"
#include "tests/conformance/client/model_device.h"

namespace vfio_user {
namespace {

absl::Status OpenBar0(Stage& stage) { return stage.client().ReadRegister(4).status(); }

RequestKind UnmapKind() {
  // Prepared anew for each call, which ends it.
  auto lent = std::make_shared<Stage::Lent>();
  return {.family = "dma-unmap",
          .section = "VFIO_USER_DMA_UNMAP",
          .command = Command::kDmaUnmap,
          .needs = ClientAbility::kMapMemory,
          .prepare = [lent](Stage& stage) -> absl::Status {
            VFIO_USER_ASSIGN_OR_RETURN(*lent, stage.Lend());
            return absl::OkStatus();
          },
          .call = [lent](Stage& stage) { return stage.client().Unmap(lent->iova); },
          .reply_has_body = true,
          .outcome_must_be_known = true,
          .refusal_closes = true};
}

std::vector<RequestKind> AllKinds() {
  return {
      {.family = "device-info",
       .section = "VFIO_USER_DEVICE_GET_INFO",
       .command = Command::kDeviceGetInfo,
       .needs = ClientAbility::kInfo,
       .call = [](Stage& stage) { return stage.client().GetDeviceInfo().status(); },
       .reply_has_body = true},
      {.family = "region-info",
       .section = "VFIO_USER_DEVICE_GET_REGION_INFO",
       .command = Command::kDeviceGetRegionInfo,
       .needs = ClientAbility::kInfo,
       .call =
           [](Stage& stage) { return stage.client().GetRegionInfo(RegionIndex::kConfig).status(); },
       .reply_has_body = true},
      {.family = "irq-info",
       .section = "VFIO_USER_DEVICE_GET_IRQ_INFO",
       .command = Command::kDeviceGetIrqInfo,
       .needs = ClientAbility::kInfo,
       .call = [](Stage& stage) { return stage.client().GetIrqInfo(IrqIndex::kMsix).status(); },
       .reply_has_body = true},
      {.family = "set-irqs",
       .section = "VFIO_USER_DEVICE_SET_IRQS",
       .command = Command::kDeviceSetIrqs,
       .needs = ClientAbility::kInterrupts,
       .call = [](Stage& stage) { return stage.client().BindInterrupt(IrqIndex::kMsix, 0); }},
      {.family = "region-read",
       .section = "VFIO_USER_REGION_READ",
       .command = Command::kRegionRead,
       .prepare = OpenBar0,
       .call = [](Stage& stage) { return stage.client().ReadRegister(0).status(); },
       .reply_has_body = true},
      {.family = "region-write",
       .section = "VFIO_USER_REGION_WRITE",
       .command = Command::kRegionWrite,
       .prepare = OpenBar0,
       .call = [](Stage& stage) { return stage.client().WriteRegister(8, 1); },
       .reply_has_body = true},
      {.family = "dma-map",
       .section = "VFIO_USER_DMA_MAP",
       .command = Command::kDmaMap,
       .needs = ClientAbility::kMapMemory,
       .call = [](Stage& stage) { return stage.Lend().status(); },
       .outcome_must_be_known = true},
      UnmapKind(),
      {.family = "reset",
       .section = "VFIO_USER_DEVICE_RESET",
       .command = Command::kDeviceReset,
       .needs = ClientAbility::kReset,
       .call = [](Stage& stage) { return stage.client().Reset(); }},
      {.family = "mig-data-read",
       .section = "VFIO_USER_MIG_DATA_READ",
       .command = Command::kMigDataRead,
       .needs = ClientAbility::kMigration,
       .call = [](Stage& stage) { return stage.client().SaveState().status(); },
       .reply_has_body = true,
       .goes_on = true},
      {.family = "mig-data-write",
       .section = "VFIO_USER_MIG_DATA_WRITE",
       .command = Command::kMigDataWrite,
       .needs = ClientAbility::kMigration,
       .call =
           [](Stage& stage) {
             return stage.client().LoadState(
                 std::vector<uint8_t>(ModelDevice::kStateBytes, ModelDevice::kStateByte));
           },
       .goes_on = true},
  };
}

}  // namespace

const std::vector<RequestKind>& RequestKinds() {
  static const auto& kinds = *new std::vector<RequestKind>(AllKinds());
  return kinds;
}

ClientCheck CheckOf(const RequestKind& kind, std::string_view name, Sockets sockets) {
  ClientCheck check;
  check.description.name = fmt::format("{}/{}{}", kind.family, name,
                                       sockets == Sockets::kMainAndTwin ? "-beside-a-twin" : "");
  check.description.section = kind.section;
  if (kind.needs) check.needs.push_back(*kind.needs);
  check.stage.sockets = sockets;
  return check;
}

absl::Status Round(const RequestKind& kind, Stage& stage) {
  if (kind.prepare) VFIO_USER_RETURN_IF_ERROR(kind.prepare(stage));
  return kind.call(stage);
}

}  // namespace vfio_user
