"""The command line."""

import argparse
import asyncio
import math
import os
import signal
import sys

from .clock import RealClock
from .policies import POLICIES
from .server import LIMIT_OPTIONS, Options, Relay, start


def _positive(text):
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError("%r is not an integer of at least 1" % text)
    return value


def _port(text):
    try:
        value = int(text)
    except ValueError:
        value = -1
    if not 0 <= value <= 65535:
        raise argparse.ArgumentTypeError("%r is not a port between 0 and 65535" % text)
    return value


def _number(text):
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def _seconds(text):
    try:
        return _number(text)
    except ValueError:
        raise argparse.ArgumentTypeError("%r is not a number of seconds" % text) from None


def _period(text):
    value = _seconds(text)
    if value < 0.001:
        raise argparse.ArgumentTypeError("%r is not at least 0.001 seconds" % text)
    return value


def _range_ms(text):
    try:
        low, high = map(_number, text.split(":"))
    except ValueError:
        low, high = 1, 0
    if not 0 <= low <= high:
        raise argparse.ArgumentTypeError("%r is not MIN:MAX in milliseconds" % text)
    return low, high


def _keys(text):
    keys = tuple(key.strip() for key in text.split(","))
    if "" in keys or len(set(keys)) != len(keys):
        raise argparse.ArgumentTypeError("%r is not a comma-separated list of different keys" % text)
    return keys


def parser():
    p = argparse.ArgumentParser(prog="relay", description="A stand-in for a metered API that enforces its limits.")
    p.add_argument("--host", default="127.0.0.1")
    p.add_argument("--port", type=_port, default=8080, help="0 picks a free one (default 8080)")
    p.add_argument("--port-file", metavar="PATH", help="write the port here once listening")
    p.add_argument("--policy", choices=sorted(POLICIES), default="bucket", help="default bucket")
    p.add_argument("--rpm", type=_positive, metavar="N", help="requests a minute; unlimited if absent, as all limits")
    p.add_argument("--tpm", type=_positive, metavar="N", help="input and output tokens a minute")
    p.add_argument("--itpm", type=_positive, metavar="N", help="input tokens a minute")
    p.add_argument("--otpm", type=_positive, metavar="N", help="output tokens a minute")
    p.add_argument("--concurrency", type=_positive, metavar="N", help="requests in flight")
    p.add_argument("--period", type=_period, default=60.0, metavar="SECONDS",
                   help="limits are enforced over this period, scaled and rounded down (default 60)")
    p.add_argument("--anchor", type=_seconds, default=0.0, metavar="SECONDS",
                   help="fixed windows start at this Unix time plus multiples of the period (default 0)")
    p.add_argument("--keys", type=_keys, default=(), metavar="K1,K2",
                   help="the keys that are let in, each with its own limits; any key if absent")
    p.add_argument("--charge", choices=("estimate", "actual"), default="estimate",
                   help="keep the charge made at admission, or settle to the actual usage (default estimate)")
    p.add_argument("--advertise", choices=("enforced", "nominal"), default="enforced",
                   help="headers show the limit a period, or the limit a minute (default enforced)")
    p.add_argument("--default-output", type=_positive, default=256, metavar="N",
                   help="output tokens charged when a request names no maximum (default 256)")
    p.add_argument("--latency-ms", type=_range_ms, default=(0, 0), metavar="MIN:MAX",
                   help="time from admission to the end of the response (default 0:0)")
    p.add_argument("--network-ms", type=_range_ms, default=(0, 0), metavar="MIN:MAX",
                   help="time before the admission decision (default 0:0)")
    p.add_argument("--seed", type=int, default=1, metavar="N", help="of all random choices (default 1)")
    return p


def parse(argv):
    p = parser()
    args = vars(p.parse_args(argv))
    place = {name: args.pop(name) for name in ("host", "port", "port_file")}
    options = Options(**args)
    for option in LIMIT_OPTIONS:
        limit = getattr(options, option)
        if limit is not None and option != "concurrency":
            try:
                options.per_period("--" + option, limit)
            except ValueError as error:
                p.error("argument %s" % error)
    return place, options


def _write_port(path, port):
    part = "%s.%d" % (path, os.getpid())
    with open(part, "w") as file:
        file.write("%d\n" % port)
    os.replace(part, path)


async def serve(place, options):
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    runner, port = await start(Relay(options, RealClock()), place["host"], place["port"])
    try:
        if place["port_file"]:
            _write_port(place["port_file"], port)
        limits = ["%s=%d" % (option, getattr(options, option)) for option in LIMIT_OPTIONS
                  if getattr(options, option) is not None]
        print("relay listening on http://%s:%d policy=%s period=%gs %s" % (
            place["host"], port, options.policy, options.period, " ".join(limits) or "unlimited"), flush=True)
        await stop.wait()
    finally:
        await runner.cleanup()


def main(argv=None):
    place, options = parse(argv)
    try:
        asyncio.run(serve(place, options))
    except OSError as error:
        where = "--port-file %s" % place["port_file"] if error.filename else "--port %d" % place["port"]
        print("relay: %s: %s" % (where, error.strerror or error), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
