// Makes a mail tell that it was opened and which of its links were followed.
#pragma once

#include <string>

#include "absl/functional/function_ref.h"
#include "absl/strings/string_view.h"
#include "carillon/v1/template.pb.h"

namespace carillon {

// Replaces the http and https addresses that <a href> leads to in the HTML part with
// what `link_for` makes of them, and adds a picture of one point, `pixel_url`, before
// </body>, or at the end. Does nothing to a content without HTML. Left alone: other
// addresses, the `unsubscribe_url`, links with an attribute data-carillon-notrack,
// those for which `link_for` returns the same, and those after the first
// limits::kMaxTrackedLinks. No pixel if `pixel_url` is empty. Takes HTML as browsers
// do, odd or broken, in time linear in its length.
void TrackLinks(const std::string& pixel_url, absl::FunctionRef<std::string(const std::string& url)> link_for,
                v1::RenderedContent* content, absl::string_view unsubscribe_url = "");

}  // namespace carillon
