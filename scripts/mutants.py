#!/usr/bin/env python3
"""Makes the mistakes that a program like this is prone to, one at a time, in a copy, and shows that the tests notice.

    make mutants                    # all of them: an hour or two
    scripts/mutants.py NAME NAME    # some
    scripts/mutants.py --list
    scripts/mutants.py --check      # only whether each can still be made; takes no time

A mutant is caught if the tests named with it fail where they pass without it. One that does not compile, or whose text is
not in the source any more, is an error of this script. Exit status 0: every mutant was caught.
"""

import dataclasses
import os
import shutil
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
COPY = os.path.join(ROOT, "target", "mutants", "copy")


@dataclasses.dataclass
class Mutant:
    name: str
    file: str
    old: str
    new: str
    # Arguments of `cargo test`: which target, and which tests of it.
    tests: str


FOLD = "src/formats/hasoffers/fold.rs"
PATCHES = "src/store/patches.rs"
CONVERGENCE = "--test it -- convergence"
UNIT_FOLD = "--lib -- fold"

MUTANTS = [
    Mutant(
        "the newest row wins",
        FOLD,
        "    entries.sort_by_key(|entry| entry.order());\n",
        "    let newest = entries.iter().filter_map(|e| e.adjustment_sequence_id).max();\n"
        "    entries.retain(|entry| entry.adjustment_sequence_id == newest);\n"
        "    entries.sort_by_key(|entry| entry.order());\n",
        UNIT_FOLD,
    ),
    Mutant(
        "ties by arrival",
        FOLD,
        "            self.adjustment_timestamp,\n            self.event_id.as_bytes(),\n",
        '            None,\n            b"",\n',
        UNIT_FOLD,
    ),
    Mutant(
        "a missing sequence comes last",
        FOLD,
        "        (\n            self.adjustment_sequence_id,\n",
        "        (\n            Some(self.adjustment_sequence_id.unwrap_or(i64::MAX)),\n",
        UNIT_FOLD,
    ),
    Mutant("blank overwrites", FOLD, "            if value.is_some() {\n", "            if true {\n", UNIT_FOLD),
    Mutant(
        "sums in floating point",
        "src/amount.rs",
        "        self.0.checked_add(other.0).map(Amount)\n",
        "        Some(Amount((self.0 as f64 + other.0 as f64) as i128))\n",
        UNIT_FOLD,
    ),
    Mutant(
        "an update only where its original is",
        PATCHES,
        "and a.tune_event_id is not null\n",
        "and a.tune_event_id is not null\n"
        "               and exists (select from events e where e.network_id = a.network_id and e.record_id = a.record_id)\n",
        CONVERGENCE,
    ),
    Mutant(
        "a running sum",
        PATCHES,
        "               adjustment_count = excluded.adjustment_count,\n"
        "               last_adjustment_sequence_id = excluded.last_adjustment_sequence_id,\n"
        "               last_adjusted_at = excluded.last_adjusted_at,\n"
        '               {set}"#,\n'
        '        names = names.join(", "),\n'
        '        values = values.join(", "),\n'
        '        arrays = arrays.join(", "),\n'
        '        set = set.join(", "),\n',
        "               adjustment_count = record_patches.adjustment_count + excluded.adjustment_count,\n"
        "               last_adjustment_sequence_id = excluded.last_adjustment_sequence_id,\n"
        "               last_adjusted_at = excluded.last_adjusted_at,\n"
        '               {set}"#,\n'
        '        names = names.join(", "),\n'
        '        values = values.join(", "),\n'
        '        arrays = arrays.join(", "),\n'
        '        set = set.join(", ").replace(\n'
        '            "payout = excluded.payout",\n'
        '            "payout = record_patches.payout + excluded.payout",\n'
        "        ),\n",
        CONVERGENCE,
    ),
    Mutant(
        "the first content of an id stays",
        "src/store/conflicts.rs",
        "least.rank() < main.rank() =>",
        "least.rank() < main.rank() && main.rank() < least.rank() =>",
        CONVERGENCE,
    ),
    Mutant(
        "the least time is not kept",
        "src/store/conflicts.rs",
        "            } else if version.dispatch_timestamp < main.dispatch_timestamp {\n",
        "            } else if version.dispatch_timestamp < main.dispatch_timestamp && batch.len() == 0 {\n",
        CONVERGENCE,
    ),
    Mutant(
        "a fold without a lock",
        PATCHES,
        "    lock(connection, &networks, &ids).await?;\n    let ledgers = read_ledgers(connection, &networks, &ids).await?;\n",
        "    let ledgers = read_ledgers(connection, &networks, &ids).await?;\n",
        "--test it -- patch_lock",
    ),
    Mutant(
        "read before the lock",
        PATCHES,
        "    lock(connection, &networks, &ids).await?;\n    let ledgers = read_ledgers(connection, &networks, &ids).await?;\n",
        "    let ledgers = read_ledgers(connection, &networks, &ids).await?;\n    lock(connection, &networks, &ids).await?;\n",
        "--test it -- patch_lock",
    ),
    Mutant(
        "keys in another order",
        "src/store/plan.rs",
        "                facts.sort_by(|a, b| batch.key(a).cmp(&batch.key(b)));\n",
        "                facts.sort_by(|a, b| batch.key(a).cmp(&batch.key(b)));\n"
        "                if facts.len() % 2 == 0 {\n                    facts.reverse();\n                }\n",
        "--lib -- store::plan",
    ),
    Mutant(
        "acknowledged before the commit",
        "src/pipeline/write.rs",
        "        if !self.batch.is_empty() {\n            let started = Instant::now();\n",
        "        held.stored = held.read;\n        if !self.batch.is_empty() {\n            let started = Instant::now();\n",
        "--test it -- stopping faults outages commits",
    ),
    Mutant(
        "failed entries of a delete are ignored",
        "src/sources/sqs.rs",
        "                        self.sort_failed(&left, &reply.failed),\n",
        "                        self.sort_failed(&[], &reply.failed),\n",
        "--test it -- queue_faults",
    ),
    Mutant(
        "a bad event spoils its siblings",
        "src/formats/hasoffers/mod.rs",
        "                        spot: None,\n                    });\n",
        "                        spot: None,\n                    });\n"
        "                    is_done = true;\n                    break;\n",
        "--test it -- bad_input",
    ),
    Mutant(
        "an error of a statement is swallowed",
        "src/store/write.rs",
        "        patches::fold_again(connection, &changes.records).await?;\n",
        "        let _ = patches::fold_again(connection, &changes.records).await;\n",
        "--test it -- patch_lock refusals races commits",
    ),
    Mutant(
        "an update is parked until its original fetches it",
        "src/store/write.rs",
        "        patches::fold_again(connection, &changes.records).await?;\n",
        "        for group in plan.groups.iter().filter(|group| group.table != Table::Adjustments) {\n"
        "            let facts = group.rows.iter().map(|row| row.winner.fact);\n"
        "            let record = |f| (plan.batch.network_id(f).to_owned(), plan.batch.record_id(f).to_owned());\n"
        "            changes.records.extend(facts.map(record));\n"
        "        }\n"
        "        let mut fetched = Records::new();\n"
        "        for (network_id, record_id) in changes.records {\n"
        '            let sql = "select exists (select from events_conversions where network_id = $1 and record_id = $2)";\n'
        "            let asked = sqlx::query_scalar(sql).bind(&network_id).bind(&record_id).fetch_one(&mut *connection).await;\n"
        '            if asked.map_err(|error| Fault::new(error, "could not look for an original"))? {\n'
        "                fetched.insert((network_id, record_id));\n"
        "            }\n"
        "        }\n"
        "        patches::fold_again(connection, &fetched).await?;\n",
        CONVERGENCE,
    ),
    Mutant(
        "the last of equal sequences stands, whatever its time",
        FOLD,
        "            self.adjustment_timestamp,\n            self.event_id.as_bytes(),\n",
        "            None,\n            self.event_id.as_bytes(),\n",
        UNIT_FOLD,
    ),
    Mutant(
        "receiving goes on while the store is away",
        "src/pipeline/mod.rs",
        "            stop.run_until_cancelled(self.shared.gate.wait_open())\n                .await?;\n",
        "",
        "--test it -- workers_that_hold_nothing",
    ),
    Mutant(
        "what is bad is acknowledged and not kept",
        "src/store/write.rs",
        "        quarantine::add(connection, source, plan.rejects).await?;\n",
        "",
        "--test it -- bad_input",
    ),
    Mutant(
        "what comes too often is read along with others",
        "src/pipeline/hidden.rs",
        "const TRUSTED_ATTEMPTS: u32 = 2;\n",
        "const TRUSTED_ATTEMPTS: u32 = u32::MAX;\n",
        "--test it -- suspects",
    ),
    Mutant(
        "a message is deleted by its oldest receipt",
        "src/sources/sqs.rs",
        "            receipts.insert(id.clone(), receipt);\n",
        "            receipts.entry(id.clone()).or_insert(receipt);\n",
        "--test it -- queue_faults",
    ),
    Mutant(
        "a database that refuses everything fills the quarantine",
        "src/store/write.rs",
        "        if all >= MASS && refused * 2 > all {\n",
        "        if all >= MASS && refused * 2 > 2 * all {\n",
        "--test it -- refusals",
    ),
    Mutant(
        "a connection is kept after its deadline",
        "src/store/write.rs",
        "            self.disconnect();\n            // A server that is gone shows",
        "            // A server that is gone shows",
        "--test it -- commits faults outages",
    ),
]


