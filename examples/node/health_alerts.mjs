// A warning when a limit is 70 % used and an alarm at 90 %, by a hook of your own: a log line here, a webhook or more
// workers elsewhere.
//
//     node health_alerts.mjs
import { Limiter, ManualClock, perMinute } from 'rlimit';

/** Calls hook(level, meter, share) when the level of a limit changes: 'ok', 'warning', 'critical'. */
class Health {
  #levels = new Map();

  constructor(limiter, hook, { warning = 0.7, critical = 0.9 } = {}) {
    Object.assign(this, { limiter, hook, warning, critical });
  }

  /** After each call, or now and then. */
  look() {
    this.limiter.status().limits.forEach(({ meter, used, capacity }, index) => {
      const share = used / capacity;
      const level = share >= this.critical ? 'critical' : share >= this.warning ? 'warning' : 'ok';
      if (level !== (this.#levels.get(index) ?? 'ok')) this.hook(level, meter, share);
      this.#levels.set(index, level);
    });
  }
}

const clock = new ManualClock(); // time by hand, so that this ends at once
const limiter = new Limiter({ requests: perMinute(50), tokens: perMinute(80_000), clock });
const log = (level, meter, share) => console.log(`${level}: ${meter}, ${Math.round(100 * share)} % used`);
const health = new Health(limiter, log);
for (let n = 0; n < 10; n++) {
  (await limiter.acquire({ inputTokens: 7_500 })).settle();
  health.look();
}
clock.advance(30_000);
health.look();
