// One mail on an open SMTP connection: MAIL, RCPT, DATA, the message, the final dot.
// Bytes in, bytes out; no I/O.
#pragma once

#include <string>

#include "absl/strings/string_view.h"
#include "workers/channels/transport.h"

namespace carillon {

// Not thread-safe.
class SmtpDialogue {
 public:
  // `reset`: the mail before on this connection was broken off.
  SmtpDialogue(const MailRequest& request, bool reset);

  // What is to be written now; empty: a reply has to come first.
  absl::string_view to_write() const { return absl::string_view(output_).substr(written_); }
  void Wrote(size_t bytes) {
    written_ += bytes;
    sent_ = sent_ || (step_ == Step::kMessage && to_write().empty());
  }
  // Takes what was read.
  void Read(absl::string_view bytes);

  bool ended() const { return step_ == Step::kEnd; }
  // The final dot has been written: the server may have taken the mail.
  bool sent() const { return sent_; }
  // The last reply was to this.
  MailStage stage() const { return stage_; }
  // 0: no reply.
  int code() const { return code_; }
  const std::string& text() const { return text_; }
  // Once it has ended: another mail may follow, after a reset if that is needed.
  bool is_connection_usable() const { return usable_; }
  bool needs_reset() const { return usable_ && !is_accepted(); }
  bool is_accepted() const { return ended() && stage_ == MailStage::kMessage && code_ / 100 == 2; }

 private:
  enum class Step { kReset, kMail, kRcpt, kData, kMessage, kEnd };

  void TakeLine(absl::string_view line);
  void TakeReply();
  void Say(Step step, std::string output);
  void End(bool usable);

  const std::string from_;
  const std::string to_;
  std::string message_;  // As it goes over the wire, with the final dot.
  Step step_ = Step::kMail;
  std::string output_;
  size_t written_ = 0;
  bool sent_ = false;
  std::string input_;       // A line that is not complete.
  std::string reply_text_;  // Of the lines of a reply that is not complete.
  MailStage stage_ = MailStage::kMail;
  int code_ = 0;
  std::string text_;
  bool usable_ = false;
};

}  // namespace carillon