def main():
    wanted = [a for a in sys.argv[1:] if a not in ("--list", "--check")]
    if "--list" in sys.argv[1:]:
        print("\n".join(m.name for m in MUTANTS))
        return
    if unknown := set(wanted) - {m.name for m in MUTANTS}:
        sys.exit(f"there is no mutant {', '.join(sorted(unknown))}: see --list")
    chosen = [m for m in MUTANTS if not wanted or m.name in wanted]
    # Now, and not after the first hour.
    for mutant in chosen:
        right_and_wrong(mutant, ROOT)
    if "--check" in sys.argv[1:]:
        print(f"{len(chosen)} mutants can be made")
        return
    make_copy()
    for tests in sorted({m.tests for m in chosen}):
        print(f"without a mistake: {tests}", flush=True)
        if cargo_test(tests) != "passed":
            sys.exit(f"these tests fail without any mistake: {tests}")
    lived = [m.name for m in chosen if not is_caught(m)]
    print(f"{len(chosen) - len(lived)} of {len(chosen)} mutants were caught")
    if lived:
        sys.exit(f"not noticed: {', '.join(lived)}")


def make_copy():
    """The files as they are, without what was built. What was built in the copy stays, to build less."""
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout.decode()
    for file in filter(None, files.split("\0")):
        source, target = os.path.join(ROOT, file), os.path.join(COPY, file)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(source, "rb") as new:
            content = new.read()
        # An unchanged file keeps its time, by which cargo goes.
        if not os.path.exists(target) or open(target, "rb").read() != content:
            shutil.copyfile(source, target)


