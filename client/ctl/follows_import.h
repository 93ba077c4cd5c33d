// follows import: a file of who follows whom, straight into PostgreSQL.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "client/ctl/context.h"

namespace carillon::ctl {

struct FollowsImportOptions {
  std::string path;  // "-": standard input.
  bool skip_bad = false;
  int chunk_lines = 20'000;  // In one transaction.
};

// Goes on where an import of the same file was interrupted.
absl::Status ImportFollows(Context& context, const FollowsImportOptions& options);

}  // namespace carillon::ctl
