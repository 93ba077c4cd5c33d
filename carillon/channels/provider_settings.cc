#include "carillon/channels/provider_settings.h"

#include "absl/strings/str_cat.h"
#include "carillon/domain/status_macros.h"

namespace carillon {
namespace {

// So that nobody who can write to the table can give an app another's account.
std::string ContextOf(const StoredProvider& row) {
  return absl::StrCat("provider/", row.app.value(), "/", ToString(row.channel), "/", row.name);
}

}  // namespace

StoredProvider SealProvider(const MasterKey& key, AppId app, Channel channel, const v1::Provider& settings) {
  StoredProvider row{.app = app, .channel = channel, .name = settings.name()};
  row.sealed = key.Seal(settings.SerializeAsString(), ContextOf(row));
  return row;
}

absl::StatusOr<v1::Provider> OpenProvider(const MasterKey& key, const StoredProvider& stored) {
  ASSIGN_OR_RETURN(const std::string plain, key.Open(stored.sealed, ContextOf(stored)));
  v1::Provider settings;
  if (!settings.ParseFromString(plain)) return absl::FailedPreconditionError("can't be read: it is no provider");
  return settings;
}

bool IsSealedWithNewest(const MasterKey& key, const StoredProvider& stored) {
  return key.IsSealedWithNewest(stored.sealed, ContextOf(stored));
}

}  // namespace carillon
