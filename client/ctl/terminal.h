// A terminal that a command draws on in place.
#pragma once

#include <string>
#include <vector>

#include "absl/time/time.h"

namespace carillon::ctl {

// Whether standard input and output are a terminal.
bool IsTerminal();
// Whether texts may be other than ASCII there.
bool TakesUtf8();

// Takes the whole screen from its making to its end, and gives back what was there, also
// after SIGINT, SIGTERM and SIGHUP, which end the waiting. One at a time.
class FullScreen {
 public:
  FullScreen();
  ~FullScreen();
  FullScreen(const FullScreen&) = delete;
  FullScreen& operator=(const FullScreen&) = delete;

  int width() const;
  int height() const;
  void Draw(const std::vector<std::string>& lines);

  enum class Event { kQuit, kResized, kTimeOver };
  // Until the time is over, the window has another size, or somebody wants to leave: by q,
  // Ctrl-C or a signal.
  Event Wait(absl::Duration time);
};

}  // namespace carillon::ctl
