//! governor behind the line protocol of bench/peers/run.py.

use governor::clock::{Clock, DefaultClock, MonotonicClock};
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use std::collections::HashMap;
use std::io::{BufRead, Write};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

type Fields<'a> = HashMap<&'a str, &'a str>;
type Limiter<C> = RateLimiter<NotKeyed, InMemoryState, C, NoOpMiddleware<<C as Clock>::Instant>>;

fn number(given: &Fields, name: &str, otherwise: u64) -> u64 {
    given.get(name).and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

fn at_most_u32(n: u64) -> NonZeroU32 {
    NonZeroU32::new(u32::try_from(n).expect("fits into 32 bits")).expect("not zero")
}

/// A clock that is set by hand.
#[derive(Clone)]
struct Manual(Arc<AtomicU64>);

impl Clock for Manual {
    type Instant = Nanos;
    fn now(&self) -> Nanos {
        self.0.load(Ordering::Relaxed).into()
    }
}

/// The constructor that the documentation names for a period, else the general one.
fn quota(amount: u64, period_ns: u64) -> Option<Quota> {
    match period_ns {
        1_000_000_000 => Some(Quota::per_second(at_most_u32(amount))),
        60_000_000_000 => Some(Quota::per_minute(at_most_u32(amount))),
        _ => Quota::with_period(Duration::from_nanos(period_ns / amount)).map(|q| q.allow_burst(at_most_u32(amount))),
    }
}

fn decide<C: Clock + Clone + Send + Sync + 'static>(given: &Fields, clock: C, clock_name: &str) -> String
where
    Limiter<C>: Send + Sync,
{
    let (ops, threads) = (number(given, "ops", 1000), number(given, "threads", 1));
    let refused = given["case"] == "refused";
    let quota = if refused { quota(1, 86_400_000_000_000) } else { quota(1_000_000_000, 1_000_000_000) }.unwrap();
    let limiter = Arc::new(RateLimiter::direct_with_clock(quota, clock));
    if refused {
        let _ = limiter.check();
    }
    let start = Arc::new(Barrier::new(threads as usize));
    let work = move |limiter: &Limiter<C>| {
        start.wait(); // each notes its own times: who starts them may be kept waiting
        let (from, mut granted) = (Instant::now(), 0u64);
        for _ in 0..ops {
            granted += u64::from(limiter.check().is_ok());
        }
        (from, Instant::now(), granted)
    };
    let others: Vec<_> = (1..threads)
        .map(|_| {
            let (limiter, work) = (limiter.clone(), work.clone());
            std::thread::spawn(move || work(&limiter))
        })
        .collect();
    let mut spans = vec![work(&limiter)];
    spans.extend(others.into_iter().map(|other| other.join().unwrap()));
    let elapsed = (spans.iter().map(|span| span.1).max().unwrap() - spans.iter().map(|span| span.0).min().unwrap()).as_nanos();
    let granted: u64 = spans.iter().map(|span| span.2).sum();
    format!("\"elapsed_ns\": {}, \"operations\": {}, \"granted\": {}, \"clock\": \"{}\"", elapsed, ops * threads, granted, clock_name)
}

fn accuracy(given: &Fields) -> String {
    let base_ns = number(given, "base_ns", 0);
    let clock = Manual(Arc::new(AtomicU64::new(base_ns)));
    let Some(quota) = quota(number(given, "amount", 1), number(given, "period_ns", 1)) else {
        return "\"error\": \"the quota was not accepted\"".into();
    };
    let limiter = RateLimiter::direct_with_clock(quota, clock.clone());
    let mut grants = Vec::new();
    for step in given["steps"].split(',') {
        let parts: Vec<u64> = step.split(':').map(|n| n.parse().unwrap()).collect();
        let cost = at_most_u32(parts[2]);
        clock.0.store(base_ns + parts[0], Ordering::Relaxed);
        let granted = (0..parts[1]).filter(|_| matches!(limiter.check_n(cost), Ok(Ok(())))).count() as u64;
        grants.push(format!("[{}, {}, {}]", parts[0], parts[0], granted * parts[2]));
    }
    format!("\"clock\": \"virtual\", \"grants\": [{}]", grants.join(", "))
}

fn main() {
    let list = concat!(
        "{\"peers\": {\"governor\": {\"version\": \"0.10.4\", \"jobs\": {\"decide\": true, \"accuracy\": \"virtual\"}, \"weights\": true}, ",
        "\"governor_std_clock\": {\"version\": \"0.10.4\", \"jobs\": {\"decide\": true}}}}"
    );
    let mut line = String::new();
    let (mut input, mut output) = (std::io::stdin().lock(), std::io::stdout().lock());
    while input.read_line(&mut line).unwrap() > 0 {
        let mut words = line.split_whitespace();
        let name = words.next().unwrap_or("");
        let given: Fields = words.filter_map(|word| word.split_once('=')).collect();
        let said = match (name, given.get("job").copied()) {
            ("list", _) => list.to_string(),
            ("governor", Some("accuracy")) => format!("{{\"peer\": \"governor\", {}}}", accuracy(&given)),
            ("governor", _) => format!("{{\"peer\": \"governor\", {}}}", decide(&given, DefaultClock::default(), "quanta: time stamp counter")),
            ("governor_std_clock", _) => {
                format!("{{\"peer\": \"governor_std_clock\", {}}}", decide(&given, MonotonicClock, "std::time::Instant"))
            }
            _ => "{\"error\": \"no such peer\"}".to_string(),
        };
        writeln!(output, "{said}").unwrap();
        output.flush().unwrap();
        line.clear();
    }
}
