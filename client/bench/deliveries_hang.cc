#include <cmath>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "carillon/domain/status_macros.h"
#include "client/bench/deliveries.h"
#include "client/bench/open_loop.h"
#include "client/bench/reachable.h"
#include "client/bench/schedule.h"
#include "client/carillon/client.h"
#include "client/carillon/timer.h"

namespace carillon::bench {
namespace {

// Whose mail hangs; their addresses hold this name.
constexpr const char* kHangingGroup = "bench-hang";
constexpr int kHangingUsers = 200;
constexpr const char* kHangingType = "comment";
constexpr double kHangingRate = 20;
constexpr int kHangSeconds = 60;
// Held ones wait for a probe, and probes for the breaker, up to a minute.
constexpr absl::Duration kPatience = absl::Minutes(2);

struct Measured {
  const char* type;
  v1::Channel channel;
  const char* name;
};
constexpr Measured kMeasured[] = {{"otp.login", v1::CHANNEL_SMS, "otp_sms"},
                                  {"payment.receipt", v1::CHANNEL_EMAIL, "payment_email"},
                                  {"like", v1::CHANNEL_IN_APP, "like_in_app"}};

// Sends of given types, each to one channel, at a rate that nothing slows down.
class Traffic {
 public:
  Traffic(const BenchOptions& bench, const std::string& group, int users, const std::vector<Measured>& kinds)
      : requests_(OptionsOf(bench, group, users, kinds)), sender_(bench.client), loop_(sender_, requests_) {}

  // Blocks. How many were accepted; an error if one was not.
  absl::StatusOr<int64_t> Run(uint64_t seed, double rate, absl::Duration time) {
    ASSIGN_OR_RETURN(const std::vector<ScheduledSend> sends, loop_.Run(PoissonSchedule(seed, rate, time)));
    for (const auto& [code, count] : loop_.errors()) {
      return absl::UnavailableError(absl::StrCat(count, " sends failed with ", code));
    }
    return static_cast<int64_t>(sends.size());
  }

 private:
  static SendRequests::Options OptionsOf(const BenchOptions& bench, const std::string& group, int users,
                                         const std::vector<Measured>& kinds) {
    SendRequests::Options options{
        .seed = bench.seed, .run_name = "deliveries", .user_ids = UserIds(group, users), .types = {}};
    for (const Measured& kind : kinds) {
      options.types.push_back(kind.type);
      options.channels[kind.type] = {kind.channel};
    }
    return options;
  }

  SendRequests requests_;
  RawSender sender_;
  OpenLoop loop_;
};

class HangRun {
 public:
  HangRun(const DeliveriesOptions& options, const Sandbox& sandbox)
      : options_(options),
        bench_(options.bench),
        sandbox_(sandbox),
        client_(bench_.client),
        people_(bench_),
        measured_(bench_, kGroup, bench_.users, {std::begin(kMeasured), std::end(kMeasured)}),
        hanging_(bench_, kHangingGroup, kHangingUsers, {{kHangingType, v1::CHANNEL_EMAIL, "social_email"}}),
        meter_(bench_.stack_directory) {}

  ~HangRun() { (void)EndHang(); }

  absl::StatusOr<Json> Run(Guards& guards) {
    RETURN_IF_ERROR(people_.Make(kGroup, bench_.users));
    RETURN_IF_ERROR(people_.Make(kHangingGroup, kHangingUsers));
    Json document = {{"scenario", "deliveries"}, {"passed", false},           {"seed", bench_.seed},
                     {"rate", options_.rate},    {"hang_rate", kHangingRate}, {"hang_seconds", kHangSeconds}};
    RETURN_IF_ERROR(measured_.Run(bench_.seed, options_.rate, bench_.warmup).status());
    RETURN_IF_ERROR(MeasureWell("before", bench_.seed + 10, document));
    RETURN_IF_ERROR(MeasureHang(document));
    RETURN_IF_ERROR(MeasureWell("after", bench_.seed + 20, document));
    for (const Measured& kind : kMeasured) document["p99_times_well"][kind.name] = Ratio(document, kind.name);
    RETURN_IF_ERROR(guards.CheckRun(/*confirms=*/1));
    document["passed"] = passed_;
    return document;
  }

 private:
  absl::Status MeasurePhase(const char* phase, uint64_t seed, Json& document) {
    const absl::Time since = absl::Now();
    const CpuMeter::Reading before = meter_.Read();
    ASSIGN_OR_RETURN(const int64_t sent, measured_.Run(seed, options_.rate, bench_.time));
    Json& figures = document[phase];
    for (const Measured& kind : kMeasured) {
      ASSIGN_OR_RETURN(const Outcomes outcomes, people_.WaitForEnd(kGroup, kind.type, kind.channel, since, 0));
      const int64_t well = outcomes.of("sent") + outcomes.of("delivered");
      passed_ = passed_ && well == outcomes.all() && well > 0;
      figures[kind.name] = JsonOf(PercentilesOf(outcomes.accepted_to_end));
      figures[kind.name]["sent"] = outcomes.all();
    }
    figures["usage"] = JsonOf(CpuMeter::Between(before, meter_.Read()), sent);
    return absl::OkStatus();
  }

