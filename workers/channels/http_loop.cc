#include "workers/channels/http_loop.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace carillon {
namespace {

constexpr size_t kMaxBodyBytes = 64 * 1024;
constexpr size_t kMaxHeaderBytes = 16 * 1024;
// Idle connections that are kept, to all hosts together.
constexpr long kMaxIdleConnections = 256;
// Of one HTTP/2 connection, if its server allows so many: about what a worker has under
// way. Of less libcurl opens a connection for each call of a burst; and of what is
// under way all is lost when it takes a connection for broken, which 7.88.1 does now
// and then without cause (github.com/curl/curl/issues/10634).
constexpr long kMaxStreams = 100;
constexpr int kPollMilliseconds = 1000;
// APNs wants its connections kept; HTTP/2 servers say which calls they did not take
// when they close one.
constexpr long kMaxHttp2IdleSeconds = 600;
constexpr int kFirstFinalStatus = 200;

}  // namespace

struct HttpLoop::Call {
  HttpRequest request;
  std::function<void(HttpResult)> done;
  Stopwatch watch;
  CurlEasy easy;
  CurlList header_list;
  CurlGuard guard;
  size_t body_sent = 0;
  size_t header_bytes = 0;
  HttpResult result;

  // OK, or why it can't be made.
  CURLcode Prepare(absl::Duration timeout);
  CURLcode AddHeader(absl::string_view name, absl::string_view value);

  // libcurl's callbacks.
  static size_t GiveBody(char* buffer, size_t size, size_t count, void* self);
  static int RefuseToRewind(void* self, curl_off_t offset, int origin);
  static size_t TakeBody(char* data, size_t size, size_t count, void* self);
  static size_t TakeHeader(char* data, size_t size, size_t count, void* self);
};

CURLcode HttpLoop::Call::Prepare(absl::Duration timeout) {
  easy.reset(curl_easy_init());
  if (easy == nullptr) return CURLE_FAILED_INIT;
  CurlSetup setup(easy.get());
  SetCommonOptions(setup, request.options, timeout, &guard);
  setup.Set(CURLOPT_PROTOCOLS_STR, "http,https");
  setup.Set(CURLOPT_URL, request.url.c_str());
  setup.Set(CURLOPT_USERAGENT, "Carillon");
  setup.Set(CURLOPT_HTTP_VERSION, static_cast<long>(request.http2 ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_1_1));
  // Rather waits for a connection that can take it than opens one more.
  setup.Set(CURLOPT_PIPEWAIT, request.http2 ? 1L : 0L);
  if (request.http2) setup.Set(CURLOPT_MAXAGE_CONN, kMaxHttp2IdleSeconds);
  setup.Set(request.body.empty() ? CURLOPT_HTTPGET : CURLOPT_POST, 1L);
  if (!request.body.empty()) setup.Set(CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request.body.size()));
  setup.Set(CURLOPT_READFUNCTION, &Call::GiveBody);
  setup.Set(CURLOPT_READDATA, this);
  setup.Set(CURLOPT_SEEKFUNCTION, &Call::RefuseToRewind);
  setup.Set(CURLOPT_SEEKDATA, this);
  setup.Set(CURLOPT_WRITEFUNCTION, &Call::TakeBody);
  setup.Set(CURLOPT_WRITEDATA, this);
  setup.Set(CURLOPT_HEADERFUNCTION, &Call::TakeHeader);
  setup.Set(CURLOPT_HEADERDATA, this);
  CURLcode code = setup.code();
  for (const auto& [name, value] : request.headers) {
    if (code == CURLE_OK) code = AddHeader(name, value);
  }
  // Without it libcurl asks first whether a large body is welcome.
  if (code == CURLE_OK) code = AddHeader("Expect", "");
  setup.Set(CURLOPT_HTTPHEADER, header_list.get());
  return code != CURLE_OK ? code : setup.code();
}

CURLcode HttpLoop::Call::AddHeader(absl::string_view name, absl::string_view value) {
  const std::string line = absl::StrCat(name, ": ", value);
  if (std::any_of(line.begin(), line.end(), absl::ascii_iscntrl)) return CURLE_BAD_FUNCTION_ARGUMENT;
  curl_slist* longer = curl_slist_append(header_list.get(), line.c_str());
  if (longer == nullptr) return CURLE_OUT_OF_MEMORY;
  header_list.release();
  header_list.reset(longer);
  return CURLE_OK;
}

size_t HttpLoop::Call::GiveBody(char* buffer, size_t size, size_t count, void* self) {
  Call& call = *static_cast<Call*>(self);
  const size_t bytes = std::min(size * count, call.request.body.size() - call.body_sent);
  std::copy_n(call.request.body.data() + call.body_sent, bytes, buffer);
  call.body_sent += bytes;
  return bytes;
}

// libcurl repeats a request by itself when a kept connection is closed before an
// answer. What has gone out may have been heard, so it must not.
int HttpLoop::Call::RefuseToRewind(void*, curl_off_t, int) { return CURL_SEEKFUNC_FAIL; }

