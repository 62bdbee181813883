"""The contenders. Each leaves the same rows in the same tables, and returns what it took."""

import math
import os
import subprocess
import sys
import threading
import time

from measure import Stopwatch

HERE = os.path.dirname(os.path.abspath(__file__))
FACTS = ["events", "adjustments"]
TABLES = FACTS + ["record_patches", "event_variants", "quarantine", "stats_hourly", "stats_deltas"]
# A run that takes longer hangs.
DEADLINE_SECONDS = 900


def empty_tables(bench):
    """The same start for everybody: empty tables, and no checkpoint that is due."""
    bench.sql.execute(f"truncate {', '.join(TABLES)}")
    bench.sql.execute("checkpoint")


def rows(bench):
    return sum(bench.sql.execute(f"select count(*) from {table}").fetchone()[0] for table in FACTS)


def drain(bench, command, env, backlog, keep=False):
    """Fills the queue, starts a consumer, and measures from the first message received to the last one deleted."""
    if not keep:
        empty_tables(bench)
    bench.queue.fill(backlog.bodies)
    everything = {
        "PATH": os.environ["PATH"],
        "AWS_ACCESS_KEY_ID": "bench",
        "AWS_SECRET_ACCESS_KEY": "bench",
        "AWS_DEFAULT_REGION": "us-east-1",
        "DATABASE_URL": bench.postgres.url(bench.database),
        "ENDPOINT_URL": bench.queue.endpoint,
        "QUEUE_URL": bench.queue.url,
        **env,
    }
    with open(bench.postgres.consumer_log, "w") as log:
        process = subprocess.Popen(command, env=everything, stdout=log, stderr=log)
    try:
        wait_for(bench, process, lambda waiting, held: held > 0 or waiting < len(backlog.bodies))
        watch = Stopwatch(bench, process.pid)
        far = len(backlog.bodies) // 10
        wait_for(bench, process, lambda waiting, held: waiting + held == 0, far)
        sample = watch.read(backlog.events)
    finally:
        process.terminate()
        process.wait()
    return sample


def wait_for(bench, process, is_reached, far=math.inf):
    """Looks every few milliseconds, and seldom while more than `far` messages wait: what looking costs is missed elsewhere."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not is_reached(*(counts := bench.queue.counts())):
        if process.poll() is not None or time.monotonic() > deadline:
            with open(bench.postgres.consumer_log) as log:
                raise SystemExit(f"a consumer did not do its work:\n{log.read()[-2000:]}")
        time.sleep(0.05 if counts[0] > far else 0.005)


def hydrant(bench, backlog, keep=False, **settings):
    """The daemon as an operator starts it, with its defaults but for `settings` of its source."""
    env = {
        "HYDRANT__ADMIN__LISTEN": "127.0.0.1:0",
        "HYDRANT__DATABASE__PARTITION_BY": bench.partition_by,
        "HYDRANT__LOG__LEVEL": "warn",
    }
    source = {
        "type": "sqs",
        "format": "hasoffers",
        "queue_url": bench.queue.url,
        "endpoint_url": bench.queue.endpoint,
        "region": "us-east-1",
        **settings,
    }
    for key, value in source.items():
        env[f"HYDRANT__SOURCE__HASOFFERS__{key.upper()}"] = str(value)
    return drain(bench, [bench.programs["hydrant"], "run"], env, backlog, keep)


def peer(bench, name, backlog):
    """A Python consumer of peers/."""
    return drain(bench, [sys.executable, os.path.join(HERE, "peers", name)], {}, backlog)


class Limit:
    """What Postgres takes at most: the rows that Hydrant stored, by COPY from files that the server reads itself, straight
    into each leaf table. Two files a table, of every other page, for two connections."""

    def __init__(self, bench):
        self.bench = bench
        leafs = "select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid where i.inhparent = 'events'::regclass"
        tables = [name for (name,) in bench.sql.execute(leafs)] + ["adjustments"]
        self.halves = [[], []]
        self.rows = 0
        for table in tables:
            for half, statements in enumerate(self.halves):
                file = os.path.join(bench.postgres.files, f"{table}.{half}")
                page = "(ctid::text::point)[0]::int"
                select = f"select * from {table} where {page} % 2 = {half}"
                copied = bench.sql.execute(f"copy ({select}) to '{file}' (format binary)").rowcount
                if copied:
                    self.rows += copied
                    statements.append(f"copy {table} from '{file}' (format binary)")

    def measure(self, connections):
        bench = self.bench
        empty_tables(bench)
        shares = self.halves if connections == 2 else [self.halves[0] + self.halves[1]]
        watch = Stopwatch(bench)
        threads = [threading.Thread(target=self.load, args=[share]) for share in shares]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        sample = watch.read(self.rows)
        if rows(bench) != self.rows:
            raise SystemExit("COPY did not load all rows")
        return sample

    def load(self, statements):
        with self.bench.postgres.connect(self.bench.database) as connection, connection.transaction():
            for statement in statements:
                connection.execute(statement)
