// Templates of external channels, by version. Thread-safe.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "carillon/domain/delivery.h"

namespace carillon {

// Whose words, for what, where, and in which language.
struct TemplateKey {
  AppId app;
  std::string type;
  Channel channel = Channel::kEmail;
  std::string locale;

  friend bool operator==(const TemplateKey&, const TemplateKey&) = default;
};

class TemplateStore {
 public:
  virtual ~TemplateStore() = default;

  // Each becomes the new active version of its key, all or none, and the catalogue's
  // version moves on. One whose content is that of the active version stays it; if all
  // do, nothing changes. Older versions than limits::kKeptTemplateVersions that are not
  // active go. Of the arguments key and content count; no key twice. Returns them as
  // they are active now, in order. INVALID_ARGUMENT if an app would have more than
  // limits::kMaxActiveTemplates.
  virtual absl::StatusOr<std::vector<StoredTemplate>> Apply(absl::Span<const StoredTemplate> templates) = 0;
  // Makes a version the active one. NOT_FOUND if there is none such.
  virtual absl::StatusOr<StoredTemplate> Activate(const TemplateKey& key, int version) = 0;

  struct ListQuery {
    AppId app;
    std::string type;  // Empty: all.
    bool all_versions = false;
    struct Position {
      TemplateKey key;  // But for its app.
      int version = 0;
    };
    std::optional<Position> after;
    int limit = 0;
  };
  // The app's and, where it has none of that type, channel and locale, the shipped ones.
  // By type, channel, locale, newest version first.
  virtual absl::StatusOr<std::vector<StoredTemplate>> List(const ListQuery& query) = 0;

  // The active ones of all apps.
  virtual absl::StatusOr<std::vector<StoredTemplate>> LoadActive() = 0;

  // What a recipient of the app could be sent.
  struct Candidates {
    std::vector<StoredTemplate> templates;  // Active; the app's and the shipped ones.
    std::string default_locale;             // The app's.
  };
  virtual absl::StatusOr<Candidates> FindCandidates(AppId app, const std::string& type, Channel channel) = 0;
};

}  // namespace carillon
