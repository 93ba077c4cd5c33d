// What a server is told at its start. Plain data; checked before anything is made of it.
#pragma once

#include <string>

#include "carillon/rabbitmq/topology_admin.h"
#include "carillon/redis/live_publisher.h"
#include "carillon/runtime/master_key.h"
#include "server/api/user_tokens.h"
#include "server/connect/cors.h"
#include "server/pressure/objectives.h"

namespace carillon {

struct ServerConfig {
  std::string listen;
  std::string http_listen;
  bool http_operations = true;
  CorsPolicy cors;
  bool reflection = false;
  int writers = 2;
  int readers = 8;
  int64_t outbox_bound = 0;
  LaneObjectives objectives;
  std::string database_url;
  RabbitOptions rabbit;
  RedisOptions redis;
  LiveRouting live_routing = LiveRouting::kDirected;
  MasterKey master_key;
  std::string public_url;
  TokenAlgorithm token_algorithm = TokenAlgorithm::kHs256;
};

}  // namespace carillon
