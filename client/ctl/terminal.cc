#include "client/ctl/terminal.h"

#include <langinfo.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <atomic>
#include <clocale>
#include <cstdio>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

namespace carillon::ctl {
namespace {

constexpr const char* kTake = "\x1b[?1049h\x1b[?25l";
constexpr const char* kGiveBack = "\x1b[?25h\x1b[?1049l";

std::atomic<bool> leaving = false;
std::atomic<bool> resized = false;
termios before;

void Write(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

void Handle(int number, void (*handler)(int)) {
  struct sigaction action = {};
  action.sa_handler = handler;
  // Without SA_RESTART: a wait ends.
  sigaction(number, &action, nullptr);
}

winsize SizeOfWindow() {
  winsize size{};
  ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
  return size;
}

}  // namespace

bool IsTerminal() { return isatty(STDIN_FILENO) == 1 && isatty(STDOUT_FILENO) == 1; }

bool TakesUtf8() {
  std::setlocale(LC_CTYPE, "");
  return absl::EqualsIgnoreCase(nl_langinfo(CODESET), "UTF-8");
}

FullScreen::FullScreen() {
  tcgetattr(STDIN_FILENO, &before);
  termios keys = before;
  // Keys come at once and are not shown.
  keys.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);
  tcsetattr(STDIN_FILENO, TCSANOW, &keys);
  for (const int number : {SIGINT, SIGTERM, SIGHUP}) Handle(number, [](int) { leaving = true; });
  Handle(SIGWINCH, [](int) { resized = true; });
  Write(kTake);
}

FullScreen::~FullScreen() {
  Write(kGiveBack);
  tcsetattr(STDIN_FILENO, TCSANOW, &before);
  for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGWINCH}) Handle(number, SIG_DFL);
}

int FullScreen::width() const {
  const int columns = SizeOfWindow().ws_col;
  return columns > 0 ? columns : 80;
}

int FullScreen::height() const {
  const int rows = SizeOfWindow().ws_row;
  return rows > 0 ? rows : 24;
}

void FullScreen::Draw(const std::vector<std::string>& lines) {
  // From the upper left; the rest of each line, and what is below, is cleared.
  std::string frame = "\x1b[H";
  for (size_t i = 0; i < lines.size(); ++i) absl::StrAppend(&frame, i == 0 ? "" : "\r\n", lines[i], "\x1b[K");
  absl::StrAppend(&frame, "\x1b[J");
  Write(frame);
}

FullScreen::Event FullScreen::Wait(absl::Duration time) {
  const absl::Time deadline = absl::Now() + time;
  while (true) {
    if (leaving) return Event::kQuit;
    if (resized.exchange(false)) return Event::kResized;
    const int64_t left = absl::ToInt64Milliseconds(absl::Ceil(deadline - absl::Now(), absl::Milliseconds(1)));
    if (left <= 0) return Event::kTimeOver;
    pollfd keys{.fd = STDIN_FILENO, .events = POLLIN, .revents = 0};
    if (poll(&keys, 1, static_cast<int>(left)) <= 0) continue;
    char key = 0;
    if (read(STDIN_FILENO, &key, 1) <= 0 || key == 'q' || key == 'Q') return Event::kQuit;
  }
}

}  // namespace carillon::ctl
