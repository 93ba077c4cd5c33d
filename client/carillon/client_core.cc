#include "client/carillon/client_core.h"

#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace carillon {
namespace {

// Servers permit a ping every 20 s.
constexpr int kKeepaliveTimeMilliseconds = 30'000;
constexpr int kKeepaliveTimeoutMilliseconds = 10'000;
// gRPC's own waits up to 2 min before it connects again; our retries have their
// own backoff and should find a server soon after it is back.
constexpr int kMinReconnectMilliseconds = 100;
constexpr int kMaxReconnectMilliseconds = 2'000;
constexpr int kConnectTimeoutMilliseconds = 5'000;
// A page of 500 feed items, each with the largest data and texts, fits.
constexpr int kMaxReceiveBytes = 64 * 1024 * 1024;

bool IsLoopback(absl::string_view address) {
  return absl::StartsWith(address, "127.") || absl::StartsWith(address, "localhost:") ||
         absl::StartsWith(address, "[::1]:");
}

grpc::ChannelArguments ArgumentsFor(const ClientOptions& options) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveTimeMilliseconds);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMilliseconds);
  // Quiet streams are pinged as well: a dead link shows nowhere else.
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, kMinReconnectMilliseconds);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, kConnectTimeoutMilliseconds);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, kMaxReconnectMilliseconds);
  arguments.SetMaxReceiveMessageSize(kMaxReceiveBytes);
  // A proxy named in the environment can't reach this machine's loopback.
  if (IsLoopback(options.address)) arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  return arguments;
}

std::shared_ptr<grpc::ChannelCredentials> CredentialsFor(const ClientOptions& options) {
  if (!options.tls.has_value()) return grpc::InsecureChannelCredentials();
  grpc::SslCredentialsOptions tls;
  tls.pem_root_certs = options.tls->root_certificates;
  tls.pem_cert_chain = options.tls->client_certificate;
  tls.pem_private_key = options.tls->client_key;
  return grpc::SslCredentials(tls);
}

}  // namespace

void RunningCalls::Begin() {
  absl::MutexLock lock(&mutex_);
  ++count_;
}

void RunningCalls::End() {
  absl::MutexLock lock(&mutex_);
  --count_;
}

void RunningCalls::WaitForNone() {
  absl::MutexLock lock(&mutex_);
  mutex_.Await(absl::Condition(
      +[](int* count) { return *count == 0; }, &count_));
}

ClientCore::ClientCore(ClientOptions client_options)
    : options(std::move(client_options)),
      channel(grpc::CreateCustomChannel(options.address, CredentialsFor(options), ArgumentsFor(options))),
      notifications(v1::NotificationService::NewStub(channel)),
      feed(v1::FeedService::NewStub(channel)),
      recipients(v1::RecipientService::NewStub(channel)),
      catalog(v1::CatalogService::NewStub(channel)),
      admin(v1::AdminService::NewStub(channel)) {}

ClientCore::~ClientCore() { calls.WaitForNone(); }

std::string ClientCore::Authenticate(grpc::ClientContext& context) const {
  if (options.user_token) {
    std::string token = options.user_token();
    context.AddMetadata("authorization", absl::StrCat("Bearer ", token));
    return token;
  }
  context.AddMetadata("x-app-key", options.app_key);
  context.AddMetadata("x-app-secret", options.app_secret);
  return "";
}

}  // namespace carillon
