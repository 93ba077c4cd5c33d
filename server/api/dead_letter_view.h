// Dead letters and what was done with them, as admins see them.
#pragma once

#include <string>

#include "absl/strings/string_view.h"
#include "carillon/domain/dead_letter.h"
#include "carillon/v1/admin_service.pb.h"

namespace carillon {

// Without its payload.
void ToProto(const DeadLetter& letter, v1::DeadLetter* out);
void ToProto(const DeadLetterGroup& group, v1::DeadLetterGroup* out);
void ToProto(const Replay& replay, v1::Replay* out);

// What a message says, as JSON. Masked: texts and numbers of data, where codes and
// addresses may be, are "***"; so is all of what is no envelope, which else is the base64 of
// its bytes. What has more than `max_bytes` is not shown.
std::string PayloadJson(absl::string_view payload, bool masked, size_t max_bytes);

}  // namespace carillon
