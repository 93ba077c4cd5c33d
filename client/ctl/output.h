// How results are shown: protobuf JSON for programs, short lines for people.
#pragma once

#include <google/protobuf/message.h>
#include <google/protobuf/timestamp.pb.h>

#include <string>
#include <vector>

#include "carillon/v1/feed_service.pb.h"

namespace carillon::ctl {

// One document with the original field names, all fields present; one line.
std::string ToJson(const google::protobuf::Message& message);

// Rows under headings, in columns as wide as their widest cell.
class Table {
 public:
  explicit Table(std::vector<std::string> headings) : rows_{std::move(headings)} {}
  void Add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  void Print() const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

// 2026-11-21 07:41:24.082 in UTC; "-" if absent.
std::string TimeText(const google::protobuf::Timestamp& time);
// STATE_DELIVERED -> delivered.
std::string ShortName(const std::string& enum_name, const std::string& prefix);

// One line.
void PrintItem(const v1::FeedItem& item);

}  // namespace carillon::ctl
