// The pages that people look at in a browser: /ops and /feed. They hold nothing but
// markup and scripts; whatever they show they ask for by RPC, with the credentials of
// who looks.
#pragma once

#include "server/http/router.h"

namespace carillon {

// NAME.html becomes /NAME, everything else /pages/NAME. Browsers ask each time whether
// theirs is still the newest, so that a page and its scripts are of one build.
void AddPageRoutes(Router& router);

}  // namespace carillon
