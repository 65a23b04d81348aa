// Figures with their unit, as the pages' tables have them.
#ifndef TOOLS_REPORT_PAGE_QUANTITY_TEXT_H_
#define TOOLS_REPORT_PAGE_QUANTITY_TEXT_H_

#include <string>

#include "tools/report_page/plot_unit.h"

namespace vfio_user {

// "64 B", "1.5 GiB/s", "12.3 µs", "65,535", "12,345/s": three digits or more.
std::string QuantityText(double value, PlotUnit unit);

}  // namespace vfio_user

#endif  // TOOLS_REPORT_PAGE_QUANTITY_TEXT_H_
