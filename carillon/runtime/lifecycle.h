// What every main() does: block signals, wait for one, and never hang on the way out.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace carillon {

// Blocks SIGTERM, SIGINT and SIGHUP in this and all later threads and ignores
// SIGPIPE. Call first in main().
void BlockSignals();
// Returns the signal that asks the process to end.
int WaitForTermination();
// Ends the process with status 3 if it has not ended by itself within the time,
// after saying so. For the way out only.
void ExitAtLatestAfter(absl::Duration time);

// Parses the command line into the program's flags. Names may be written with
// hyphens (--metrics-address) as well as with the underscores that absl has.
void ParseFlags(int argc, char** argv, const char* usage);

// The value of a flag if it is not empty, else of the environment variable.
std::string FlagOrEnv(const std::string& flag, const char* variable);

}  // namespace carillon
