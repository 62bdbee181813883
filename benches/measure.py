"""What a piece of work costs, from /proc: time, CPU of each process, memory, WAL."""

import os
import time

TICK = os.sysconf("SC_CLK_TCK")


def stat(pid):
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rsplit(")", 1)[1].split()


def cpu(pid):
    """Seconds of a process and of those children of it that have ended."""
    return sum(int(ticks) for ticks in stat(pid)[11:15]) / TICK


def cpu_of_tree(pid):
    """Of a server with all its children: for Postgres, whose backends are children of the first process."""
    total = cpu(pid)
    for entry in os.listdir("/proc"):
        try:
            if entry.isdigit() and int(stat(entry)[1]) == pid:
                total += cpu(entry)
        except (FileNotFoundError, ProcessLookupError):
            pass
    return total


def cpu_of_machine():
    """Seconds in which some CPU was busy, whoever used it."""
    with open("/proc/stat") as file:
        ticks = [int(field) for field in file.readline().split()[1:9]]
    idle, iowait = ticks[3], ticks[4]
    return (sum(ticks) - idle - iowait) / TICK


def peak_memory(pid):
    """Bytes, the most that was resident so far."""
    with open(f"/proc/{pid}/status") as file:
        for line in file:
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1024
    return 0


class Stopwatch:
    """From its making to `read`: what the process `pid`, Postgres and the endpoint took."""

    def __init__(self, bench, pid=None):
        self.bench, self.pid = bench, pid
        self.start = self.now()

    def now(self):
        lsn = self.bench.sql.execute("select pg_current_wal_insert_lsn() - '0/0'::pg_lsn").fetchone()[0]
        return {
            "seconds": time.monotonic(),
            "own_cpu": cpu(self.pid) if self.pid else 0.0,
            "postgres_cpu": cpu_of_tree(self.bench.postgres.pid),
            "endpoint_cpu": cpu(self.bench.queue.pid),
            "machine_cpu": cpu_of_machine(),
            "bench_cpu": time.process_time(),
            "wal_bytes": float(lsn),
        }

    def read(self, events):
        spent = {name: value - self.start[name] for name, value in self.now().items()}
        ours = sum(spent[name] for name in ["own_cpu", "postgres_cpu", "endpoint_cpu", "bench_cpu"])
        seconds = spent["seconds"]
        per_event = 1e6 / events
        return {
            "events_per_s": events / seconds,
            "seconds": seconds,
            "own_cpu_us": spent["own_cpu"] * per_event,
            "postgres_cpu_us": spent["postgres_cpu"] * per_event,
            "endpoint_cpu_us": spent["endpoint_cpu"] * per_event,
            # Of the cores, what the endpoint took, and what did not belong to the benchmark at all.
            "endpoint_cores": spent["endpoint_cpu"] / seconds,
            "strange_cores": max(0.0, spent["machine_cpu"] - ours) / seconds,
            "wal_bytes_per_event": spent["wal_bytes"] / events,
            "peak_mib": peak_memory(self.pid) / 2**20 if self.pid else 0.0,
        }
