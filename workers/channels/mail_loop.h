// The thread that makes SMTP calls.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "workers/channels/call_queue.h"
#include "workers/channels/curl_handles.h"
#include "workers/channels/smtp_dialogue.h"
#include "workers/channels/transport.h"

namespace carillon {

// libcurl opens the connections: TLS, EHLO and AUTH. The mail itself goes by
// SmtpDialogue, because libcurl waits for the answer to a mail without doing anything
// else meanwhile, and does not say how far a call had got. Send and Stop are
// thread-safe.
class MailLoop {
 public:
  explicit MailLoop(size_t max_calls);
  ~MailLoop();

  void Send(MailRequest request, std::function<void(MailResult)> done);
  void Stop();

 private:
  struct Connection;
  struct Call;

  void Run();
  void Begin(std::unique_ptr<Call> call);
  // On a kept connection, if there is one that lives.
  bool Reuse(Call& call);
  void Connect(std::unique_ptr<Call> call);
  void TakeConnected();
  // Whatever can be done without waiting; ends calls that are done with.
  void Drive(Call& call);
  void WaitAndDrive();
  void SettleTalks();
  void Settle(std::unique_ptr<Call> call);
  void FinishUnconnected(std::unique_ptr<Call> call, CURLcode code);
  void Finish(std::unique_ptr<Call> call);
  void Keep(std::unique_ptr<Connection> connection);
  void Close(std::unique_ptr<Connection> connection);
  void CloseIdle();

  CallQueue<Call> queue_;
  const CurlMulti multi_;
  // The thread's own.
  std::vector<std::unique_ptr<Call>> connecting_;
  std::vector<std::unique_ptr<Call>> talking_;
  std::vector<std::unique_ptr<Connection>> idle_;  // Longest idle first.
  std::thread thread_;
};

}  // namespace carillon
