#include "carillon/runtime/catalogue.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "carillon/domain/status_macros.h"
#include "carillon/runtime/logging.h"

namespace carillon {
namespace {
constexpr absl::Duration kPollInterval = absl::Seconds(1);
}

void Catalogue::Start() {
  thread_ = std::thread([this] {
    bool failing = false;
    do {
      const absl::Status status = Refresh();
      if (!status.ok() && !failing) log::Warn("catalogue.stale", {{"error", status}});
      failing = !status.ok();
    } while (!stop_.WaitFor(kPollInterval));
  });
}

void Catalogue::Stop() {
  if (!thread_.joinable()) return;
  stop_.Set();
  thread_.join();
}

std::shared_ptr<const NotificationType> Catalogue::Find(AppId app, absl::string_view name) const {
  std::shared_ptr<const Types> types;
  {
    absl::MutexLock lock(&mutex_);
    types = types_;
  }
  if (types == nullptr) return nullptr;
  for (const AppId owner : {app, kShippedApp}) {
    const auto found = types->find(Key(owner, std::string(name)));
    if (found != types->end()) return found->second;
  }
  return nullptr;
}

absl::StatusOr<std::shared_ptr<const NotificationType>> Catalogue::Get(AppId app, absl::string_view name) {
  std::shared_ptr<const NotificationType> type = Find(app, name);
  if (type != nullptr) return type;
  RETURN_IF_ERROR(Refresh());
  type = Find(app, name);
  if (type == nullptr) return absl::NotFoundError(absl::StrCat("type ", name, " is not in the catalogue"));
  return type;
}

std::vector<std::shared_ptr<const NotificationType>> Catalogue::TypesOf(AppId app) const {
  std::shared_ptr<const Types> types;
  {
    absl::MutexLock lock(&mutex_);
    types = types_;
  }
  if (types == nullptr) return {};
  std::map<absl::string_view, std::shared_ptr<const NotificationType>> visible;
  for (const AppId owner : {kShippedApp, app}) {
    for (auto it = types->lower_bound(Key(owner, "")); it != types->end() && it->first.first == owner; ++it) {
      visible[it->first.second] = it->second;
    }
  }
  std::vector<std::shared_ptr<const NotificationType>> all;
  for (auto& [name, type] : visible) all.push_back(std::move(type));
  return all;
}

std::shared_ptr<const AppPolicy> Catalogue::PolicyOf(AppId app) const {
  static const auto* const none = new std::shared_ptr<const AppPolicy>(std::make_shared<AppPolicy>());
  std::shared_ptr<const Policies> policies;
  {
    absl::MutexLock lock(&mutex_);
    policies = policies_;
  }
  if (policies == nullptr || policies->empty()) return *none;
  const auto found = policies->find(app);
  return found == policies->end() ? *none : found->second;
}

absl::Time Catalogue::NowOf(const Notification& item, std::optional<absl::Time> held_until, absl::Time our_now) const {
  const std::shared_ptr<const AppPolicy> app = PolicyOf(item.app);
  const absl::Time now = std::max(our_now + app->clock_offset, item.create_time);
  const bool is_over = held_until.has_value() && (app->sandbox || *held_until < now + kClockSkew);
  return is_over ? std::max(now, *held_until) : now;
}

size_t Catalogue::CountTrippedSenders() const {
  absl::MutexLock lock(&mutex_);
  size_t count = 0;
  if (policies_ == nullptr) return count;
  for (const auto& [app, policy] : *policies_) count += policy->tripped.size();
  return count;
}

absl::Status Catalogue::Refresh() {
  ASSIGN_OR_RETURN(const int64_t version, store_->Version());
  {
    absl::MutexLock lock(&mutex_);
    if (version == version_) return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(std::vector<NotificationType> rows, store_->LoadTypes());
  ASSIGN_OR_RETURN(std::vector<AppPolicy> said, store_->LoadAppPolicies());
  auto types = std::make_shared<Types>();
  for (NotificationType& row : rows) {
    const Key key(row.app, row.name);
    types->emplace(key, std::make_shared<const NotificationType>(std::move(row)));
  }
  auto policies = std::make_shared<Policies>();
  for (AppPolicy& one : said) {
    const AppId app = one.app;
    policies->emplace(app, std::make_shared<const AppPolicy>(std::move(one)));
  }
  log::Info("catalogue.loaded", {{"version", version}, {"types", types->size()}});
  absl::MutexLock lock(&mutex_);
  // The version was read first: rows may be newer than it, never older.
  types_ = std::move(types);
  policies_ = std::move(policies);
  version_ = version;
  return absl::OkStatus();
}

bool Catalogue::loaded() const {
  absl::MutexLock lock(&mutex_);
  return types_ != nullptr;
}

}  // namespace carillon
