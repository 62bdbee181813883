"""The benchmark: what Postgres can take, what Hydrant makes of it, and what one would write instead.

Run by `make bench`; see README.md beside it. Every contender runs once in each round, so that a machine that gets slower or
busier hurts all of them alike, and a ratio is the median of the rounds' own ratios.
"""

import argparse
import datetime
import json
import os
import signal
import subprocess
import sys
import time

import growth
import report
from contenders import Limit, hydrant, peer, rows
from endpoint import Queue
from postgres import Postgres

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
DAYS = 3


class Backlog:
    """Bodies of a generated feed that begins some days back; of the last few days, where `flags` do not say otherwise."""

    def __init__(self, bench, messages, events_per_message, *flags, back=DAYS + 1):
        self.events = messages * events_per_message
        today = datetime.datetime.now(datetime.timezone.utc).replace(hour=0, minute=0, second=0, microsecond=0)
        first = today - datetime.timedelta(days=back)
        command = [bench.programs["feed"], "--messages", messages, "--events-per-message", events_per_message]
        command += ["--first-second", int(first.timestamp())]
        if "--events-per-day" not in flags:
            command += ["--events-per-day", max(1, self.events // DAYS)]
        command += flags
        self.bodies = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, text=True, check=True).stdout.split()

    def first(self, messages):
        """The same backlog, cut short."""
        part = object.__new__(Backlog)
        part.bodies = self.bodies[:messages]
        part.events = self.events * len(part.bodies) // len(self.bodies)
        return part


class Bench:
    """What all contenders share: one server, one queue, the programs."""

    def __init__(self):
        self.programs = build()
        self.postgres = Postgres()
        self.queue = Queue(self.programs["hydrant"])
        self.sql = self.postgres.connect()
        for kind in ["day", "none"]:
            for young in [False, True]:
                self.name_database(kind, young)
                self.sql.execute(f"create database {self.database}")
                self.migrate()
        self.use("day")

    def migrate(self, *arguments):
        env = {"DATABASE_URL": self.postgres.url(self.database), "HYDRANT__DATABASE__PARTITION_BY": self.partition_by}
        subprocess.run([self.programs["hydrant"], "migrate", *arguments], env=env, stdout=subprocess.DEVNULL, check=True)

    def rollup(self, state):
        """Switches the rollup of the database in use: `on` or `off`."""
        self.migrate("--rollup", state)

    def name_database(self, kind, young):
        self.partition_by = kind
        self.database = f"{kind}_young" if young else kind

    def use(self, kind, young=False):
        """Goes over to the database that is partitioned so, `day` or `none`; `young`: to the one beside it that never grows."""
        self.name_database(kind, young)
        self.sql.close()
        self.sql = self.postgres.connect(self.database)


def build():
    """Builds what is measured, and says where it is."""
    targets = ["--bin", "hydrant", "--bench", "feed", "--bench", "decode"]
    command = ["cargo", "build", "--release", "--locked", *targets, "--message-format", "json-render-diagnostics"]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    messages = [json.loads(line) for line in done.stdout.splitlines()]
    return {m["target"]["name"]: m["executable"] for m in messages if m.get("executable")}


def decode(bench, backlog, seconds):
    command = [bench.programs["decode"], "--seconds", str(seconds)]
    done = subprocess.run(command, input="\n".join(backlog.bodies), stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def contenders(bench, quick):
    """Name and run of each, in the order of a round."""
    main = Backlog(bench, 600 if quick else 2_000, 100)
    singles = Backlog(bench, 4_000 if quick else 20_000, 1, "--seed", "2")
    # Ten events a transaction take their time.
    few_singles = singles.first(400 if quick else 2_000)
    thousands = Backlog(bench, 60 if quick else 200, 1_000, "--seed", "3")
    adjustments = Backlog(bench, 100 if quick else 500, 100, "--seed", "4", "--only-adjustments")
    # The usual consumer gets a part of the backlog where time is short: its rate does not depend on it.
    usual = main.first(100) if quick else main
    bench.use("none")
    hydrant(bench, main.first(10))
    bench.use("day")
    hydrant(bench, main)
    limit = Limit(bench)

    def of_none():
        bench.use("none")
        sample = hydrant(bench, main)
        bench.use("day")
        return sample

    def with_rollup():
        bench.rollup("on")
        sample = checked(lambda: hydrant(bench, main))
        bench.rollup("off")
        return sample

    def checked(run):
        sample = run()
        if rows(bench) != limit.rows:
            raise SystemExit(f"{rows(bench)} rows came of the backlog instead of {limit.rows}")
        return sample

    return {
        "copy": lambda: limit.measure(1),
        "copy_two": lambda: limit.measure(2),
        "fresh": lambda: checked(lambda: hydrant(bench, main)),
        "duplicates": lambda: checked(lambda: hydrant(bench, main, keep=True)),
        "not_partitioned": of_none,
        "with_rollup": with_rollup,
        "thousand_a_message": lambda: hydrant(bench, thousands),
        "adjustments": lambda: hydrant(bench, adjustments),
        "one_a_message": lambda: hydrant(bench, singles),
        "one_a_message_unjoined": lambda: hydrant(bench, few_singles, linger_ms=0),
        "good_python": lambda: checked(lambda: peer(bench, "python_good.py", main)),
        "usual_python": lambda: peer(bench, "python_usual.py", usual),
        "decode": lambda: decode(bench, main, 1 if quick else 3),
    }


def main():
    parser = argparse.ArgumentParser(description="The benchmark of Hydrant.")
    parser.add_argument("--quick", action="store_true", help="small backlogs, three rounds: under two minutes")
    parser.add_argument("--growth", action="store_true", help="also up to ten million rows: a quarter of an hour more")
    parser.add_argument("--only", metavar="NAME,NAME", help="these contenders alone")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    # However it ends, the server and the endpoint end with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    bench = Bench()
    started = time.monotonic()
    samples = {}
    try:
        measure(bench, args, samples)
    finally:
        # What was measured is worth having, even where something ended it early.
        print("\r\x1b[K", end="", file=sys.stderr)
        report.write(samples, os.path.join(ROOT, "target", "bench.json"), args.quick, time.monotonic() - started)


def measure(bench, args, samples):
    chosen = contenders(bench, args.quick)
    if args.only:
        chosen = {name: chosen[name] for name in args.only.split(",")}
    for number in range(1, args.rounds + 1):
        for name, run in chosen.items():
            print(f"\r\x1b[Kround {number}: {name}", end="", file=sys.stderr, flush=True)
            samples.setdefault(name, []).append(run())
    if args.growth:
        growth.measure(bench, lambda *rest, **more: Backlog(bench, *rest, **more), args.rounds, samples)
    samples |= growth.query_times(bench)


if __name__ == "__main__":
    main()
