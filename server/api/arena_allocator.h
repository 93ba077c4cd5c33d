// Request and response of a call on one arena: their many small parts are freed
// at once. For the methods that are called most.
#pragma once

#include <google/protobuf/arena.h>
#include <grpcpp/support/message_allocator.h>

namespace carillon {

// Thread-safe; must outlive the gRPC server. `first_block` bytes per call are
// reserved together with the arena itself: enough for the usual call.
template <typename Request, typename Response, size_t first_block = 4096>
class ArenaAllocator final : public grpc::MessageAllocator<Request, Response> {
 public:
  grpc::MessageHolder<Request, Response>* AllocateMessages() override { return new Holder; }

 private:
  class Holder final : public grpc::MessageHolder<Request, Response> {
   public:
    Holder() : arena_(block_, sizeof(block_)) {
      this->set_request(google::protobuf::Arena::CreateMessage<Request>(&arena_));
      this->set_response(google::protobuf::Arena::CreateMessage<Response>(&arena_));
    }
    void Release() override { delete this; }

   private:
    alignas(8) char block_[first_block];
    google::protobuf::Arena arena_;
  };
};

}  // namespace carillon
