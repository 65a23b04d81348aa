// What a figure counts.
#ifndef TOOLS_REPORT_PAGE_PLOT_UNIT_H_
#define TOOLS_REPORT_PAGE_PLOT_UNIT_H_

namespace vfio_user {

// It says how a number is written: in powers of 1024 for bytes, in ns to s for seconds.
enum class PlotUnit { kBytes, kBytesPerSecond, kSeconds, kCount, kPerSecond };

}  // namespace vfio_user

#endif  // TOOLS_REPORT_PAGE_PLOT_UNIT_H_
