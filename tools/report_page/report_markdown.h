// A page as Markdown, for a document of its own to quote.
#ifndef TOOLS_REPORT_PAGE_REPORT_MARKDOWN_H_
#define TOOLS_REPORT_PAGE_REPORT_MARKDOWN_H_

#include <string>

#include "tools/report_page/report_page.h"

namespace vfio_user {

// The page without its title, which the document has: paragraphs, and a heading of the third level
// and a table for each section. Of a plot that is the table of its figures. Texts are plain, as
// on the page.
std::string RenderMarkdown(const ReportPage& page);

}  // namespace vfio_user

#endif  // TOOLS_REPORT_PAGE_REPORT_MARKDOWN_H_
