#include "client/ctl/follows_import.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "carillon/domain/limits.h"
#include "carillon/domain/status_macros.h"
#include "carillon/postgres/arrays.h"
#include "carillon/postgres/catalog_store.h"
#include "carillon/postgres/membership_import.h"
#include "client/ctl/line_reader.h"

namespace carillon::ctl {
namespace {

constexpr absl::Duration kBarInterval = absl::Milliseconds(200);
constexpr absl::Duration kLineInterval = absl::Seconds(5);
constexpr int kBarWidth = 30;
constexpr int64_t kBadLinesShown = 10;

// As the RPCs take ids; empty if it is fine.
std::string FaultOfId(absl::string_view name, absl::string_view id) {
  if (id.empty() || id.size() > limits::kMaxIdBytes) {
    return absl::StrCat(name, " must be 1 to ", limits::kMaxIdBytes, " bytes, not ", id.size());
  }
  const bool has_control = std::any_of(id.begin(), id.end(), [](unsigned char c) { return absl::ascii_iscntrl(c); });
  if (has_control) return absl::StrCat(name, " has control characters");
  return StorableText(id, limits::kMaxIdBytes) == id ? "" : absl::StrCat(name, " is not UTF-8");
}

// The membership of a line; what is wrong with it if it is not one.
std::string ParseLine(absl::string_view line, Membership& membership) {
  const size_t tab = line.find('\t');
  if (tab == absl::string_view::npos) return "must be follower_id, a tab, followee_id";
  const absl::string_view follower = line.substr(0, tab);
  const absl::string_view followee = line.substr(tab + 1);
  if (std::string fault = FaultOfId("follower_id", follower); !fault.empty()) return fault;
  if (std::string fault = FaultOfId("followee_id", followee); !fault.empty()) return fault;
  if (follower == followee) return "nobody follows themselves";
  membership.group_id = std::string(followee);
  membership.member_id = std::string(follower);
  return "";
}

// Shows how far it is: a bar that moves on a terminal, a line now and then elsewhere.
class Progress {
 public:
  Progress(const LineReader& reader, const ImportPosition& from)
      : size_(reader.size()), from_(from), is_terminal_(isatty(STDERR_FILENO) == 1) {}

  double seconds() const { return absl::ToDoubleSeconds(absl::Now() - started_); }
  double LinesPerSecond(const ImportPosition& at) const {
    return static_cast<double>(at.lines - from_.lines) / std::max(seconds(), 1e-3);
  }

  void Show(const ImportPosition& at) {
    const absl::Time now = absl::Now();
    if (now - shown_ < (is_terminal_ ? kBarInterval : kLineInterval)) return;
    shown_ = now;
    const std::string figures = absl::StrFormat("%d lines, %.0f lines/s", at.lines, LinesPerSecond(at));
    std::fprintf(stderr, is_terminal_ ? "\r%s%s\x1b[K" : "%s%s\n", PartText(at).c_str(), figures.c_str());
    std::fflush(stderr);
  }

  // What is printed next begins on a line of its own.
  void End() const {
    if (is_terminal_) std::fprintf(stderr, "\r\x1b[K");
  }

 private:
  // How much of the file is done and how long the rest takes; empty for a pipe.
  std::string PartText(const ImportPosition& at) const {
    if (size_ == 0) return "";
    const double part = static_cast<double>(at.offset) / static_cast<double>(size_);
    const double bytes_per_second = static_cast<double>(at.offset - from_.offset) / std::max(seconds(), 1e-3);
    const double left = static_cast<double>(size_ - at.offset) / std::max(bytes_per_second, 1.0);
    const int filled = static_cast<int>(part * kBarWidth);
    const std::string bar =
        is_terminal_ ? absl::StrCat("[", std::string(filled, '#'), std::string(kBarWidth - filled, ' '), "] ") : "";
    return absl::StrFormat("%s%.0f %%, %.0f s left, ", bar, part * 100, left);
  }

  const int64_t size_;
  const ImportPosition from_;
  const bool is_terminal_;
  const absl::Time started_ = absl::Now();
  absl::Time shown_ = started_;
};

// A file of "follower_id<TAB>followee_id" lines on its way in. Owner thread only.
class FollowsImport {
 public:
  FollowsImport(const FollowsImportOptions& options, LineReader& reader, MembershipImport& import)
      : options_(options), reader_(reader), import_(import) {}

  // Where to begin: after what an import before this one has brought in.
  absl::Status Begin() {
    ASSIGN_OR_RETURN(ImportPosition found, import_.Find());
    if (found.offset == 0) return absl::OkStatus();
    RETURN_IF_ERROR(reader_.Skip(found.offset));
    if (reader_.Hash() == found.prefix_hash) {
      position_ = std::move(found);
      std::fprintf(stderr, "resuming at line %lld\n", static_cast<long long>(position_.lines + 1));
      return absl::OkStatus();
    }
    std::fprintf(stderr, "the file has changed since it was imported in part: beginning at line 1\n");
    return reader_.Rewind();
  }

