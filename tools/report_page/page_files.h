// The files that go into each page.
#ifndef TOOLS_REPORT_PAGE_PAGE_FILES_H_
#define TOOLS_REPORT_PAGE_PAGE_FILES_H_

#include <string_view>

namespace vfio_user {

std::string_view ChartJs();  // The library, minified, with its copyright notice.
std::string_view PageCss();
std::string_view PageJs();

}  // namespace vfio_user

#endif  // TOOLS_REPORT_PAGE_PAGE_FILES_H_
