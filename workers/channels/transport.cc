#include "workers/channels/transport.h"

#include <algorithm>

#include "workers/channels/curl_handles.h"
#include "workers/channels/http_loop.h"
#include "workers/channels/mail_loop.h"

namespace carillon {
namespace {

size_t Initialized(size_t max_calls) {
  InitializeCurl();
  return max_calls;
}

}  // namespace

absl::string_view HeaderOf(const HttpResult& result, absl::string_view lower_case_name) {
  const auto found = std::find_if(result.headers.begin(), result.headers.end(),
                                  [&](const auto& header) { return header.first == lower_case_name; });
  return found == result.headers.end() ? absl::string_view() : absl::string_view(found->second);
}

CurlTransport::CurlTransport(const Options& options)
    : public_http_(std::make_unique<HttpLoop>(Initialized(options.max_calls))),
      any_http_(std::make_unique<HttpLoop>(options.max_calls)),
      mail_(std::make_unique<MailLoop>(options.max_calls)) {}

CurlTransport::~CurlTransport() { Stop(); }

void CurlTransport::Send(HttpRequest request, std::function<void(HttpResult)> done) {
  HttpLoop& loop = request.options.forbid_private_addresses ? *public_http_ : *any_http_;
  loop.Send(std::move(request), std::move(done));
}

void CurlTransport::Send(MailRequest request, std::function<void(MailResult)> done) {
  mail_->Send(std::move(request), std::move(done));
}

void CurlTransport::Stop() {
  public_http_->Stop();
  any_http_->Stop();
  mail_->Stop();
}

}  // namespace carillon
