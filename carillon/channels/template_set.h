// The active templates of all apps, and which of them is for whom.
#pragma once

#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "absl/strings/string_view.h"
#include "carillon/domain/delivery.h"
#include "carillon/v1/template.pb.h"

namespace carillon {

// Immutable, so thread-safe.
class TemplateSet {
 public:
  TemplateSet() = default;
  // What is not active, or can't be read, is left out.
  explicit TemplateSet(const std::vector<StoredTemplate>& templates);

  // What a recipient is sent: of the app's own templates the one of his locale, of
  // its language (es for es-MX), of the app's default locale, of that one's language,
  // or the one for everybody; then of the shipped ones likewise. Null if there is
  // none: DefaultTemplate. Lives as long as the set.
  const v1::Template* Find(AppId app, absl::string_view type, Channel channel, absl::string_view locale,
                           absl::string_view default_locale) const;

  size_t size() const { return templates_.size(); }

 private:
  using Key = std::tuple<AppId, std::string, Channel, std::string>;

  std::map<Key, v1::Template> templates_;
};

// The whole message: content and what the columns say.
v1::Template TemplateOf(const StoredTemplate& stored);

}  // namespace carillon
