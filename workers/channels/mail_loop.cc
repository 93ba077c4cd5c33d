#include "workers/channels/mail_loop.h"

#include <algorithm>
#include <iterator>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "carillon/domain/limits.h"

namespace carillon {
namespace {

// Kept for the next mail, to all servers together. Servers close theirs after some
// minutes.
constexpr size_t kMaxIdleConnections = 256;
constexpr absl::Duration kMaxIdleTime = absl::Seconds(30);
// For a greeting, an answer to EHLO or AUTH; also how long libcurl, at the end of a
// connection that failed there, waits for an answer to QUIT.
constexpr long kReplySeconds = 5;
constexpr absl::Duration kMaxPoll = absl::Seconds(1);
constexpr size_t kReadBytes = 16 * 1024;
constexpr int kFirstRefusal = 400;
constexpr int kClosing = 421;

}  // namespace

struct MailLoop::Connection {
  std::string key;  // Calls with the same one may use it.
  // What the handle points to.
  CallOptions options;
  CurlGuard guard;
  std::string last_reply;  // While libcurl speaks.
  CurlEasy easy;
  curl_socket_t socket = CURL_SOCKET_BAD;
  bool needs_reset = false;
  std::unique_ptr<Stopwatch> idle;

  CURLcode Prepare(const MailRequest& request, absl::Duration timeout);
  static size_t TakeReply(char* data, size_t size, size_t count, void* self);
};

struct MailLoop::Call {
  MailRequest request;
  std::function<void(MailResult)> done;
  Stopwatch watch;
  std::unique_ptr<Connection> connection;
  std::unique_ptr<SmtpDialogue> dialogue;  // Once it is connected.
  bool reused = false;
  bool lost = false;     // The connection broke.
  bool drained = false;  // Being ended because of Stop.
  MailResult result;

