#include "client/ctl/output.h"

#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <cstdio>

#include "absl/strings/ascii.h"
#include "absl/strings/strip.h"
#include "absl/time/time.h"

namespace carillon::ctl {

std::string ToJson(const google::protobuf::Message& message) {
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  options.always_print_primitive_fields = true;
  std::string json;
  // Our own messages always have a JSON form.
  (void)google::protobuf::util::MessageToJsonString(message, &json, options);
  return json;
}

void Table::Print() const {
  std::vector<size_t> widths(rows_.front().size(), 0);
  for (const auto& row : rows_) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  for (const auto& row : rows_) {
    for (size_t i = 0; i < row.size(); ++i) {
      const bool last = i + 1 == row.size();
      std::printf("%-*s%s", last ? 0 : static_cast<int>(widths[i]), row[i].c_str(), last ? "\n" : "  ");
    }
  }
}

std::string TimeText(const google::protobuf::Timestamp& time) {
  if (time.seconds() == 0) return "-";
  const absl::Time at = absl::FromUnixSeconds(time.seconds()) + absl::Nanoseconds(time.nanos());
  return absl::FormatTime("%Y-%m-%d %H:%M:%E3S", at, absl::UTCTimeZone());
}

std::string ShortName(const std::string& enum_name, const std::string& prefix) {
  return absl::AsciiStrToLower(absl::StripPrefix(enum_name, prefix));
}

void PrintItem(const v1::FeedItem& item) {
  std::printf("%6ld  %s  %-20s  %s%s%s%s\n", static_cast<long>(item.seq()), TimeText(item.create_time()).c_str(),
              item.type().c_str(), item.title().c_str(), item.body().empty() ? "" : ": ", item.body().c_str(),
              item.read() ? "  (read)" : "");
}

}  // namespace carillon::ctl
