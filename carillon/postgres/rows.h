// Rows that more than one store reads.
#pragma once

#include <pqxx/pqxx>

#include "carillon/domain/notification.h"

namespace carillon {

// From the columns of notifications, with created_us and expires_us (microseconds
// since 1970) in the place of their times.
Notification NotificationOf(const pqxx::row& row);

}  // namespace carillon
