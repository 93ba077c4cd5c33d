// Words for the dlq commands: texts from what a server says, and nothing else, so that they
// can be tested.
#pragma once

#include <google/protobuf/timestamp.pb.h>

#include <string>

#include "carillon/v1/admin_service.pb.h"

namespace carillon::ctl {

// "-" if there is none.
std::string OrDash(const std::string& text);
// As much of it as a table has room for.
std::string Shortened(const std::string& text);
// How long ago that was: 40 s, 12 min, 3 h, 9 d.
std::string TimeAgo(const google::protobuf::Timestamp& time);

// False: all dead letters of an app, or of all apps, would be meant.
bool SaysWhich(const v1::DeadLetterFilter& filter);
// 5 dead letters. Where there are none of an app, but `of_all_apps` meet the same filter, that too.
std::string TotalText(int64_t total, int64_t of_all_apps);

// How many a replay has looked at itself.
int64_t LookedAt(const v1::Replay& replay);
// What a replay has left, and why: "; left: 3 expired, 1 taken by others". Empty if nothing.
std::string LeftText(const v1::Replay& replay);
// How to go on with a replay as fast, and as patiently, as was chosen for it; 0: nothing was.
std::string ResumeCommand(const std::string& replay_id, int rate, int stop_after);
// [#####---] 20/60  33%  100/s  1 s left
std::string ProgressLine(const v1::ReplayDeadLettersResponse& response);

}  // namespace carillon::ctl
