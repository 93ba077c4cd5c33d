#include "client/ctl/line_reader.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "carillon/domain/status_macros.h"

namespace carillon::ctl {
namespace {

// Also the longest line.
constexpr size_t kBufferBytes = 1024 * 1024;

absl::Status SystemError(absl::string_view what) {
  return absl::UnavailableError(absl::StrCat(what, ": ", std::strerror(errno)));
}

}  // namespace

absl::StatusOr<std::unique_ptr<LineReader>> LineReader::Open(const std::string& path) {
  const int file = path == "-" ? dup(STDIN_FILENO) : open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return absl::NotFoundError(absl::StrCat("can't read ", path, ": ", std::strerror(errno)));
  return std::unique_ptr<LineReader>(new LineReader(file));
}

LineReader::LineReader(int file) : file_(file), buffer_(kBufferBytes, '\0'), digest_(EVP_MD_CTX_new()) {
  struct stat status = {};
  is_regular_ = fstat(file_, &status) == 0 && S_ISREG(status.st_mode);
  if (is_regular_) size_ = status.st_size;
  EVP_DigestInit_ex(digest_.get(), EVP_sha256(), nullptr);
}

LineReader::~LineReader() { close(file_); }

absl::StatusOr<bool> LineReader::Next(absl::string_view& line) {
  size_t searched = 0;
  while (true) {
    const char* const waiting = buffer_.data() + begin_;
    const size_t count = end_ - begin_;
    if (const void* found = std::memchr(waiting + searched, '\n', count - searched); found != nullptr) {
      const size_t length = static_cast<const char*>(found) - waiting;
      line = Consume(length + 1).substr(0, length);
      return true;
    }
    searched = count;
    ASSIGN_OR_RETURN(const bool more, Fill());
    if (more) continue;
    if (count > 0) line = Consume(count);
    return count > 0;
  }
}

absl::Status LineReader::Skip(int64_t bytes) {
  while (bytes > 0) {
    if (begin_ == end_) {
      ASSIGN_OR_RETURN(const bool more, Fill());
      if (!more) return absl::OutOfRangeError("the file is shorter than that");
    }
    const size_t step = std::min(static_cast<size_t>(bytes), end_ - begin_);
    Consume(step);
    bytes -= static_cast<int64_t>(step);
  }
  return absl::OkStatus();
}

absl::Status LineReader::Rewind() {
  if (lseek(file_, 0, SEEK_SET) < 0) return SystemError("can't read it again");
  offset_ = 0;
  begin_ = end_ = 0;
  EVP_DigestInit_ex(digest_.get(), EVP_sha256(), nullptr);
  return absl::OkStatus();
}

std::string LineReader::Hash() const {
  const std::unique_ptr<EVP_MD_CTX, DigestDeleter> copy(EVP_MD_CTX_new());
  EVP_MD_CTX_copy_ex(copy.get(), digest_.get());
  std::string hash(EVP_MAX_MD_SIZE, '\0');
  unsigned int size = 0;
  EVP_DigestFinal_ex(copy.get(), reinterpret_cast<unsigned char*>(hash.data()), &size);
  hash.resize(size);
  return hash;
}

absl::StatusOr<bool> LineReader::Fill() {
  std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
  end_ -= begin_;
  begin_ = 0;
  if (end_ == buffer_.size()) {
    return absl::InvalidArgumentError(absl::StrCat("a line after byte ", offset_, " is longer than 1 MiB"));
  }
  ssize_t count = 0;
  do {
    count = read(file_, buffer_.data() + end_, buffer_.size() - end_);
  } while (count < 0 && errno == EINTR);
  if (count < 0) return SystemError("can't read");
  end_ += static_cast<size_t>(count);
  return count > 0;
}

absl::string_view LineReader::Consume(size_t bytes) {
  const absl::string_view taken(buffer_.data() + begin_, bytes);
  EVP_DigestUpdate(digest_.get(), taken.data(), taken.size());
  begin_ += bytes;
  offset_ += static_cast<int64_t>(bytes);
  return taken;
}

}  // namespace carillon::ctl
