#include "client/ctl/dry_run.h"

#include <cstdio>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "carillon/domain/status_macros.h"
#include "client/ctl/output.h"

namespace carillon::ctl {

absl::Status RunDry(Context& context, const v1::DryRunRequest& request) {
  ASSIGN_OR_RETURN(Client * client, context.client());
  ASSIGN_OR_RETURN(const v1::DryRunResponse response, client->DryRun(request));
  if (context.json()) {
    std::printf("%s\n", ToJson(response).c_str());
    return absl::OkStatus();
  }
  absl::PrintF("nothing was sent; %d recipient%s", response.audience_size(), response.audience_size() == 1 ? "" : "s");
  if (response.decided() < response.audience_size()) {
    absl::PrintF(", counts are of a sample of %d", response.decided());
  }
  absl::PrintF("\n");
  if (response.counts().empty()) return absl::OkStatus();
  Table table({"CHANNEL", "OUTCOME", "COUNT", "REASON"});
  for (const v1::DryRunCount& count : response.counts()) {
    table.Add({ShortName(v1::Channel_Name(count.channel()), "CHANNEL_"), count.outcome(), absl::StrCat(count.count()),
               count.reason()});
  }
  table.Print();
  return absl::OkStatus();
}

}  // namespace carillon::ctl
