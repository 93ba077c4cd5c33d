// Reads a file line by line and knows what it has read.
#pragma once

#include <openssl/evp.h>

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace carillon::ctl {

// Owner thread only.
class LineReader {
 public:
  // "-": standard input.
  static absl::StatusOr<std::unique_ptr<LineReader>> Open(const std::string& path);
  ~LineReader();
  LineReader(const LineReader&) = delete;
  LineReader& operator=(const LineReader&) = delete;

  // The next line without its end, which may be missing from the last one. False
  // if there is none. The line is good until the next call.
  absl::StatusOr<bool> Next(absl::string_view& line);
  // Reads and drops so many bytes, which must be there.
  absl::Status Skip(int64_t bytes);
  // Back to the beginning; of a regular file only.
  absl::Status Rewind();

  // Bytes that were read as lines or skipped.
  int64_t offset() const { return offset_; }
  // SHA-256 of them.
  std::string Hash() const;
  // Whether it can be read again; a pipe can't.
  bool is_regular() const { return is_regular_; }
  // Bytes in all; 0 if it is not regular.
  int64_t size() const { return size_; }

 private:
  struct DigestDeleter {
    void operator()(EVP_MD_CTX* digest) const { EVP_MD_CTX_free(digest); }
  };

  explicit LineReader(int file);
  // Reads on behind what waits in the buffer. False at the end of the file.
  absl::StatusOr<bool> Fill();
  // Takes so many bytes off the front of the buffer.
  absl::string_view Consume(size_t bytes);

  const int file_;
  bool is_regular_ = false;
  int64_t size_ = 0;
  int64_t offset_ = 0;
  std::string buffer_;
  size_t begin_ = 0;  // What waits is [begin_, end_) of the buffer.
  size_t end_ = 0;
  const std::unique_ptr<EVP_MD_CTX, DigestDeleter> digest_;
};

}  // namespace carillon::ctl
