#include "carillon/channels/directory.h"

#include "carillon/channels/provider_settings.h"
#include "carillon/domain/status_macros.h"
#include "carillon/runtime/logging.h"

namespace carillon {
namespace {

constexpr absl::Duration kPollInterval = absl::Seconds(1);

bool IsSameRow(const StoredProvider& a, const StoredProvider& b) {
  return a.sealed == b.sealed && a.position == b.position && a.update_time == b.update_time;
}

}  // namespace

ChannelDirectory::ChannelDirectory(Deps deps) : deps_(std::move(deps)) {}

void ChannelDirectory::Start() {
  thread_ = std::thread([this] {
    bool failing = false;
    do {
      const absl::Status status = Refresh();
      if (!status.ok() && !failing) log::Warn("directory.stale", {{"error", status}});
      failing = !status.ok();
    } while (!stop_.WaitFor(kPollInterval));
  });
}

void ChannelDirectory::Stop() {
  if (!thread_.joinable()) return;
  stop_.Set();
  thread_.join();
}

std::shared_ptr<const ProviderList> ChannelDirectory::Providers(AppId app, Channel channel) const {
  absl::MutexLock lock(&mutex_);
  if (lists_ == nullptr) return none_;
  const auto found = lists_->find({app, channel});
  return found == lists_->end() ? none_ : found->second;
}

std::shared_ptr<const v1::Template> ChannelDirectory::FindTemplate(AppId app, absl::string_view type, Channel channel,
                                                                   absl::string_view locale,
                                                                   absl::string_view default_locale) const {
  std::shared_ptr<const TemplateSet> templates;
  {
    absl::MutexLock lock(&mutex_);
    templates = templates_;
  }
  if (templates == nullptr) return nullptr;
  // It keeps the set that it is part of.
  return std::shared_ptr<const v1::Template>(templates, templates->Find(app, type, channel, locale, default_locale));
}

absl::Status ChannelDirectory::Refresh() {
  absl::MutexLock refreshing(&refresh_mutex_);
  ASSIGN_OR_RETURN(const int64_t version, deps_.catalogue->Version());
  if (version == version_) return absl::OkStatus();
  ASSIGN_OR_RETURN(std::vector<StoredProvider> stored, deps_.providers->LoadAll());
  ASSIGN_OR_RETURN(const std::vector<StoredTemplate> active, deps_.templates->LoadActive());
  rows_ = MakeRows(std::move(stored));
  auto lists = std::make_shared<const Lists>(MakeLists(rows_));
  auto templates = std::make_shared<const TemplateSet>(active);
  log::Info("directory.loaded", {{"version", version}, {"providers", rows_.size()}, {"templates", templates->size()}});
  // The version was read first: rows may be newer than it, never older.
  version_ = version;
  absl::MutexLock lock(&mutex_);
  lists_ = std::move(lists);
  templates_ = std::move(templates);
  return absl::OkStatus();
}

ChannelDirectory::Rows ChannelDirectory::MakeRows(std::vector<StoredProvider> stored) const {
  Rows rows;
  for (StoredProvider& row : stored) {
    const RowKey key(row.app, row.channel, row.name);
    const auto before = rows_.find(key);
    const bool unchanged = before != rows_.end() && IsSameRow(before->second.stored, row);
    std::shared_ptr<const ConfiguredProvider> provider = unchanged ? before->second.provider : Open(row);
    rows.emplace(key, Row{std::move(row), std::move(provider)});
  }
  return rows;
}

ChannelDirectory::Lists ChannelDirectory::MakeLists(const Rows& rows) {
  std::map<Lists::key_type, ProviderList> lists;
  for (const auto& [key, row] : rows) {
    if (row.provider != nullptr) lists[{row.stored.app, row.stored.channel}].push_back(row.provider);
  }
  Lists shared;
  for (auto& [key, list] : lists) {
    std::sort(list.begin(), list.end(), [](const auto& a, const auto& b) { return a->position < b->position; });
    shared.emplace(key, std::make_shared<const ProviderList>(std::move(list)));
  }
  return shared;
}

std::shared_ptr<const ConfiguredProvider> ChannelDirectory::Open(const StoredProvider& stored) const {
  absl::StatusOr<v1::Provider> settings = OpenProvider(deps_.key, stored);
  if (!settings.ok()) {
    log::Error("provider.unreadable", {{"app", stored.app.value()},
                                       {"channel", ToString(stored.channel)},
                                       {"provider", stored.name},
                                       {"error", settings.status()}});
    return nullptr;
  }
  return std::make_shared<const ConfiguredProvider>(ConfiguredProvider{.app = stored.app,
                                                                       .channel = stored.channel,
                                                                       .name = stored.name,
                                                                       .position = stored.position,
                                                                       .settings = *std::move(settings),
                                                                       .update_time = stored.update_time});
}

bool ChannelDirectory::loaded() const {
  absl::MutexLock lock(&mutex_);
  return lists_ != nullptr;
}

}  // namespace carillon