def right_and_wrong(mutant, folder):
    """The text of its file without the mistake, and with it."""
    with open(os.path.join(folder, mutant.file)) as file:
        right = file.read()
    if right.count(mutant.old) != 1:
        sys.exit(f"{mutant.name!r}: its text is {right.count(mutant.old)} times in {mutant.file}")
    return right, right.replace(mutant.old, mutant.new)


def is_caught(mutant):
    path = os.path.join(COPY, mutant.file)
    right, wrong = right_and_wrong(mutant, COPY)
    started = time.monotonic()
    try:
        write(path, wrong)
        outcome = cargo_test(mutant.tests)
    finally:
        write(path, right)
    if outcome == "not built":
        sys.exit(f"{mutant.name!r} does not compile")
    caught = outcome == "failed"
    print(f"{'caught' if caught else 'LIVED '}  {mutant.name} ({time.monotonic() - started:.0f} s: {mutant.tests})", flush=True)
    return caught


def write(path, text):
    with open(path, "w") as file:
        file.write(text)


def cargo_test(tests):
    target, _, filters = tests.partition(" -- ")
    env = dict(os.environ, CARGO_TARGET_DIR=os.path.join(ROOT, "target", "mutants"))
    build = ["cargo", "test", "--quiet", "--locked", "--no-run", *target.split()]
    if subprocess.run(build, cwd=COPY, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode:
        return "not built"
    run = ["cargo", "test", "--quiet", "--locked", *target.split(), "--", *filters.split()]
    try:
        done = subprocess.run(run, cwd=COPY, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=900)
    except subprocess.TimeoutExpired:
        return "failed"
    return "failed" if done.returncode else "passed"


if __name__ == "__main__":
    main()
