// Whether the capabilities that a device describes can be in one config space.
#ifndef SERVER_PCI_CAPABILITY_DESCRIPTION_H_
#define SERVER_PCI_CAPABILITY_DESCRIPTION_H_

#include "absl/status/status.h"
#include "server/device.h"

namespace vfio_user {

// InvalidArgument for MSI vectors that are no power of two up to 32; masks that are longer than
// their bytes, or that let a bit both be written and cleared by 1; extended capabilities without
// PCI Express, with id 0 or a version that is not 1 to 15; and more of either list than fits.
absl::Status CheckCapabilities(const DeviceDescription& description);

}  // namespace vfio_user

#endif  // SERVER_PCI_CAPABILITY_DESCRIPTION_H_
