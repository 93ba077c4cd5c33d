#include "carillon/channels/template_set.h"

#include <google/protobuf/util/time_util.h>

#include <utility>

#include "carillon/domain/locale.h"

namespace carillon {
namespace {

// Every locale to look for, in order. As many as there are parts of both, and one.
std::vector<std::string> Wanted(absl::string_view locale, absl::string_view default_locale) {
  std::vector<std::string> wanted;
  for (const absl::string_view text : {locale, default_locale}) {
    for (std::string& wider : LocaleAndWider(CanonicalLocale(text).value_or(""))) wanted.push_back(std::move(wider));
  }
  wanted.emplace_back();
  return wanted;
}

}  // namespace

TemplateSet::TemplateSet(const std::vector<StoredTemplate>& templates) {
  for (const StoredTemplate& stored : templates) {
    v1::Template parsed = TemplateOf(stored);
    if (!stored.active || parsed.content_case() == v1::Template::CONTENT_NOT_SET) continue;
    templates_.insert_or_assign(Key(stored.app, stored.type, stored.channel, stored.locale), std::move(parsed));
  }
}

const v1::Template* TemplateSet::Find(AppId app, absl::string_view type, Channel channel, absl::string_view locale,
                                      absl::string_view default_locale) const {
  const std::vector<std::string> wanted = Wanted(locale, default_locale);
  for (const AppId owner : {app, kShippedApp}) {
    for (const std::string& candidate : wanted) {
      const auto found = templates_.find(Key(owner, std::string(type), channel, candidate));
      if (found != templates_.end()) return &found->second;
    }
  }
  return nullptr;
}

v1::Template TemplateOf(const StoredTemplate& stored) {
  v1::Template out;
  if (!out.ParseFromString(stored.content)) out.Clear();
  out.set_type(stored.type);
  out.set_channel(static_cast<v1::Channel>(stored.channel));
  out.set_locale(stored.locale);
  out.set_version(stored.version);
  out.set_active(stored.active);
  *out.mutable_create_time() =
      google::protobuf::util::TimeUtil::MicrosecondsToTimestamp(absl::ToUnixMicros(stored.create_time));
  return out;
}

}  // namespace carillon
