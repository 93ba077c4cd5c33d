// Makes many calls of one method, so many at a time.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "client/bench/raw_sender.h"

namespace carillon::bench {

// Blocks until the last answer. The errors, by the name of the code.
std::map<std::string, int64_t> AskAll(RawSender& sender, const char* method, const std::vector<std::string>& requests,
                                      int in_flight);

}  // namespace carillon::bench
