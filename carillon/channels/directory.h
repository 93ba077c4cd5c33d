// The providers and templates of all apps, kept in memory and followed as they
// change: what is set is used within about a second, without a restart.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "carillon/channels/template_set.h"
#include "carillon/domain/delivery.h"
#include "carillon/ports/catalog_store.h"
#include "carillon/ports/provider_store.h"
#include "carillon/ports/stop_signal.h"
#include "carillon/ports/template_store.h"
#include "carillon/runtime/master_key.h"
#include "carillon/v1/provider.pb.h"

namespace carillon {

// A provider of an app's channel, ready to be used.
struct ConfiguredProvider {
  AppId app;
  Channel channel = Channel::kEmail;
  std::string name;
  int position = 0;
  v1::Provider settings;
  absl::Time update_time;
};

// In the order in which they are asked. The same object as before while a
// provider's row is unchanged, so that its state can hang on it.
using ProviderList = std::vector<std::shared_ptr<const ConfiguredProvider>>;

// Thread-safe. Polls the catalogue's version once a second from Start to Stop;
// while PostgreSQL is away it answers from what it has.
class ChannelDirectory {
 public:
  struct Deps {
    std::shared_ptr<CatalogStore> catalogue;
    std::shared_ptr<ProviderStore> providers;
    std::shared_ptr<TemplateStore> templates;
    MasterKey key;
  };

  explicit ChannelDirectory(Deps deps);
  ~ChannelDirectory() { Stop(); }

  void Start();
  void Stop();

  // Empty if the channel has none. What is returned stays valid and never changes.
  std::shared_ptr<const ProviderList> Providers(AppId app, Channel channel) const;

  // TemplateSet::Find; null: none. What is returned stays valid and never changes.
  std::shared_ptr<const v1::Template> FindTemplate(AppId app, absl::string_view type, Channel channel,
                                                   absl::string_view locale, absl::string_view default_locale) const;

  // Reads it now if it has changed. Blocks for a few round trips.
  absl::Status Refresh();

  // True once it has been read at all.
  bool loaded() const;

 private:
  // As it is stored and as it is used; null if it can't be opened.
  struct Row {
    StoredProvider stored;
    std::shared_ptr<const ConfiguredProvider> provider;
  };
  using RowKey = std::tuple<AppId, Channel, std::string>;
  using Rows = std::map<RowKey, Row>;
  using Lists = std::map<std::pair<AppId, Channel>, std::shared_ptr<const ProviderList>>;

  static Lists MakeLists(const Rows& rows);
  Rows MakeRows(std::vector<StoredProvider> stored) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(refresh_mutex_);
  std::shared_ptr<const ConfiguredProvider> Open(const StoredProvider& stored) const;

  const Deps deps_;
  const std::shared_ptr<const ProviderList> none_ = std::make_shared<const ProviderList>();

  // Held while it is read, before mutex_: readers never wait for PostgreSQL.
  absl::Mutex refresh_mutex_;
  Rows rows_ ABSL_GUARDED_BY(refresh_mutex_);
  int64_t version_ ABSL_GUARDED_BY(refresh_mutex_) = 0;

  mutable absl::Mutex mutex_;
  std::shared_ptr<const Lists> lists_ ABSL_GUARDED_BY(mutex_);
  std::shared_ptr<const TemplateSet> templates_ ABSL_GUARDED_BY(mutex_);

  StopSignal stop_;
  std::thread thread_;
};

}  // namespace carillon
