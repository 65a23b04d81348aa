#include "tools/report_page/page_files.h"

#include <string_view>

namespace vfio_user {
namespace {

constexpr std::string_view kChartJs =
#include "tools/report_page/chart_js.inc"
    ;
constexpr std::string_view kPageCss =
#include "tools/report_page/page_css.inc"
    ;
constexpr std::string_view kPageJs =
#include "tools/report_page/page_js.inc"
    ;

}  // namespace

std::string_view ChartJs() { return kChartJs; }
std::string_view PageCss() { return kPageCss; }
std::string_view PageJs() { return kPageJs; }

}  // namespace vfio_user
