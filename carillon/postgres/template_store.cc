#include "carillon/postgres/template_store.h"

#include "absl/strings/str_cat.h"
#include "carillon/domain/errors.h"
#include "carillon/domain/limits.h"
#include "carillon/domain/status_macros.h"
#include "carillon/postgres/arrays.h"

namespace carillon {
namespace {

// First: it makes one change of templates wait for another.
constexpr PgStatement kLockVersion = {"lock_catalogue_version", "SELECT version FROM catalogue_version FOR UPDATE"};

constexpr PgStatement kMoveVersion = {"move_catalogue_version", "UPDATE catalogue_version SET version = version + 1"};

constexpr PgStatement kRetireTemplates = {"retire_templates", R"sql(
  UPDATE templates AS t SET active = false
  FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::bytea[]) AS asked (app_id, type, channel, locale, content)
  WHERE t.active AND t.app_id = asked.app_id AND t.type = asked.type AND t.channel = asked.channel
    AND t.locale = asked.locale AND t.content <> asked.content
)sql"};

// Where none is active any more, or never was.
constexpr PgStatement kAddTemplates = {"add_templates", R"sql(
  INSERT INTO templates (app_id, version, active, type, channel, locale, content)
  SELECT asked.app_id, known.version + 1, true, asked.type, asked.channel, asked.locale, asked.content
  FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::bytea[]) AS asked (app_id, type, channel, locale, content),
  LATERAL (SELECT coalesce(max(t.version), 0) AS version, coalesce(bool_or(t.active), false) AS active FROM templates AS t
           WHERE t.app_id = asked.app_id AND t.type = asked.type AND t.channel = asked.channel
             AND t.locale = asked.locale) AS known
  WHERE NOT known.active
)sql"};

constexpr PgStatement kTooManyTemplates = {"too_many_templates", R"sql(
  SELECT app_id FROM templates WHERE active AND app_id = ANY($1::bigint[]) GROUP BY app_id HAVING count(*) > $2
)sql"};

// Versions have no gaps but below the oldest that is kept.
constexpr PgStatement kForgetVersions = {"forget_template_versions", R"sql(
  DELETE FROM templates AS t
  USING unnest($1::bigint[], $2::text[], $3::text[], $4::text[]) AS asked (app_id, type, channel, locale)
  WHERE NOT t.active AND t.app_id = asked.app_id AND t.type = asked.type AND t.channel = asked.channel
    AND t.locale = asked.locale
    AND t.version <= (SELECT max(newest.version) FROM templates AS newest
                      WHERE newest.app_id = asked.app_id AND newest.type = asked.type
                        AND newest.channel = asked.channel AND newest.locale = asked.locale) - $5::int
)sql"};

constexpr PgStatement kActiveTemplates = {"active_templates", R"sql(
  SELECT t.app_id, t.type, t.channel, t.locale, t.version, t.active, t.content,
         (extract(epoch FROM t.created_at) * 1e6)::bigint AS created_us
  FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[]) WITH ORDINALITY AS asked (app_id, type, channel, locale, place)
  JOIN templates AS t ON t.app_id = asked.app_id AND t.type = asked.type AND t.channel = asked.channel
    AND t.locale = asked.locale AND t.active
  ORDER BY asked.place
)sql"};

constexpr PgStatement kDeactivateTemplate = {"deactivate_template", R"sql(
  UPDATE templates SET active = false
  WHERE app_id = $1 AND type = $2 AND channel = $3 AND locale = $4 AND active AND version <> $5
)sql"};

constexpr PgStatement kActivateTemplate = {"activate_template", R"sql(
  UPDATE templates SET active = true
  WHERE app_id = $1 AND type = $2 AND channel = $3 AND locale = $4 AND version = $5
  RETURNING app_id, type, channel, locale, version, active, content,
            (extract(epoch FROM created_at) * 1e6)::bigint AS created_us
)sql"};

constexpr PgStatement kListTemplates = {"list_templates", R"sql(
  SELECT app_id, type, channel, locale, version, active, content,
         (extract(epoch FROM created_at) * 1e6)::bigint AS created_us
  FROM templates AS t
  WHERE (app_id = $1 OR (app_id = 0 AND NOT EXISTS (
           SELECT FROM templates AS own WHERE own.app_id = $1 AND own.type = t.type AND own.channel = t.channel
             AND own.locale = t.locale)))
    AND ($2::text IS NULL OR type = $2) AND (active OR $3::boolean)
    AND ($4::text IS NULL OR (type, channel, locale) > ($4, $5::text, $6::text)
         OR ((type, channel, locale) = ($4, $5, $6) AND version < $7::int))
  ORDER BY type, channel, locale, version DESC LIMIT $8
)sql"};

constexpr PgStatement kLoadTemplates = {"load_templates", R"sql(
  SELECT app_id, type, channel, locale, version, active, content,
         (extract(epoch FROM created_at) * 1e6)::bigint AS created_us
  FROM templates WHERE active ORDER BY app_id, type, channel, locale
)sql"};

constexpr PgStatement kCandidates = {"template_candidates", R"sql(
  SELECT app_id, type, channel, locale, version, active, content,
         (extract(epoch FROM created_at) * 1e6)::bigint AS created_us
  FROM templates WHERE app_id IN ($1, 0) AND type = $2 AND channel = $3 AND active ORDER BY app_id, locale
)sql"};

constexpr PgStatement kDefaultLocale = {"default_locale", "SELECT default_locale FROM apps WHERE app_id = $1"};