  // The same load while every provider answers. Measured before and after the hang: a
  // process that has just begun is slower, and the machine is not the same all the time.
  absl::Status MeasureWell(const char* phase, uint64_t seed, Json& document) {
    const absl::Time since = absl::Now();
    absl::StatusOr<int64_t> load;
    std::thread sender([&] { load = hanging_.Run(seed, kHangingRate, bench_.time); });
    const absl::Status status = MeasurePhase(phase, seed + 1, document);
    sender.join();
    RETURN_IF_ERROR(status);
    RETURN_IF_ERROR(load.status());
    ASSIGN_OR_RETURN(const Outcomes outcomes,
                     people_.WaitForEnd(kHangingGroup, kHangingType, v1::CHANNEL_EMAIL, since, *load));
    passed_ = passed_ && outcomes.of("sent") == *load;
    return absl::OkStatus();
  }

  // Every provider of social's mail hangs, and no other lane's.
  absl::Status MeasureHang(Json& document) {
    ASSIGN_OR_RETURN(const SandboxCounts received, sandbox_.Counts(v1::CHANNEL_EMAIL));
    const absl::Time since = absl::Now();
    for (const std::string& provider : SandboxProvidersOf(v1::CHANNEL_EMAIL)) {
      RETURN_IF_ERROR(
          sandbox_.AddRule(provider, {{"mode", "hang"}, {"match", kHangingGroup}, {"for_seconds", kHangSeconds}}));
    }
    absl::FPrintF(stderr, "the providers of social e-mail hang\n");
    absl::StatusOr<int64_t> load;
    std::thread sender([&] { load = hanging_.Run(bench_.seed + 2, kHangingRate, absl::Seconds(kHangSeconds)); });
    absl::Status status = MeasurePhase("hang", bench_.seed + 3, document);
    const absl::StatusOr<Json> breakers = Breakers();
    sender.join();
    RETURN_IF_ERROR(status);
    RETURN_IF_ERROR(load.status());
    RETURN_IF_ERROR(breakers.status());
    document["breakers"]["while_it_hangs"] = *breakers;
    return FollowRecovery(*load, received, since, document);
  }

  absl::Status FollowRecovery(int64_t sent, const SandboxCounts& received_before, absl::Time since, Json& document) {
    ASSIGN_OR_RETURN(const Outcomes outcomes,
                     people_.WaitForEnd(kHangingGroup, kHangingType, v1::CHANNEL_EMAIL, since, sent, kPatience));
    ASSIGN_OR_RETURN(document["breakers"]["afterwards"], Breakers());
    ASSIGN_OR_RETURN(const SandboxCounts received, sandbox_.Counts(v1::CHANNEL_EMAIL));
    const int64_t others = document["hang"]["payment_email"]["sent"].get<int64_t>();
    const Arrived arrived = ArrivedOf(sent + others, received_before, received);
    document["social_email"] = {{"sent", sent},
                                {"states", outcomes.states},
                                {"missing", arrived.missing},
                                {"doubled", arrived.doubled},
                                {"accepted_to_sent_ms", JsonOf(PercentilesOf(outcomes.accepted_to_end))}};
    passed_ = passed_ && outcomes.of("sent") == sent && arrived.missing + arrived.doubled == 0;
    return absl::OkStatus();
  }

  // What the worker of social thinks of the providers of e-mail.
  absl::StatusOr<Json> Breakers() {
    v1::ListProvidersRequest request;
    request.set_channel(v1::CHANNEL_EMAIL);
    ASSIGN_OR_RETURN(const v1::ListProvidersResponse response, client_.ListProviders(request));
    Json breakers = Json::object();
    for (const v1::ProviderStatus& provider : response.providers()) {
      std::string state = "closed";
      for (const v1::ProviderHealth& health : provider.health()) {
        if (health.lane() == "social" && health.breaker() != v1::BREAKER_STATE_CLOSED) state = "open";
      }
      breakers[provider.provider().name()] = state;
    }
    return breakers;
  }

  absl::Status EndHang() {
    absl::Status status;
    for (const std::string& provider : SandboxProvidersOf(v1::CHANNEL_EMAIL)) {
      status.Update(sandbox_.ClearRules(provider));
    }
    return status;
  }

  // Of the hang to the mean of before and after.
  static double Ratio(const Json& document, const char* name) {
    const auto p99 = [&](const char* phase) { return document[phase][name]["p99"].get<double>(); };
    const double well = (p99("before") + p99("after")) / 2;
    return well > 0 ? std::round(100 * p99("hang") / well) / 100 : 0;
  }

  const DeliveriesOptions& options_;
  const BenchOptions& bench_;
  const Sandbox& sandbox_;
  Client client_;
  ReachablePeople people_;
  Traffic measured_;
  Traffic hanging_;
  const CpuMeter meter_;
  bool passed_ = true;
};

}  // namespace

absl::StatusOr<Json> RunHangingProvider(const DeliveriesOptions& options, Guards& guards, const Sandbox& sandbox) {
  return HangRun(options, sandbox).Run(guards);
}

}  // namespace carillon::bench
