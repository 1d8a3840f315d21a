import com.google.common.util.concurrent.RateLimiter;
import io.github.bucket4j.Bucket;
import io.github.bucket4j.TimeMeter;
import io.github.resilience4j.ratelimiter.RateLimiterConfig;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.time.Duration;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.LongAdder;
import java.util.function.IntConsumer;
import java.util.function.LongPredicate;
import java.util.stream.LongStream;

/** Java's limiters behind the line protocol of bench/peers/run.py. */
public final class Peer {
    private static final long SECOND_NS = 1_000_000_000L;
    private static final long DAY_NS = 86_400 * SECOND_NS;

    /** A clock that is set by hand. */
    private static final class Manual implements TimeMeter {
        private volatile long atNs;

        @Override
        public long currentTimeNanos() {
            return atNs;
        }

        @Override
        public boolean isWallClockBased() {
            return false;
        }
    }

    private static Bucket bucket4j(long amount, long periodNs, TimeMeter clock) {
        return Bucket.builder()
                .addLimit(limit -> limit.capacity(amount).refillGreedy(amount, Duration.ofNanos(periodNs)))
                .withCustomTimePrecision(clock)
                .build();
    }

    private static LongPredicate guava(long amount, long periodNs) {
        RateLimiter limiter = RateLimiter.create(amount * 1e9 / periodNs);
        return cost -> limiter.tryAcquire((int) cost);
    }

    private static LongPredicate resilience4j(long amount, long periodNs) {
        RateLimiterConfig config = RateLimiterConfig.custom()
                .limitForPeriod((int) amount)
                .limitRefreshPeriod(Duration.ofNanos(periodNs))
                .timeoutDuration(Duration.ZERO)
                .build();
        io.github.resilience4j.ratelimiter.RateLimiter limiter = io.github.resilience4j.ratelimiter.RateLimiter.of("peer", config);
        return cost -> limiter.acquirePermission((int) cost);
    }

    private static LongPredicate limiter(String name, long amount, long periodNs) {
        switch (name) {
            case "bucket4j": {
                Bucket bucket = bucket4j(amount, periodNs, TimeMeter.SYSTEM_MILLISECONDS);
                return bucket::tryConsume;
            }
            case "bucket4j_nanoseconds": {
                Bucket bucket = bucket4j(amount, periodNs, TimeMeter.SYSTEM_NANOTIME);
                return bucket::tryConsume;
            }
            case "guava":
                return guava(amount, periodNs);
            case "resilience4j":
                return resilience4j(amount, periodNs);
            default:
                throw new IllegalArgumentException("no peer named " + name);
        }
    }

    private static long take(LongPredicate limiter, long ops) {
        long granted = 0;
        for (long i = 0; i < ops; i++) {
            if (limiter.test(1)) {
                granted++;
            }
        }
        return granted;
    }

    private static String decide(String name, Map<String, String> given) throws InterruptedException {
        long ops = number(given, "ops", 1000);
        int threads = (int) number(given, "threads", 1);
        boolean refused = "refused".equals(given.get("case"));
        LongPredicate limiter = refused ? limiter(name, 1, DAY_NS) : limiter(name, 1_000_000_000L, SECOND_NS);
        if (refused) {
            limiter.test(1);
        }
        LongAdder granted = new LongAdder();
        CountDownLatch start = new CountDownLatch(threads);
        long[] fromNs = new long[threads], toNs = new long[threads];
        IntConsumer work = index -> { // each notes its own times: who starts them may be kept waiting
            start.countDown();
            await(start);
            long from = System.nanoTime();
            long sum = take(limiter, ops);
            toNs[index] = System.nanoTime();
            fromNs[index] = from;
            granted.add(sum);
        };
        Thread[] others = new Thread[threads - 1];
        for (int i = 0; i < others.length; i++) {
            int index = i + 1;
            others[i] = new Thread(() -> work.accept(index));
            others[i].start();
        }
        work.accept(0);
        for (Thread other : others) {
            other.join();
        }
        long elapsedNs = LongStream.of(toNs).max().getAsLong() - LongStream.of(fromNs).min().getAsLong();
        String clock = name.equals("bucket4j") ? "System.currentTimeMillis" : "System.nanoTime";
        return String.format("\"elapsed_ns\": %d, \"operations\": %d, \"granted\": %d, \"clock\": \"%s\"",
                elapsedNs, ops * threads, granted.sum(), clock);
    }

