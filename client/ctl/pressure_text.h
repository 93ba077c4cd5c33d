// Words and frames for queues, top and get: texts from what a server says, and nothing
// else, so that they can be tested.
#pragma once

#include <google/protobuf/duration.pb.h>

#include <string>
#include <vector>

#include "absl/time/time.h"
#include "carillon/v1/admin_service.pb.h"
#include "carillon/v1/notification.pb.h"

namespace carillon::ctl {

// 0.4 s, 12 s, 3 min 5 s, 2 h 10 min, 3 d 4 h.
std::string AgeText(absl::Duration age);
std::string AgeText(const google::protobuf::Duration& age);
// 1,234,567.
std::string CountText(int64_t count);
// delayed: marketing is 12 min behind; about 14:05 UTC
std::string DelayText(const v1::Delay& delay);
// One sign for each column, as high as the most that waited in its share of the history.
// Empty if nothing was remembered.
std::string Sparkline(const v1::Queue& queue, int columns, bool utf8);

struct FrameOptions {
  int width = 100;
  int height = 0;  // Lines; 0: as many as it takes. Busy queues come first.
  bool color = false;
  bool utf8 = true;
  bool sparklines = false;
  std::string title;   // Of the first line; empty: none.
  std::string notice;  // Of the last line: what is wrong.
};

// Lanes, queues that are not idle, the outbox and the breakers that are not closed. Lines
// without an end, each at most as wide as it may be.
std::vector<std::string> RenderQueues(const v1::ListQueuesResponse& response, const FrameOptions& options);

}  // namespace carillon::ctl
