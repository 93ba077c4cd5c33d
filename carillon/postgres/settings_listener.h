// Hears of what PostgresSettingsStore, and others who change what decisions go by, have
// written.
#pragma once

#include "carillon/ports/settings_news.h"
#include "carillon/postgres/listener.h"

namespace carillon {

class PostgresSettingsListener {
 public:
  // Tells on its own thread. What is told is committed. A connection that is lost without
  // a sign is noticed within some 15 s.
  PostgresSettingsListener(PgOptions options, SettingsNews news);

 private:
  PgListener listener_;
};

}  // namespace carillon