    private static void await(CountDownLatch latch) {
        try {
            latch.await();
        } catch (InterruptedException error) {
            throw new IllegalStateException(error);
        }
    }

    /** The tries of each step, at a virtual time or, of a peer that takes no clock, when it comes. */
    private static String accuracy(String name, Map<String, String> given) throws InterruptedException {
        long amount = number(given, "amount", 1), periodNs = number(given, "period_ns", 1), baseNs = number(given, "base_ns", 0);
        boolean virtual = name.equals("bucket4j");
        Manual clock = new Manual();
        clock.atNs = baseNs;
        LongPredicate limiter = virtual ? bucket4j(amount, periodNs, clock)::tryConsume : limiter(name, amount, periodNs);
        StringBuilder grants = new StringBuilder();
        long startNs = System.nanoTime();
        for (String step : given.get("steps").split(",")) {
            String[] parts = step.split(":");
            long atNs = Long.parseLong(parts[0]), tries = Long.parseLong(parts[1]), cost = Long.parseLong(parts[2]), granted = 0;
            clock.atNs = baseNs + atNs;
            while (!virtual && System.nanoTime() - startNs < atNs) {
                Thread.sleep(0, 200_000);
            }
            long fromNs = virtual ? atNs : System.nanoTime() - startNs;
            for (long i = 0; i < tries; i++) {
                granted += limiter.test(cost) ? cost : 0;
            }
            long toNs = virtual ? atNs : System.nanoTime() - startNs;
            grants.append(grants.length() == 0 ? "" : ", ").append(String.format("[%d, %d, %d]", fromNs, toNs, granted));
        }
        return String.format("\"clock\": \"%s\", \"grants\": [%s]", virtual ? "virtual" : "real", grants);
    }

    private static String list() {
        return "{\"version\": \"" + Runtime.version() + "\", \"peers\": {"
                + "\"bucket4j\": {\"jobs\": {\"decide\": true, \"accuracy\": \"virtual\"}, \"weights\": true}, "
                + "\"bucket4j_nanoseconds\": {\"jobs\": {\"decide\": true}}, "
                + "\"guava\": {\"jobs\": {\"decide\": true, \"accuracy\": \"real\"}, \"weights\": true}, "
                + "\"resilience4j\": {\"jobs\": {\"decide\": true, \"accuracy\": \"real\"}, \"weights\": true}}}";
    }

    private static long number(Map<String, String> given, String name, long otherwise) {
        return given.containsKey(name) ? Long.parseLong(given.get(name)) : otherwise;
    }

    public static void main(String[] arguments) throws Exception {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            String[] words = line.trim().split("\\s+");
            Map<String, String> given = new HashMap<>();
            for (int i = 1; i < words.length; i++) {
                String[] pair = words[i].split("=", 2);
                given.put(pair[0], pair[1]);
            }
            String answer;
            try {
                if (words[0].equals("list")) {
                    answer = list();
                } else {
                    answer = "{\"peer\": \"" + words[0] + "\", "
                            + ("decide".equals(given.get("job")) ? decide(words[0], given) : accuracy(words[0], given)) + "}";
                }
            } catch (RuntimeException error) {
                answer = "{\"error\": \"" + String.valueOf(error.getMessage()).replaceAll("[\"\\\\\\n]", " ") + "\"}";
            }
            System.out.println(answer);
        }
    }
}
