"""Growth: the rate of fresh backlogs at up to ten million rows, beside that of the same backlogs into tables that began empty."""

import datetime
import os
import sys
import time

from contenders import empty_tables, hydrant

KINDS = ["day", "none"]
SIZES = [2_500_000, 5_000_000, 10_000_000]
MESSAGES = 1_000
DAYS = 3
# Backlogs that do not count: after a checkpoint each page that is touched goes into the log as a whole, once. It is made before
# the first and then when the server makes it, because one before each would have that once a second instead of once in minutes.
WARM_UP = 4
# Pairs of one backlog into the grown tables and into the young ones. A round of the other contenders is longer than one of these.
PAIRS_A_ROUND = 3
# What is multiplied: one backlog of some 100,000 events. Each copy of it lies further back by as many days as it spans.
HISTORY_DAYS = 320


def measure(bench, backlog, rounds, samples):
    """Adds samples by name: `growth_day_2500000`, and `growth_day_2500000_young` of the same backlogs, each right before or
    right after, into a second database without the history. The database that it leaves behind is the grown, partitioned one."""
    seed = 100
    for kind in KINDS:
        bench.use(kind)
        make_template(bench, backlog)
        for size in SIZES:
            bench.use(kind)
            grow(bench, size)
            settle(bench)
            bench.use(kind, young=True)
            empty_tables(bench)
            for number in range(WARM_UP + PAIRS_A_ROUND * rounds):
                seed += 1
                print(f"\r\x1b[Kgrowth: {kind}, {size:,} rows, pair {number}", end="", file=sys.stderr, flush=True)
                messages = backlog(MESSAGES, 100, "--seed", seed)
                for young in [False, True] if number % 2 else [True, False]:
                    bench.use(kind, young)
                    # Pages that wait to be written, by whomever, are not this backlog's.
                    os.sync()
                    sample = hydrant(bench, messages, keep=True)
                    if number >= WARM_UP:
                        samples.setdefault(f"growth_{kind}_{size}{'_young' if young else ''}", []).append(sample)
    bench.use("day")


def make_template(bench, backlog):
    """What the tables are filled with: the rows of one backlog."""
    empty_tables(bench)
    # Hydrant makes the days of the history as it always does: when their first event comes.
    hydrant(bench, backlog(HISTORY_DAYS // 5, 100, "--events-per-day", 20, back=HISTORY_DAYS))
    hydrant(bench, backlog(MESSAGES, 100))
    bench.sql.execute("drop table if exists template")
    bench.sql.execute("create unlogged table template as select * from events")
    empty_tables(bench)


def settle(bench):
    """What filling leaves behind is no part of the rate at a size: rows that nobody has looked at since, pages that are not
    written, a checkpoint under way. The days of the backlogs begin empty at each size, as every new day does."""
    first = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=DAYS + 2)
    days = [name for (name,) in bench.sql.execute("select relname from pg_class where relkind = 'r' and relname ~ '^events_[0-9]+$'")]
    recent = [name for name in days if name >= f"events_{first:%Y%m%d}"]
    if recent:
        bench.sql.execute(f"truncate {', '.join(recent)}")
    bench.sql.execute("vacuum analyze")
    bench.sql.execute("checkpoint")


def grow(bench, size):
    """Fills `events` up to `size` rows with the template's, under ids of their own, further and further back."""
    columns = [name for (name,) in bench.sql.execute(
        "select column_name from information_schema.columns where table_name = 'events' order by ordinal_position"
    )]
    # Each copy begins where the one before it ended; the days of conversions' partition stay what they are.
    replaced = {
        "event_id": "id::text",
        "record_id": "id::text",
        "tune_event_id": "id::text",
        "event_day": "event_day - %(shift)s",
        "partition_day": "case when action = 'conversion' then partition_day else partition_day - %(shift)s end",
        "date": "date - %(shift)s",
    }
    values = ", ".join(replaced.get(column, column) for column in columns)
    # `offset 0` keeps one id a row, however often it is used.
    insert = f"""
        insert into events ({', '.join(columns)})
        select {values} from (select *, gen_random_uuid() as id from template offset 0) as copied limit %(rows)s
    """
    days = bench.sql.execute("select max(event_day) - min(event_day) + 1 from template").fetchone()[0]
    count = bench.sql.execute("select count(*) from events").fetchone()[0]
    of_template = bench.sql.execute("select count(*) from template").fetchone()[0]
    copies = count // of_template
    while count < size:
        copies += 1
        shift = days + copies * days % (HISTORY_DAYS - 2 * days)
        count += bench.sql.execute(insert, {"shift": shift, "rows": size - count}).rowcount


def query_times(bench, times=5):
    """Milliseconds until all rows of the questions that are asked most have come, and the rows that answer them."""
    network_id, record_id = bench.sql.execute(
        "select network_id, record_id from events where action = 'conversion' order by event_id limit 1"
    ).fetchone()
    days = bench.sql.execute("select date, count(*) from stats_facts group by date order by count(*)").fetchall()
    (usual, of_usual), (busiest, of_busiest) = days[len(days) // 2], days[-1]
    of_a_day = "select * from stats where date = %s"
    queries = {
        "conversion_by_id": ("select * from conversions where network_id = %s and record_id = %s", [network_id, record_id]),
        "stats_of_a_day": (of_a_day, [usual]),
        "stats_of_the_busiest_day": (of_a_day, [busiest]),
        "stats_of_all_days": ("select offer_id, sum(clicks), sum(payout) from stats group by offer_id", []),
    }
    with_rollup = {f"{name}_with_rollup": query for name, query in queries.items() if name.startswith("stats")}
    bench.sql.execute("vacuum analyze")
    samples = {}
    for name, (query, parameters) in [*queries.items(), *with_rollup.items()]:
        if name == next(iter(with_rollup)):
            bench.rollup("on")
        # That of all days takes minutes.
        for _ in range(1 if name == "stats_of_all_days" else times):
            start = time.monotonic()
            bench.sql.execute(query, parameters).fetchall()
            samples.setdefault(name, []).append({"ms": (time.monotonic() - start) * 1000})
    bench.rollup("off")
    samples["rows_at_queries"] = [{"rows": bench.sql.execute("select count(*) from events").fetchone()[0]}]
    samples["facts_of_a_day"] = [{"rows": of_usual}]
    samples["facts_of_the_busiest_day"] = [{"rows": of_busiest}]
    return samples