size_t HttpLoop::Call::TakeBody(char* data, size_t size, size_t count, void* self) {
  Call& call = *static_cast<Call*>(self);
  const size_t bytes = std::min(size * count, kMaxBodyBytes - call.result.body.size());
  call.result.body.append(data, bytes);
  // Less than was given: libcurl ends the transfer.
  return bytes;
}

size_t HttpLoop::Call::TakeHeader(char* data, size_t size, size_t count, void* self) {
  Call& call = *static_cast<Call*>(self);
  const absl::string_view line(data, size * count);
  if (absl::StartsWith(line, "HTTP/")) {
    // Of the final answer only.
    call.result.headers.clear();
    call.header_bytes = 0;
    return line.size();
  }
  const size_t colon = line.find(':');
  call.header_bytes += line.size();
  if (colon != absl::string_view::npos && call.header_bytes <= kMaxHeaderBytes) {
    call.result.headers.emplace_back(absl::AsciiStrToLower(line.substr(0, colon)),
                                     std::string(absl::StripAsciiWhitespace(line.substr(colon + 1))));
  }
  return line.size();
}

HttpLoop::HttpLoop(size_t max_calls) : queue_(max_calls), multi_(curl_multi_init()) {
  curl_multi_setopt(multi_.get(), CURLMOPT_PIPELINING, CURLPIPE_MULTIPLEX);
  curl_multi_setopt(multi_.get(), CURLMOPT_MAX_CONCURRENT_STREAMS, kMaxStreams);
  curl_multi_setopt(multi_.get(), CURLMOPT_MAXCONNECTS, kMaxIdleConnections);
  thread_ = std::thread([this] { Run(); });
}

HttpLoop::~HttpLoop() { Stop(); }

void HttpLoop::Send(HttpRequest request, std::function<void(HttpResult)> done) {
  auto call = std::make_unique<Call>();
  call->request = std::move(request);
  call->done = std::move(done);
  if (queue_.Push(call)) {
    curl_multi_wakeup(multi_.get());
    return;
  }
  call->result.error = "too many calls, or shutting down";
  call->done(std::move(call->result));
}

void HttpLoop::Stop() {
  if (!queue_.Close()) return;
  curl_multi_wakeup(multi_.get());
  thread_.join();
}

void HttpLoop::Run() {
  BlockSignals();
  while (!queue_.closed()) {
    for (std::unique_ptr<Call>& call : queue_.Take()) Begin(std::move(call));
    int running = 0;
    curl_multi_perform(multi_.get(), &running);
    FinishAnswered();
    curl_multi_poll(multi_.get(), nullptr, 0, kPollMilliseconds, nullptr);
  }
  for (std::unique_ptr<Call>& call : queue_.Take()) Finish(std::move(call), CURLE_ABORTED_BY_CALLBACK);
  while (!calls_.empty()) {
    std::unique_ptr<Call> call = std::move(calls_.extract(calls_.begin()).mapped());
    curl_multi_remove_handle(multi_.get(), call->easy.get());
    Finish(std::move(call), CURLE_ABORTED_BY_CALLBACK);
  }
}

void HttpLoop::Begin(std::unique_ptr<Call> call) {
  const absl::Duration left = call->request.options.timeout - call->watch.elapsed();
  // libcurl takes 0 for no limit.
  CURLcode code = left < absl::Milliseconds(1) ? CURLE_OPERATION_TIMEDOUT : call->Prepare(left);
  CURL* const easy = call->easy.get();
  if (code == CURLE_OK && curl_multi_add_handle(multi_.get(), easy) != CURLM_OK) code = CURLE_FAILED_INIT;
  if (code != CURLE_OK) {
    Finish(std::move(call), code);
  } else {
    calls_.emplace(easy, std::move(call));
  }
}

void HttpLoop::FinishAnswered() {
  int left = 0;
  while (const CURLMsg* message = curl_multi_info_read(multi_.get(), &left)) {
    if (message->msg != CURLMSG_DONE) continue;
    // Gone once the handle is removed.
    CURL* const easy = message->easy_handle;
    const CURLcode code = message->data.result;
    curl_multi_remove_handle(multi_.get(), easy);
    Finish(std::move(calls_.extract(easy).mapped()), code);
  }
}

void HttpLoop::Finish(std::unique_ptr<Call> call, CURLcode code) {
  HttpResult& result = call->result;
  long status = 0;
  if (call->easy != nullptr) curl_easy_getinfo(call->easy.get(), CURLINFO_RESPONSE_CODE, &status);
  result.latency = call->watch.elapsed();
  if (status >= kFirstFinalStatus) {
    // Even if the rest of the body was lost: what was decided is known.
    result.end = CallEnd::kAnswered;
    result.status = static_cast<int>(status);
  } else {
    result.end = call->body_sent > 0 ? CallEnd::kUnconfirmed : CallEnd::kNotSent;
    result.forbidden_address = call->guard.refused && call->body_sent == 0;
    result.error = call->guard.Describe(code);
    result.headers.clear();
    result.body.clear();
  }
  queue_.NoteEnd();
  call->done(std::move(result));
}

}  // namespace carillon
