// Protobuf messages as JSON and back, by their descriptors.
#pragma once

#include <google/protobuf/descriptor.h>
#include <google/protobuf/util/type_resolver.h>

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace carillon {

// The canonical mapping, of the messages that are linked into the program. Thread-safe.
class MessageJson {
 public:
  MessageJson();

  // Names may be written as in JSON (userId) or as in the proto (user_id).
  // INVALID_ARGUMENT, with the field, for unknown fields and wrong values, and for
  // what is nested too deeply.
  absl::StatusOr<std::string> ToBinary(const google::protobuf::Descriptor& type, const std::string& json) const;
  // On one line; names as in JSON, enums by name, int64 as strings, defaults left out.
  absl::StatusOr<std::string> ToJson(const google::protobuf::Descriptor& type, const std::string& binary) const;

 private:
  const std::unique_ptr<google::protobuf::util::TypeResolver> resolver_;
};

// INVALID_ARGUMENT if the bytes are not such a message.
absl::Status CheckBinary(const google::protobuf::Descriptor& type, const std::string& binary);

}  // namespace carillon
