#include "server/api/person_data.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "carillon/domain/errors.h"
#include "carillon/domain/status_macros.h"
#include "carillon/wire/struct_json.h"
#include "server/api/page_token.h"
#include "server/api/validation.h"

namespace carillon {
namespace {

constexpr int kDefaultPage = 100;
constexpr int kMaxPage = 1000;

absl::Status CheckUser(const std::string& user_id) {
  Violations violations;
  violations.CheckId("user_id", user_id, /*required=*/true);
  return violations.ToStatus();
}

}  // namespace

absl::Status PersonData::Export(AppId app, const v1::ExportRecipientRequest& request,
                                v1::ExportRecipientResponse* response) {
  RETURN_IF_ERROR(CheckUser(request.user_id()));
  ASSIGN_OR_RETURN(const int limit, EffectivePageSize(request.page_size(), kDefaultPage, kMaxPage));
  const std::string fingerprint = absl::StrCat("export/", app.value(), "/", request.user_id());
  ASSIGN_OR_RETURN(const std::string position, DecodePageToken(request.page_token(), fingerprint));
  ASSIGN_OR_RETURN(const ExportPage page, store_->Export({app, RecipientId(request.user_id())}, position, limit));
  for (const ExportedRow& row : page.rows) {
    v1::ExportedRow& out = *response->add_rows();
    out.set_table(row.table);
    JsonToStruct(row.json, out.mutable_row());
  }
  if (!page.next.empty()) response->set_next_page_token(EncodePageToken(page.next, fingerprint));
  return absl::OkStatus();
}

absl::Status PersonData::Erase(AppId app, const v1::EraseRecipientRequest& request, absl::FunctionRef<bool()> may_go_on,
                               v1::EraseRecipientResponse* response) {
  RETURN_IF_ERROR(CheckUser(request.user_id()));
  const FeedKey key{app, RecipientId(request.user_id())};
  EraseStep step;
  int64_t rows = 0;
  do {
    if (!may_go_on()) return error::EraseUnfinished();
    ASSIGN_OR_RETURN(step, store_->Erase(key, step.next));
    rows += step.rows;
  } while (!step.next.empty());
  response->set_rows(rows);
  return absl::OkStatus();
}

}  // namespace carillon
