"""The table, and bench.json."""

import datetime
import json
import os
import platform
import statistics

FIGURES = {
    "events_per_s": "events/s",
    "own_cpu_us": "CPU µs",
    "postgres_cpu_us": "Postgres µs",
    "endpoint_cores": "SQS cores",
    "strange_cores": "strange cores",
    "wal_bytes_per_event": "WAL B",
    "peak_mib": "peak MiB",
}

# Name, what is divided by what, in which figure, and the goal.
RATIOS = [
    ("fresh_vs_copy", "fresh", "copy", "events_per_s", "≥ 0.6, then 0.8"),
    ("fresh_vs_copy_two", "fresh", "copy_two", "events_per_s", ""),
    ("postgres_cpu_vs_copy", "fresh", "copy", "postgres_cpu_us", "≤ 1.5"),
    ("duplicates_vs_fresh", "duplicates", "fresh", "events_per_s", "≥ 1.6"),
    ("joined_vs_single", "one_a_message", "one_a_message_unjoined", "events_per_s", "≥ 1.8"),
    ("not_partitioned_vs_fresh", "not_partitioned", "fresh", "events_per_s", ""),
    ("with_rollup_vs_fresh", "with_rollup", "fresh", "events_per_s", ""),
    ("with_rollup_postgres_cpu", "with_rollup", "fresh", "postgres_cpu_us", ""),
    ("with_rollup_wal", "with_rollup", "fresh", "wal_bytes_per_event", ""),
    ("thousand_a_message_vs_fresh", "thousand_a_message", "fresh", "events_per_s", ""),
    ("adjustments_vs_fresh", "adjustments", "fresh", "events_per_s", ""),
    ("fresh_vs_python", "fresh", "usual_python", "events_per_s", "≥ 8"),
    ("fresh_vs_good_python", "fresh", "good_python", "events_per_s", "≥ 3"),
    ("growth_2500k", "growth_day_2500000", "growth_day_2500000_young", "events_per_s", ""),
    ("growth_5m", "growth_day_5000000", "growth_day_5000000_young", "events_per_s", ""),
    ("growth_10m", "growth_day_10000000", "growth_day_10000000_young", "events_per_s", "≥ 0.9"),
    ("growth_10m_postgres_cpu", "growth_day_10000000", "growth_day_10000000_young", "postgres_cpu_us", ""),
    ("growth_10m_not_partitioned", "growth_none_10000000", "growth_none_10000000_young", "events_per_s", ""),
]

# Figures that have a goal of their own.
GOALS = [
    ("fresh", "own_cpu_us", "Hydrant's CPU, µs an event", "≤ 12"),
    ("fresh", "peak_mib", "peak resident memory, MiB", "< 150"),
    ("decode", "json_mb_per_s", "decode, MB of JSON a second on one core", "≥ 200"),
    ("decode", "bodies_per_s", "decode, bodies a second on one core", ""),
    ("decode", "us_per_event", "decode, µs an event", ""),
    ("decode", "opening_us_per_event", "  base64 and gzip", ""),
    ("decode", "finding_us_per_event", "  valid JSON, and where its events are", ""),
    ("decode", "reading_us_per_event", "  events into rows", ""),
    ("conversion_by_id", "ms", "`conversions` for one id, ms", "< 10"),
    ("stats_of_a_day", "ms", "`stats` for a usual day, ms", "< 1,000"),
    ("stats_of_a_day_with_rollup", "ms", "  with the rollup on", ""),
    ("facts_of_a_day", "rows", "  facts of that day", ""),
    ("stats_of_the_busiest_day", "ms", "`stats` for the busiest day, ms", ""),
    ("stats_of_the_busiest_day_with_rollup", "ms", "  with the rollup on", ""),
    ("facts_of_the_busiest_day", "rows", "  facts of that day", ""),
    ("stats_of_all_days", "ms", "`stats` of all days by offer, ms", ""),
    ("stats_of_all_days_with_rollup", "ms", "  with the rollup on", ""),
    ("rows_at_queries", "rows", "rows of `events` at these queries", "10,000,000"),
]


def summary(values):
    return {"median": statistics.median(values), "least": min(values), "greatest": max(values), "rounds": values}


def summaries(samples):
    return {name: {key: summary([s[key] for s in rounds]) for key in rounds[0]} for name, rounds in samples.items()}


def ratios(samples):
    """Of each round its own ratio."""
    found = {}
    for name, above, below, figure, goal in RATIOS:
        if above in samples and below in samples:
            found[name] = summary([a[figure] / b[figure] for a, b in zip(samples[above], samples[below])])
            found[name]["goal"] = goal
    return found


def machine():
    with open("/proc/cpuinfo") as file:
        models = [line.split(":")[1].strip() for line in file if line.startswith("model name")]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} × {models[0] if models else platform.machine()}, {memory:.0f} GiB, {platform.system()} {platform.release()}"


def short(value):
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def spread(found):
    return f"{short(found['median'])} ({short(found['least'])}–{short(found['greatest'])})"


def write(samples, path, quick, seconds):
    figures, found = summaries(samples), ratios(samples)
    print(f"{machine()}; {datetime.date.today()}; {'quick' if quick else 'full'}, {seconds:.0f} s; median (least–greatest)\n")
    print(f"{'':28}{'events/s':>26}" + "".join(f"{title:>14}" for key, title in FIGURES.items() if key != "events_per_s"))
    for name, of_name in figures.items():
        if "own_cpu_us" not in of_name:
            continue
        line = f"{name:28}{spread(of_name['events_per_s']):>26}"
        print(line + "".join(f"{short(of_name[key]['median']):>14}" for key in FIGURES if key != "events_per_s"))
    print(f"\n{'':44}{'':>24}  goal")
    for name, key, title, goal in GOALS:
        if name in figures:
            print(f"{title:44}{spread(figures[name][key]):>24}  {goal}")
    for name, ratio in found.items():
        print(f"{name:44}{spread(ratio):>24}  {ratio['goal']}")
    with open(path, "w") as file:
        document = {
            "date": datetime.datetime.now().isoformat(timespec="seconds"),
            "machine": machine(),
            "quick": quick,
            "figures": figures,
            "ratios": {name: ratio["median"] for name, ratio in found.items()},
            "ratio_spreads": found,
        }
        json.dump(document, file, indent=1)