  absl::Duration left() const { return request.options.timeout - watch.elapsed(); }
  bool is_over() const { return dialogue->ended() || lost || drained || left() <= absl::ZeroDuration(); }
  void StartDialogue() { dialogue = std::make_unique<SmtpDialogue>(request, connection->needs_reset); }
};

namespace {

std::string KeyOf(const MailRequest& request) {
  return absl::StrJoin({request.host,
                        absl::StrCat(request.port, "/", static_cast<int>(request.security), "/",
                                     request.options.forbid_private_addresses),
                        request.username, request.password, request.options.ca_pem},
                       absl::string_view("\0", 1));
}

}  // namespace

CURLcode MailLoop::Connection::Prepare(const MailRequest& request, absl::Duration timeout) {
  key = KeyOf(request);
  options = request.options;
  easy.reset(curl_easy_init());
  if (easy == nullptr) return CURLE_FAILED_INIT;
  const bool tls = request.security == v1::SMTP_SECURITY_TLS;
  const bool is_ipv6 = request.host.find(':') != std::string::npos;
  const std::string host = is_ipv6 ? absl::StrCat("[", request.host, "]") : request.host;
  CurlSetup setup(easy.get());
  SetCommonOptions(setup, options, timeout, &guard);
  setup.Set(CURLOPT_PROTOCOLS_STR, "smtp,smtps");
  setup.Set(CURLOPT_URL, absl::StrCat(tls ? "smtps://" : "smtp://", host, ":", request.port).c_str());
  // With SMTP this counts to the end of AUTH, and some servers greet slowly on purpose.
  // The socket's own limit (curl_handles.cc) is for hosts that are not there.
  setup.Set(CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(absl::ToInt64Milliseconds(timeout)));
  setup.Set(CURLOPT_SERVER_RESPONSE_TIMEOUT, kReplySeconds);
  setup.Set(CURLOPT_USE_SSL,
            static_cast<long>(request.security == v1::SMTP_SECURITY_NONE ? CURLUSESSL_NONE : CURLUSESSL_ALL));
  if (!request.username.empty()) {
    setup.Set(CURLOPT_USERNAME, request.username.c_str());
    setup.Set(CURLOPT_PASSWORD, request.password.c_str());
  }
  setup.Set(CURLOPT_CONNECT_ONLY, 1L);
  setup.Set(CURLOPT_HEADERFUNCTION, &Connection::TakeReply);
  setup.Set(CURLOPT_HEADERDATA, this);
  return setup.code();
}

size_t MailLoop::Connection::TakeReply(char* data, size_t size, size_t count, void* self) {
  static_cast<Connection*>(self)->last_reply.assign(data, std::min(size * count, limits::kMaxErrorBytes));
  return size * count;
}

MailLoop::MailLoop(size_t max_calls) : queue_(max_calls), multi_(curl_multi_init()) {
  thread_ = std::thread([this] { Run(); });
}

MailLoop::~MailLoop() { Stop(); }

void MailLoop::Send(MailRequest request, std::function<void(MailResult)> done) {
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

void MailLoop::Stop() {
  if (!queue_.Close()) return;
  curl_multi_wakeup(multi_.get());
  thread_.join();
}

void MailLoop::Run() {
  BlockSignals();
  while (!queue_.closed()) {
    for (std::unique_ptr<Call>& call : queue_.Take()) Begin(std::move(call));
    int running = 0;
    curl_multi_perform(multi_.get(), &running);
    TakeConnected();
    WaitAndDrive();
    SettleTalks();
    CloseIdle();
  }
  for (std::unique_ptr<Call>& call : queue_.Take()) FinishUnconnected(std::move(call), CURLE_ABORTED_BY_CALLBACK);
  for (std::unique_ptr<Call>& call : std::exchange(connecting_, {})) {
    FinishUnconnected(std::move(call), CURLE_ABORTED_BY_CALLBACK);
  }
  for (const std::unique_ptr<Call>& call : talking_) call->drained = true;
  SettleTalks();
  for (std::unique_ptr<Connection>& connection : std::exchange(idle_, {})) Close(std::move(connection));
}

void MailLoop::Begin(std::unique_ptr<Call> call) {
  if (!Reuse(*call)) {
    Connect(std::move(call));
    return;
  }
  Drive(*call);
  talking_.push_back(std::move(call));
}

bool MailLoop::Reuse(Call& call) {
  const std::string key = KeyOf(call.request);
  while (true) {
    // The one that was used last.
    const auto found = std::find_if(idle_.rbegin(), idle_.rend(), [&](const auto& idle) { return idle->key == key; });
    if (found == idle_.rend()) return false;
    std::unique_ptr<Connection> connection = std::move(*found);
    idle_.erase(std::next(found).base());
    char byte;
    size_t count = 0;
    // Anything else but silence is its end.
    if (curl_easy_recv(connection->easy.get(), &byte, 1, &count) == CURLE_AGAIN) {
      connection->idle = nullptr;
      call.connection = std::move(connection);
      call.reused = true;
      call.StartDialogue();
      return true;
    }
    Close(std::move(connection));
  }
}

void MailLoop::Connect(std::unique_ptr<Call> call) {
  call->reused = false;
  call->lost = false;
  call->dialogue = nullptr;
  call->connection = std::make_unique<Connection>();
  CURLcode code = CURLE_OPERATION_TIMEDOUT;
  // libcurl takes 0 for no limit.
  if (call->left() >= absl::Milliseconds(1)) code = call->connection->Prepare(call->request, call->left());
  CURL* const easy = call->connection->easy.get();
  if (code == CURLE_OK && curl_multi_add_handle(multi_.get(), easy) != CURLM_OK) code = CURLE_FAILED_INIT;
  if (code == CURLE_OK) {
    connecting_.push_back(std::move(call));
  } else {
    FinishUnconnected(std::move(call), code);
  }
}

void MailLoop::TakeConnected() {
  int left = 0;
  while (const CURLMsg* message = curl_multi_info_read(multi_.get(), &left)) {
    if (message->msg != CURLMSG_DONE) continue;
    const CURLcode code = message->data.result;
    const auto found = std::find_if(connecting_.begin(), connecting_.end(), [message](const auto& call) {
      return call->connection->easy.get() == message->easy_handle;
    });
    std::unique_ptr<Call> call = std::move(*found);
    connecting_.erase(found);
    Connection& connection = *call->connection;
    if (code != CURLE_OK ||
        curl_easy_getinfo(connection.easy.get(), CURLINFO_ACTIVESOCKET, &connection.socket) != CURLE_OK) {
      FinishUnconnected(std::move(call), code);
      continue;
    }
    call->StartDialogue();
    Drive(*call);
    talking_.push_back(std::move(call));
  }
}

void MailLoop::Drive(Call& call) {
  SmtpDialogue& dialogue = *call.dialogue;
  CURL* const easy = call.connection->easy.get();
  char buffer[kReadBytes];
  bool progress = true;
  while (progress && !call.is_over()) {
    progress = false;
    size_t bytes = 0;
    if (!dialogue.to_write().empty()) {
      const CURLcode code = curl_easy_send(easy, dialogue.to_write().data(), dialogue.to_write().size(), &bytes);
      if (code != CURLE_OK && code != CURLE_AGAIN) call.lost = true;
      dialogue.Wrote(bytes);
      progress = bytes > 0;
    }
    // Even if writing failed: the server may have said why.
    bytes = 0;
    const CURLcode code = curl_easy_recv(easy, buffer, sizeof(buffer), &bytes);
    if (code == CURLE_OK && bytes > 0) {
      dialogue.Read({buffer, bytes});
      progress = true;
    } else if (code != CURLE_AGAIN) {
      call.lost = true;
    }
  }
}

void MailLoop::WaitAndDrive() {
  absl::Duration wait = kMaxPoll;
  std::vector<curl_waitfd> sockets;
  for (const std::unique_ptr<Call>& call : talking_) {
    wait = call->is_over() ? absl::ZeroDuration() : std::min(wait, call->left());
    const short events = call->dialogue->to_write().empty() ? CURL_WAIT_POLLIN : CURL_WAIT_POLLIN | CURL_WAIT_POLLOUT;
    sockets.push_back({.fd = call->connection->socket, .events = events, .revents = 0});
  }
  // Rounded up, so that a deadline has passed when it wakes.
  const int milliseconds = static_cast<int>(absl::ToInt64Milliseconds(absl::Ceil(wait, absl::Milliseconds(1))));
  curl_multi_poll(multi_.get(), sockets.data(), static_cast<unsigned>(sockets.size()), milliseconds, nullptr);
  for (size_t i = 0; i < sockets.size(); ++i) {
    if (sockets[i].revents != 0) Drive(*talking_[i]);
  }
}

void MailLoop::SettleTalks() {
  std::vector<std::unique_ptr<Call>> going_on;
  for (std::unique_ptr<Call>& call : std::exchange(talking_, {})) {
    if (call->is_over()) {
      Settle(std::move(call));
    } else {
      going_on.push_back(std::move(call));
    }
  }
  talking_ = std::move(going_on);
}

void MailLoop::Settle(std::unique_ptr<Call> call) {
  const SmtpDialogue& dialogue = *call->dialogue;
  const bool unheard = dialogue.code() == 0 || (dialogue.code() == kClosing && dialogue.stage() == MailStage::kMail);
  if (call->reused && unheard && (call->lost || dialogue.ended()) && !dialogue.sent()) {
    // The server had closed a kept connection: nothing was sent.
    Close(std::move(call->connection));
    Connect(std::move(call));
    return;
  }
  MailResult& result = call->result;
  result.stage = dialogue.stage();
  result.code = dialogue.code();
  result.text = dialogue.text();
  if (dialogue.is_accepted() || (dialogue.ended() && dialogue.code() >= kFirstRefusal)) {
    result.end = CallEnd::kAnswered;
  } else {
    result.end = dialogue.sent() ? CallEnd::kUnconfirmed : CallEnd::kNotSent;
    result.error = call->drained      ? "shutting down"
                   : call->lost       ? "the connection was lost"
                   : dialogue.ended() ? "the server does not speak SMTP"
                                      : "no reply in time";
  }
  if (dialogue.ended() && dialogue.is_connection_usable()) {
    call->connection->needs_reset = dialogue.needs_reset();
    Keep(std::move(call->connection));
  } else {
    Close(std::move(call->connection));
  }
  Finish(std::move(call));
}

void MailLoop::FinishUnconnected(std::unique_ptr<Call> call, CURLcode code) {
  MailResult& result = call->result;
  if (call->connection != nullptr) {
    const Connection& connection = *call->connection;
    long reply = 0;
    if (connection.easy != nullptr) curl_easy_getinfo(connection.easy.get(), CURLINFO_RESPONSE_CODE, &reply);
    result.error = connection.guard.Describe(code);
    result.forbidden_address = connection.guard.refused;
    result.stage = code == CURLE_LOGIN_DENIED ? MailStage::kAuth : MailStage::kConnect;
    if (reply >= kFirstRefusal) {
      constexpr size_t kCodeAndSpace = 4;
      result.end = CallEnd::kAnswered;
      result.code = static_cast<int>(reply);
      const std::string& line = connection.last_reply;
      if (line.size() > kCodeAndSpace)
        result.text = std::string(absl::StripAsciiWhitespace(absl::string_view(line).substr(kCodeAndSpace)));
    }
    Close(std::move(call->connection));
  } else {
    result.error = "shutting down";
  }
  Finish(std::move(call));
}

void MailLoop::Finish(std::unique_ptr<Call> call) {
  call->result.latency = call->watch.elapsed();
  queue_.NoteEnd();
  call->done(std::move(call->result));
}

void MailLoop::Keep(std::unique_ptr<Connection> connection) {
  connection->idle = std::make_unique<Stopwatch>();
  idle_.push_back(std::move(connection));
}

// The server is told, and not waited for.
void MailLoop::Close(std::unique_ptr<Connection> connection) {
  constexpr absl::string_view kGoodbye = "QUIT\r\n";
  size_t sent = 0;
  if (connection->idle != nullptr) curl_easy_send(connection->easy.get(), kGoodbye.data(), kGoodbye.size(), &sent);
  if (connection->easy != nullptr) curl_multi_remove_handle(multi_.get(), connection->easy.get());
}

void MailLoop::CloseIdle() {
  while (!idle_.empty() && (idle_.size() > kMaxIdleConnections || idle_.front()->idle->elapsed() > kMaxIdleTime)) {
    std::unique_ptr<Connection> oldest = std::move(idle_.front());
    idle_.erase(idle_.begin());
    Close(std::move(oldest));
  }
}

}  // namespace carillon
