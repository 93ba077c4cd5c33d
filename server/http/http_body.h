// Bodies of answers that come over time.
#pragma once

#include <memory>
#include <string>

namespace carillon {

// Where such a body goes. Thread-safe; does not block, and calls nobody on the
// caller's thread.
class HttpBodySink {
 public:
  virtual ~HttpBodySink() = default;
  // The next piece, after OnOpen or OnWritten said that there is room for it.
  virtual void Write(std::string bytes) = 0;
  // The last piece, which may be empty, in the place of a Write. OnEnd follows.
  virtual void Finish(std::string bytes) = 0;
  // Cuts the connection, whatever is under way. OnEnd follows.
  virtual void Abort() = 0;
};

// Makes such a body. Called on a thread of the port, one call at a time; must not block.
class HttpBodyProducer {
 public:
  virtual ~HttpBodyProducer() = default;
  // The answer's head is out: there is room for the first piece.
  virtual void OnOpen(std::shared_ptr<HttpBodySink> sink) = 0;
  // The last piece is out: there is room for another. A client that reads slowly makes
  // this late; what waits meanwhile is the producer's to bound.
  virtual void OnWritten() = 0;
  // Always, once and last: everything is sent, or the client is gone or does not read,
  // or the port stops. Without OnOpen, if the stream was not let in. The sink is of no
  // use any more.
  virtual void OnEnd() = 0;
};

}  // namespace carillon