  absl::Status Run(Progress& progress) {
    while (true) {
      ImportPosition after = position_;
      ASSIGN_OR_RETURN(const std::vector<Membership> chunk, ReadChunk(after));
      if (after.lines == position_.lines) return import_.Forget();
      after.offset = reader_.offset();
      after.prefix_hash = reader_.Hash();
      ASSIGN_OR_RETURN(position_, import_.Write(chunk, after));
      progress.Show(position_);
    }
  }

  const ImportPosition& position() const { return position_; }

 private:
  absl::StatusOr<std::vector<Membership>> ReadChunk(ImportPosition& after) {
    std::vector<Membership> chunk;
    chunk.reserve(options_.chunk_lines);
    absl::string_view line;
    for (int i = 0; i < options_.chunk_lines; ++i) {
      ASSIGN_OR_RETURN(const bool more, reader_.Next(line));
      if (!more) break;
      ++after.lines;
      Membership membership;
      if (const std::string fault = ParseLine(line, membership); fault.empty()) {
        chunk.push_back(std::move(membership));
      } else {
        RETURN_IF_ERROR(OnBadLine(after, fault));
      }
    }
    return chunk;
  }

  absl::Status OnBadLine(ImportPosition& at, const std::string& fault) {
    const std::string text = absl::StrCat("line ", at.lines, ": ", fault);
    if (!options_.skip_bad) {
      return absl::InvalidArgumentError(
          absl::StrCat(text, "; ", position_.lines, " lines before it are in (--skip-bad: go on without such lines)"));
    }
    if (++at.skipped <= kBadLinesShown) std::fprintf(stderr, "skipped %s\n", text.c_str());
    if (at.skipped == kBadLinesShown) std::fprintf(stderr, "further bad lines are only counted\n");
    return absl::OkStatus();
  }

  const FollowsImportOptions& options_;
  LineReader& reader_;
  MembershipImport& import_;
  ImportPosition position_;
};

absl::StatusOr<AppId> FindApp(Context& context, const std::string& url) {
  ASSIGN_OR_RETURN(const std::string app_key, context.app_key());
  PostgresAppStore store(std::make_shared<PgPool>(PgOptions{.url = url, .application_name = "carillonctl"}, 1));
  ASSIGN_OR_RETURN(const AppCredentials found, store.Find(app_key));
  return found.app.id;
}

// What the file is known by when it is imported again.
absl::StatusOr<ImportFile> Identify(AppId app, LineReader& reader) {
  ImportFile file{.app = app, .kind = GroupKind::kFollowers, .size = reader.size(), .first_line_hash = {}};
  if (!reader.is_regular()) return file;
  absl::string_view line;
  RETURN_IF_ERROR(reader.Next(line).status());
  file.first_line_hash = reader.Hash();
  RETURN_IF_ERROR(reader.Rewind());
  return file;
}

void PrintResult(const Context& context, const ImportPosition& from, const ImportPosition& at,
                 const Progress& progress) {
  if (context.json()) {
    absl::PrintF("{\"lines\":%d,\"added\":%d,\"skipped\":%d,\"resumed_after_line\":%d,\"seconds\":%.3f}\n", at.lines,
                 at.added, at.skipped, from.lines, progress.seconds());
    return;
  }
  absl::PrintF("%d lines, %d new follows, %d bad lines skipped; %.1f s, %.0f lines/s\n", at.lines, at.added, at.skipped,
               progress.seconds(), progress.LinesPerSecond(at));
}

}  // namespace

absl::Status ImportFollows(Context& context, const FollowsImportOptions& options) {
  ASSIGN_OR_RETURN(const std::string url, context.database_url());
  ASSIGN_OR_RETURN(const AppId app, FindApp(context, url));
  ASSIGN_OR_RETURN(const std::unique_ptr<LineReader> reader, LineReader::Open(options.path));
  ASSIGN_OR_RETURN(const ImportFile file, Identify(app, *reader));
  MembershipImport import({.url = url, .application_name = "carillonctl-import"}, file);
  FollowsImport follows(options, *reader, import);
  RETURN_IF_ERROR(follows.Begin());
  const ImportPosition from = follows.position();
  Progress progress(*reader, from);
  const absl::Status status = follows.Run(progress);
  progress.End();
  RETURN_IF_ERROR(status);
  PrintResult(context, from, follows.position(), progress);
  return absl::OkStatus();
}

}  // namespace carillon::ctl
