// A DeadLetterFilter as a condition of SQL, and as it is kept with a run.
#pragma once

#include <pqxx/pqxx>
#include <string>

#include "absl/strings/string_view.h"
#include "carillon/domain/dead_letter.h"

namespace carillon {

// A condition on the rows `d` of dead_letters, with its values in it: the plan is one for
// what is asked, and without what is not.
std::string FilterCondition(const pqxx::transaction_base& transaction, const DeadLetterFilter& filter);

std::string EncodeFilter(const DeadLetterFilter& filter);
DeadLetterFilter DecodeFilter(absl::string_view json);

}  // namespace carillon
