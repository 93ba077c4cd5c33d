// google.protobuf.Struct <-> JSON text. Free functions; thread-safe.
#pragma once

#include <google/protobuf/struct.pb.h>

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace carillon {

// The one text of a Struct: keys sorted by their bytes, no white space, numbers
// as the shortest decimal that reads back to the same double. Equal Structs give
// equal texts, whatever client sent them. A Struct without fields gives "{}".
//
// INVALID_ARGUMENT, whose message says what is allowed ("must be at most 16384
// bytes as JSON"), for what is larger or deeper than limits.h allows, NaN,
// infinities and NUL characters.
absl::StatusOr<std::string> StructToJson(const google::protobuf::Struct& data);

// Replaces out. Text that is not a JSON object, or is empty, clears it.
void JsonToStruct(absl::string_view json, google::protobuf::Struct* out);

}  // namespace carillon
