#include "workers/channels/smtp_dialogue.h"

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "carillon/domain/limits.h"

namespace carillon {
namespace {

// A server that says more at a time is none.
constexpr size_t kMaxLineBytes = 4 * 1024;
constexpr size_t kCodeDigits = 3;
constexpr int kClosing = 421;

// Dots at the beginnings of lines doubled, the final one appended (RFC 5321, 4.5.2).
std::string OnTheWire(const std::string& message) {
  std::string wire = absl::StrReplaceAll(message, {{"\r\n.", "\r\n.."}});
  if (absl::StartsWith(wire, ".")) wire.insert(0, ".");
  if (!absl::EndsWith(wire, "\r\n")) wire += "\r\n";
  return wire + ".\r\n";
}

}  // namespace

SmtpDialogue::SmtpDialogue(const MailRequest& request, bool reset)
    : from_(request.from), to_(request.to), message_(OnTheWire(request.message)) {
  if (reset) {
    Say(Step::kReset, "RSET\r\n");
  } else {
    Say(Step::kMail, absl::StrCat("MAIL FROM:<", from_, ">\r\n"));
  }
}

void SmtpDialogue::Read(absl::string_view bytes) {
  input_.append(bytes.data(), bytes.size());
  size_t end;
  while (!ended() && (end = input_.find('\n')) != std::string::npos) {
    const std::string line = input_.substr(0, end);
    input_.erase(0, end + 1);
    TakeLine(absl::StripTrailingAsciiWhitespace(line));
  }
  // Too long a line, or something nobody asked for.
  if (input_.size() > kMaxLineBytes || (ended() && !input_.empty())) End(/*usable=*/false);
}

// A reply is lines of "250-text", the last of "250 text".
void SmtpDialogue::TakeLine(absl::string_view line) {
  int code = 0;
  if (line.size() < kCodeDigits || !absl::SimpleAtoi(line.substr(0, kCodeDigits), &code) || code < 200 || code > 599) {
    End(/*usable=*/false);
    return;
  }
  const absl::string_view rest = line.substr(kCodeDigits);
  if (reply_text_.size() < limits::kMaxErrorBytes && rest.size() > 1) {
    absl::StrAppend(&reply_text_, reply_text_.empty() ? "" : " ", rest.substr(1));
  }
  if (absl::StartsWith(rest, "-")) return;
  constexpr MailStage kStageOf[] = {MailStage::kMail, MailStage::kMail, MailStage::kRcpt, MailStage::kData,
                                    MailStage::kMessage};
  stage_ = kStageOf[static_cast<int>(step_)];
  code_ = code;
  text_ = std::exchange(reply_text_, "").substr(0, limits::kMaxErrorBytes);
  TakeReply();
}

void SmtpDialogue::TakeReply() {
  const bool whole = to_write().empty();
  const bool accepted = code_ / 100 == (step_ == Step::kData ? 3 : 2);
  if (!accepted || !whole || step_ == Step::kMessage) {
    // Before the message was written, only a refusal makes sense.
    if (!whole && accepted) code_ = 0;
    End(/*usable=*/whole && code_ != kClosing && step_ != Step::kReset);
    return;
  }
  switch (step_) {
    case Step::kReset:
      return Say(Step::kMail, absl::StrCat("MAIL FROM:<", from_, ">\r\n"));
    case Step::kMail:
      return Say(Step::kRcpt, absl::StrCat("RCPT TO:<", to_, ">\r\n"));
    case Step::kRcpt:
      return Say(Step::kData, "DATA\r\n");
    default:
      return Say(Step::kMessage, std::move(message_));
  }
}

void SmtpDialogue::Say(Step step, std::string output) {
  step_ = step;
  output_ = std::move(output);
  written_ = 0;
}

void SmtpDialogue::End(bool usable) {
  step_ = Step::kEnd;
  usable_ = usable;
}

}  // namespace carillon
