// peer.cpp - rlimit and the C and C++ ways of limiting, behind the line protocol of bench/peers/run.py.
//
// The bucket under a mutex and the plain one are the textbook's; the one called folly is the published algorithm of Folly's
// TokenBucket (one atomic double: the time at which the bucket was empty), written out afresh. No code of theirs is here.

#define RLM_IMPLEMENTATION
#include "rlimit.h"

#include <algorithm>
#include <atomic>
#include <barrier>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <map>
#include <memory>
#include <mutex>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

namespace {

using fields = std::map<std::string, std::string>;
struct quota { uint64_t amount, period_ns; };

uint64_t number(const fields &given, const char *name, uint64_t otherwise) {
    auto found = given.find(name);
    return found == given.end() ? otherwise : std::strtoull(found->second.c_str(), nullptr, 10);
}

// -- clocks: every one is read anew for each decision

struct monotonic { static constexpr const char *name = "clock_gettime(CLOCK_MONOTONIC)"; static uint64_t now() { return rlm_now(); } };
struct coarse { static constexpr const char *name = "CLOCK_MONOTONIC_COARSE"; static uint64_t now() { return rlm_now_coarse(); } };
rlm_tsc stamp_counter;
struct tsc { static constexpr const char *name = "time stamp counter"; static uint64_t now() { return rlm_tsc_now(&stamp_counter); } };

// -- limiters: take(cost, now_ns) says whether it was granted

struct clock_only {
    clock_only(quota, uint64_t) {}
    bool take(uint64_t, uint64_t now_ns) { return now_ns != 0; }
};

struct plain {
    double rate, burst, tokens;
    uint64_t at_ns;
    plain(quota q, uint64_t now_ns)
        : rate(double(q.amount) / double(q.period_ns)), burst(double(q.amount)), tokens(burst), at_ns(now_ns) {}
    bool take(uint64_t cost, uint64_t now_ns) {
        if (now_ns > at_ns) {
            tokens = std::min(burst, tokens + double(now_ns - at_ns) * rate);
            at_ns = now_ns;
        }
        if (tokens < double(cost)) return false;
        tokens -= double(cost);
        return true;
    }
};

struct mutexed {
    std::mutex mutex;
    plain bucket;
    mutexed(quota q, uint64_t now_ns) : bucket(q, now_ns) {}
    bool take(uint64_t cost, uint64_t now_ns) {
        std::lock_guard<std::mutex> lock(mutex);
        return bucket.take(cost, now_ns);
    }
};

struct folly {
    double rate, burst;
    std::atomic<double> empty_at;
    folly(quota q, uint64_t now_ns)
        : rate(double(q.amount) * 1e9 / double(q.period_ns)), burst(double(q.amount)), empty_at(double(now_ns) * 1e-9 - burst / rate) {}
    bool take(uint64_t cost, uint64_t now_ns) {
        double now = double(now_ns) * 1e-9, seen = empty_at.load(), next;
        do {
            double tokens = std::min((now - seen) * rate, burst);
            if (tokens < double(cost)) return false;
            next = now - (tokens - double(cost)) / rate;
        } while (!empty_at.compare_exchange_weak(seen, next));
        return true;
    }
};

struct bucket {
    rlm_bucket state;
    bucket(quota q, uint64_t now_ns) {
        rlm_limit limit = rlm_per(RLM_REQUESTS, q.amount, q.period_ns);
        if (rlm_bucket_init(&state, &limit, now_ns) != RLM_OK) std::abort();
    }
    bool take(uint64_t cost, uint64_t now_ns) { return rlm_bucket_take(&state, cost, now_ns) == 0; }
};

struct limiter { // one limit of it: what a user has who may want more of them
    rlm_limiter state;
    limiter(quota q, uint64_t now_ns) {
        rlm_limit limit = rlm_per(RLM_REQUESTS, q.amount, q.period_ns);
        if (rlm_limiter_init(&state, &limit, 1, now_ns) != RLM_OK) std::abort();
    }
    bool take(uint64_t cost, uint64_t now_ns) {
        rlm_cost costs = {cost, 0, 0, 0, 0};
        rlm_permit permit;
        if (rlm_acquire(&state, &costs, now_ns, &permit) != 0) return false;
        rlm_settle(&state, &permit, &costs, now_ns);
        return true;
    }
};

// -- jobs

template <class Limiter, class Clock> std::string decide(const fields &given) {
    bool refused = given.at("case") == "refused";
    uint64_t ops = number(given, "ops", 1000), threads = number(given, "threads", 1), granted = 0;
    quota q = refused ? quota{1, RLM_DAY_NS} : quota{1000000000, RLM_SECOND_NS};
    auto made = std::make_unique<Limiter>(q, Clock::now());
    if (refused) made->take(1, Clock::now());
    struct alignas(128) span { uint64_t from_ns, to_ns, granted; };
    std::vector<span> spans(threads);
    std::barrier start(static_cast<std::ptrdiff_t>(threads));
    auto work = [&](uint64_t index) { // each notes its own times: who starts them may be kept waiting
        start.arrive_and_wait();
        uint64_t from_ns = rlm_now(), sum = 0;
        for (uint64_t i = 0; i < ops; i++) sum += made->take(1, Clock::now());
        spans[index] = {from_ns, rlm_now(), sum};
    };
    std::vector<std::thread> others;
    for (uint64_t i = 1; i < threads; i++) others.emplace_back(work, i);
    work(0);
    for (auto &one : others) one.join();
    uint64_t from_ns = UINT64_MAX, to_ns = 0;
    for (const auto &one : spans) {
        from_ns = std::min(from_ns, one.from_ns);
        to_ns = std::max(to_ns, one.to_ns);
        granted += one.granted;
    }
    std::ostringstream out;
    out << "\"elapsed_ns\": " << to_ns - from_ns << ", \"operations\": " << ops * threads << ", \"granted\": " << granted
        << ", \"clock\": \"" << Clock::name << "\"";
    return out.str();
}

template <class Limiter> std::string accuracy(const fields &given) {
    quota q = {number(given, "amount", 1), number(given, "period_ns", 1)};
    uint64_t base_ns = number(given, "base_ns", 0), at, tries, cost;
    auto made = std::make_unique<Limiter>(q, base_ns);
    std::istringstream steps(given.at("steps"));
    std::ostringstream out;
    const char *comma = "";
    char mark;
    out << "\"clock\": \"virtual\", \"grants\": [";
    while (steps >> at >> mark >> tries >> mark >> cost) {
        uint64_t granted = 0;
        while (tries-- > 0) granted += made->take(cost, base_ns + at);
        out << comma << "[" << at << ", " << at << ", " << granted * cost << "]";
        comma = ", ";
        steps >> mark;
    }
    out << "]";
    return out.str();
}

template <class Limiter, class Clock> std::string run(const fields &given) {
    return given.at("job") == "decide" ? decide<Limiter, Clock>(given) : accuracy<Limiter>(given);
}

struct peer { std::string (*run)(const fields &); const char *says; };
const std::map<std::string, peer> peers = {
    {"clock", {run<clock_only, monotonic>, "\"jobs\": {\"decide\": [\"granted 1\", \"granted 2\"]}"}},
    {"plain", {run<plain, monotonic>, "\"jobs\": {\"decide\": [\"granted 1\", \"refused 1\"], \"accuracy\": \"virtual\"}, \"weights\": true"}},
    {"mutex", {run<mutexed, monotonic>, "\"jobs\": {\"decide\": true, \"accuracy\": \"virtual\"}, \"weights\": true"}},
    {"folly", {run<folly, monotonic>, "\"jobs\": {\"decide\": true, \"accuracy\": \"virtual\"}, \"weights\": true"}},
    {"rlimit", {run<bucket, monotonic>, "\"jobs\": {\"decide\": true, \"accuracy\": \"virtual\"}, \"weights\": true"}},
    {"rlimit_tsc", {run<bucket, tsc>, "\"jobs\": {\"decide\": true}"}},
    {"rlimit_coarse", {run<bucket, coarse>, "\"jobs\": {\"decide\": true}"}},
    {"rlimit_limiter", {run<limiter, monotonic>, "\"jobs\": {\"decide\": true}"}},
};

void list() {
    const char *comma = "";
    std::cout << "{\"version\": \"" << RLM_VERSION << "\", \"peers\": {";
    for (const auto &[name, one] : peers) {
        if (name == "rlimit_tsc" && rlm_tsc_init(&stamp_counter) != RLM_OK) continue;
        std::cout << comma << "\"" << name << "\": {" << one.says << "}";
        comma = ", ";
    }
    std::cout << "}}" << std::endl;
}

} // namespace

int main() {
    std::string line;
    while (std::getline(std::cin, line)) {
        std::istringstream words(line);
        std::string name, word;
        fields given;
        words >> name;
        while (words >> word) given[word.substr(0, word.find('='))] = word.substr(word.find('=') + 1);
        auto found = peers.find(name);
        if (name == "list") list();
        else if (found == peers.end()) std::cout << "{\"error\": \"no peer named " << name << "\"}" << std::endl;
        else std::cout << "{\"peer\": \"" << name << "\", " << found->second.run(given) << "}" << std::endl;
    }
    return 0;
}
