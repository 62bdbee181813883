"""Webhooks under load: so many small requests a second, and how long each waits for its 200.

Run by `make bench-http`. The load is open: a request is due at its time whether or not the ones before it were answered, and
its latency counts from then. Afterwards every request that was answered with 200 must be one row.
"""

import argparse
import asyncio
import collections
import datetime
import json
import os
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

import measure
from bench import ROOT
from postgres import Postgres, free_port

SECRET = "bench-0123456789abcdef"
# Each tick sends what has become due.
TICK = 0.001


class Connection(asyncio.Protocol):
    """One request at a time."""

    def __init__(self, load):
        self.load, self.received, self.due = load, b"", None

    def connection_made(self, transport):
        self.transport = transport

    def send(self, due, request):
        self.due = due
        self.transport.write(request)

    def data_received(self, data):
        self.received += data
        head, end, body = self.received.partition(b"\r\n\r\n")
        length = next((line[15:] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), b"0")
        if end and len(body) >= int(length):
            self.received = b""
            self.load.answered(self, int(head[9:12]))

    def connection_lost(self, _):
        # One that has nothing to send for some seconds is closed.
        if self.due is None:
            self.load.idle.remove(self)
        else:
            self.load.answered(self, None)


class Load:
    def __init__(self, rate, seconds, warm_up):
        self.rate, self.seconds, self.warm_up = rate, seconds, warm_up
        self.idle, self.waiting = [], collections.deque()
        self.statuses, self.latencies, self.sent = collections.Counter(), [], 0

    async def run(self, port, connections):
        loop = asyncio.get_running_loop()
        for _ in range(connections):
            _, protocol = await loop.create_connection(lambda: Connection(self), "127.0.0.1", port)
            self.idle.append(protocol)
        self.start = time.monotonic()
        total = self.rate * (self.seconds + self.warm_up)
        while self.sent < total:
            now = time.monotonic()
            while self.sent < min(total, (now - self.start) * self.rate):
                self.waiting.append((self.start + self.sent / self.rate, request(self.sent)))
                self.sent += 1
            self.dispatch()
            await asyncio.sleep(TICK)
        while sum(self.statuses.values()) < total:
            await asyncio.sleep(TICK)

    def dispatch(self):
        while self.idle and self.waiting:
            self.idle.pop().send(*self.waiting.popleft())

    def answered(self, connection, status):
        now, due, connection.due = time.monotonic(), connection.due, None
        self.statuses[status] += 1
        if due - self.start >= self.warm_up:
            self.latencies.append(now - due)
        if status is not None:
            self.idle.append(connection)
        self.dispatch()

    def percentile(self, part):
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(part * len(ordered)))] * 1000


def request(n):
    """A click, or for every tenth a conversion, of today."""
    event = {
        "event_id": f"bench-{n:012}", "action": "click" if n % 10 else "conversion", "date": str(datetime.date.today()),
        "offer_id": n % 500, "affiliate_id": n % 300, "advertiser_id": n % 50, "currency": "USD", "ip": "203.0.113.7",
        "user_agent": "Mozilla/5.0 (X11; Linux x86_64)", "country_code": "US", "payout": "1.25", "revenue": "2.50",
        "transaction_id": f"{n:032x}", "tune_event_id": f"{n:032x}",
    }
    body = json.dumps({"network_id": "bench", "dispatch_timestamp": 1_800_000_000, "data": [event]}).encode()
    head = f"POST /in/webhooks/events HTTP/1.1\r\nhost: bench\r\nx-api-key: {SECRET}\r\ncontent-type: application/json\r\n"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


class Daemon:
    def __init__(self, hydrant, database_url):
        self.port, self.admin = free_port(), free_port()
        settings = f"""
            database.url = "{database_url}"
            admin.listen = "127.0.0.1:{self.admin}"
            [source.webhooks]
            type = "http"
            listen = "127.0.0.1:{self.port}"
            [source.webhooks.route.events]
            format = "hasoffers"
            auth = "header"
            auth_header = "x-api-key"
            secrets = ["{SECRET}"]"""
        self.file = tempfile.NamedTemporaryFile("w", suffix=".toml")
        self.file.write(settings)
        self.file.flush()
        self.process = subprocess.Popen([hydrant, "run", "--config", self.file.name])
        self.pid = self.process.pid
        deadline = time.monotonic() + 30
        while not self.is_ready():
            if time.monotonic() > deadline:
                raise SystemExit("hydrant did not become ready in 30 s")
            time.sleep(0.05)

    def is_ready(self):
        try:
            return urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/readyz").status == 200
        except (urllib.error.URLError, ConnectionError):
            return False

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()


def run(hydrant, args):
    postgres = Postgres()
    daemon = Daemon(hydrant, postgres.url("postgres"))
    sql = postgres.connect()
    before = [measure.cpu(daemon.pid), measure.cpu_of_tree(postgres.pid), time.process_time(), measure.cpu_of_machine()]
    load, since = Load(args.rate, args.seconds, args.warm_up), time.monotonic()
    asyncio.run(load.run(daemon.port, args.connections))
    seconds = time.monotonic() - since
    after = [measure.cpu(daemon.pid), measure.cpu_of_tree(postgres.pid), time.process_time(), measure.cpu_of_machine()]
    peak = measure.peak_memory(daemon.pid) / 2**20
    daemon.stop()
    rows = sql.execute("select count(*) from events").fetchone()[0]
    if rows != load.statuses[200]:
        raise SystemExit(f"{rows} rows, and {load.statuses[200]} answers with 200")
    transactions = sql.execute("select count(distinct xmin::text) from events").fetchone()[0]
    own, server, sender, machine = (b - a for a, b in zip(before, after))
    print(f"answers            {dict(load.statuses)}, each 200 one row")
    print(f"requests a second  {load.sent / seconds:,.0f}, of {args.rate:,} due, on {args.connections} connections")
    for name, part in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("greatest", 1)]:
        print(f"{name:<18} {load.percentile(part):.1f} ms")
    print(f"requests a COMMIT  {rows / transactions:.1f}")
    for name, spent in [("Hydrant", own), ("Postgres", server), ("the sender", sender)]:
        print(f"CPU of {name:<11} {spent / seconds:.2f} cores, {1e6 * spent / load.sent:.0f} µs a request")
    print(f"strange cores      {max(0, machine - own - server - sender) / seconds:.2f}")
    print(f"peak memory        {peak:.1f} MiB")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=int, default=2_000, help="requests a second")
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--warm-up", type=int, default=5, help="seconds before, whose latencies do not count")
    parser.add_argument("--connections", type=int, default=256)
    run(os.path.join(ROOT, "target", "release", "hydrant"), parser.parse_args())


if __name__ == "__main__":
    main()