StoredTemplate ToTemplate(const pqxx::row& row) {
  return {.app = AppId(row["app_id"].as<int64_t>()),
          .type = OwnedText(row["type"]),
          .channel = ParseChannel(Text(row["channel"])).value_or(Channel::kEmail),
          .locale = OwnedText(row["locale"]),
          .version = row["version"].as<int>(),
          .active = row["active"].as<bool>(),
          .create_time = TimeOf(row["created_us"]),
          .content = BytesOf(row["content"])};
}

std::vector<StoredTemplate> ToTemplates(const pqxx::result& rows) {
  std::vector<StoredTemplate> templates;
  for (const auto& row : rows) templates.push_back(ToTemplate(row));
  return templates;
}

struct Columns {
  explicit Columns(absl::Span<const StoredTemplate> templates) {
    for (const StoredTemplate& stored : templates) {
      apps.Add(stored.app.value());
      types.Add(stored.type);
      channels.Add(ToString(stored.channel));
      locales.Add(stored.locale);
      contents.AddBytes(stored.content);
    }
  }

  PgArray apps, types, channels, locales, contents;
};

// Adds a version of each that differs from the active one.
absl::Status AddVersions(PgSession& session, pqxx::work& transaction, const Columns& asked) {
  session.Execute(transaction, kRetireTemplates, asked.apps.str(), asked.types.str(), asked.channels.str(),
                  asked.locales.str(), asked.contents.str());
  const pqxx::result added = session.Execute(transaction, kAddTemplates, asked.apps.str(), asked.types.str(),
                                             asked.channels.str(), asked.locales.str(), asked.contents.str());
  // What is retired has a version added too. Every process reads all anew for a change.
  if (added.affected_rows() == 0) return absl::OkStatus();
  if (!session.Execute(transaction, kTooManyTemplates, asked.apps.str(), limits::kMaxActiveTemplates).empty()) {
    return error::InvalidField(
        "templates", absl::StrCat("would be more than the ", limits::kMaxActiveTemplates,
                                  " active templates that an app may have, one per type, channel and locale"));
  }
  session.Execute(transaction, kForgetVersions, asked.apps.str(), asked.types.str(), asked.channels.str(),
                  asked.locales.str(), limits::kKeptTemplateVersions);
  session.Execute(transaction, kMoveVersion);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<StoredTemplate>> PostgresTemplateStore::Apply(absl::Span<const StoredTemplate> templates) {
  const Columns asked(templates);
  std::vector<StoredTemplate> active;
  RETURN_IF_ERROR(pool_->RunTransaction([&](PgSession& session, pqxx::work& transaction) -> absl::Status {
    session.Execute(transaction, kLockVersion);
    RETURN_IF_ERROR(AddVersions(session, transaction, asked));
    active = ToTemplates(session.Execute(transaction, kActiveTemplates, asked.apps.str(), asked.types.str(),
                                         asked.channels.str(), asked.locales.str()));
    return absl::OkStatus();
  }));
  return active;
}

absl::StatusOr<StoredTemplate> PostgresTemplateStore::Activate(const TemplateKey& key, int version) {
  StoredTemplate activated;
  RETURN_IF_ERROR(pool_->RunTransaction([&](PgSession& session, pqxx::work& transaction) -> absl::Status {
    const std::string channel(ToString(key.channel));
    session.Execute(transaction, kLockVersion);
    const pqxx::result retired =
        session.Execute(transaction, kDeactivateTemplate, key.app.value(), key.type, channel, key.locale, version);
    const pqxx::result rows =
        session.Execute(transaction, kActivateTemplate, key.app.value(), key.type, channel, key.locale, version);
    // What was done is undone with the transaction.
    if (rows.empty()) {
      return error::NotFound("template", absl::StrCat(key.type, "/", channel, "/", key.locale, " version ", version));
    }
    // One is always active: this one already, unless another was.
    if (retired.affected_rows() > 0) session.Execute(transaction, kMoveVersion);
    activated = ToTemplate(rows[0]);
    return absl::OkStatus();
  }));
  return activated;
}

absl::StatusOr<std::vector<StoredTemplate>> PostgresTemplateStore::List(const ListQuery& query) {
  const TemplateKey after = query.after.has_value() ? query.after->key : TemplateKey();
  const int version = query.after.has_value() ? query.after->version : 0;
  const std::string channel(ToString(after.channel));
  std::vector<StoredTemplate> templates;
  RETURN_IF_ERROR(pool_->Run([&](PgSession& session, pqxx::transaction_base& transaction) {
    templates = ToTemplates(session.Execute(transaction, kListTemplates, query.app.value(), OrNull(query.type),
                                            query.all_versions, OrNull(after.type), channel, after.locale, version,
                                            query.limit));
  }));
  return templates;
}

absl::StatusOr<std::vector<StoredTemplate>> PostgresTemplateStore::LoadActive() {
  std::vector<StoredTemplate> templates;
  RETURN_IF_ERROR(pool_->Run([&](PgSession& session, pqxx::transaction_base& transaction) {
    templates = ToTemplates(session.Execute(transaction, kLoadTemplates));
  }));
  return templates;
}

absl::StatusOr<TemplateStore::Candidates> PostgresTemplateStore::FindCandidates(AppId app, const std::string& type,
                                                                                Channel channel) {
  Candidates found;
  RETURN_IF_ERROR(pool_->Run([&](PgSession& session, pqxx::transaction_base& transaction) {
    found.templates =
        ToTemplates(session.Execute(transaction, kCandidates, app.value(), type, std::string(ToString(channel))));
    found.default_locale.clear();
    for (const auto& row : session.Execute(transaction, kDefaultLocale, app.value())) {
      found.default_locale = OwnedText(row[0]);
    }
  }));
  return found;
}

}  // namespace carillon
