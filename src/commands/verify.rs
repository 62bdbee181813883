//! `hydrant verify`: every check in one snapshot, and what to do where one does not hold.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Map, Value, json};

use super::terminal::{Colour, Paint};
use super::{Failure, pretty, printed};
use crate::cli::verify::Verify;
use crate::config;
use crate::formats::value::Day;
use crate::store::Settings;
use crate::store::verify::checks::{CHECKS, Check, IN_ORDER_OF_LOCKS, Kind};
use crate::store::verify::contents::{Digest, Sum};
use crate::store::verify::{Finding, Scope, Snapshot};

/// A check with what it found.
struct Checked {
    check: &'static Check,
    found: Vec<Finding>,
}

/// Its exit status.
pub async fn run(args: Verify) -> Result<u8, Failure> {
    verify(args).await.map_err(|failure| match failure {
        Failure::Usage(error) | Failure::Failed(error) | Failure::Unverified(error) => {
            Failure::Unverified(error)
        }
    })
}

async fn verify(args: Verify) -> Result<u8, Failure> {
    let config = config::load(args.common.config.as_deref()).map_err(Failure::Usage)?;
    let settings = Settings::new(&config.database)?;
    let scope = args.since.map_or(Scope::All, Scope::Since);
    let mut snapshot = Snapshot::take(&settings, scope)
        .await
        .map_err(anyhow::Error::new)?;
    if args.digest {
        let bar = bar(1);
        bar.set_message("reading every row");
        let digest = snapshot.digest(&|rows| tell(&bar, "digest", rows)).await;
        bar.finish_and_clear();
        let digest = digest.map_err(anyhow::Error::new)?;
        let text = if args.json {
            pretty(&digest_json(&digest, args.since))?
        } else {
            digest_lines(&digest)
        };
        printed(io::stdout().write_all(text.as_bytes()))?;
        snapshot.close().await;
        return Ok(0);
    }
    let checked = run_checks(&mut snapshot).await?;
    let worst = worst(&checked);
    let text = if args.json {
        pretty(&report_json(&checked, &snapshot.taken, args.since))?
    } else {
        report_lines(&checked, &snapshot.taken, Paint::stdout())
    };
    printed(io::stdout().write_all(text.as_bytes()))?;
    snapshot.close().await;
    Ok(worst.map_or(0, |kind| match kind {
        Kind::Soft => 1,
        Kind::Hard => 2,
    }))
}

async fn run_checks(snapshot: &mut Snapshot) -> anyhow::Result<Vec<Checked>> {
    let bar = bar(CHECKS.len() as u64);
    let mut found: Vec<Vec<Finding>> = Vec::new();
    found.resize_with(CHECKS.len(), Vec::new);
    for at in IN_ORDER_OF_LOCKS {
        let check = &CHECKS[at];
        let name = format!("{} {}", check.number, check.name);
        bar.set_message(name.clone());
        let outcome = snapshot.run(check, &|rows| tell(&bar, &name, rows)).await;
        found[at] = outcome.inspect_err(|_| bar.finish_and_clear())?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    let checked = CHECKS.iter().zip(found);
    Ok(checked
        .map(|(check, found)| Checked { check, found })
        .collect())
}

/// A bar on a terminal's standard error, and nothing elsewhere.
fn bar(steps: u64) -> ProgressBar {
    let bar = ProgressBar::new(steps);
    if let Ok(style) =
        ProgressStyle::with_template("[{elapsed_precise}] {wide_bar} {pos}/{len} {msg}")
    {
        bar.set_style(style);
    }
    bar.enable_steady_tick(std::time::Duration::from_millis(250));
    bar
}

fn tell(bar: &ProgressBar, name: &str, rows: u64) {
    bar.set_message(format!("{name}: {rows} rows"));
}

/// The worst kind of what was found.
fn worst(checked: &[Checked]) -> Option<Kind> {
    let failed = checked.iter().filter(|one| !one.found.is_empty());
    failed.map(|one| one.check.kind).max()
}

fn report_lines(checked: &[Checked], taken: &str, paint: Paint) -> String {
    let mut text = String::new();
    for Checked { check, found } in checked {
        let (word, colour) = match (found.is_empty(), check.kind) {
            (true, _) => ("ok  ", Colour::Green),
            (false, Kind::Soft) => ("soft", Colour::Yellow),
            (false, Kind::Hard) => ("hard", Colour::Red),
        };
        let word = paint.word(word, colour);
        let (number, name, meaning) = (check.number, check.name, check.meaning);
        let against = match found.iter().map(|finding| finding.count).sum::<u64>() {
            0 => String::new(),
            count => format!("{count} against: "),
        };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{word}  {number:3}  {name}: {against}{meaning}");
        for finding in found {
            let _ = writeln!(text, "           {}: {}", finding.count, finding.what);
            for example in &finding.examples {
                let _ = writeln!(text, "             {}", pairs(example));
            }
            let more = finding.count.saturating_sub(finding.examples.len() as u64);
            if more > 0 {
                let _ = writeln!(text, "             and {more} more");
            }
        }
        if !found.is_empty() {
            let _ = writeln!(text, "           → {}", check.advice);
        }
    }
    text + &verdict(checked, taken) + "\n"
}

/// An example in one line, its ids first. Texts are quoted: whatever they hold, they stay in the line.
fn pairs(example: &Map<String, Value>) -> String {
    const IDS: [&str; 3] = ["network_id", "record_id", "event_id"];
    let ids = IDS.iter().filter_map(|id| example.get_key_value(*id));
    let rest = example
        .iter()
        .filter(|(name, value)| !IDS.contains(&name.as_str()) && !value.is_null());
    let pairs: Vec<String> = ids
        .chain(rest)
        .map(|(name, value)| format!("{name} {value}"))
        .collect();
    pairs.join(", ")
}

/// Whether all is well, and what to do next.
fn verdict(checked: &[Checked], taken: &str) -> String {
    let numbers = |kind: Kind| -> Vec<&str> {
        let failed = checked
            .iter()
            .filter(|one| !one.found.is_empty() && one.check.kind == kind);
        failed.map(|one| one.check.number).collect()
    };
    let (hard, soft) = (numbers(Kind::Hard), numbers(Kind::Soft));
    let at = format!("in the snapshot of {taken} UTC");
    match (hard.as_slice(), soft.as_slice()) {
        ([], []) => format!("all is well: every check holds {at}; there is nothing to do"),
        ([], soft) => format!(
            "no defect {at}; look at {} when there is time",
            soft.join(", ")
        ),
        (hard, soft) => {
            let later = match soft {
                [] => String::new(),
                soft => format!("; {} may have the same reason", soft.join(", ")),
            };
            let hard = hard.join(", ");
            format!("not all is well {at}: do what → says for {hard}, then verify again{later}")
        }
    }
}

fn report_json(checked: &[Checked], taken: &str, since: Option<Day>) -> Value {
    let checks: Vec<Value> = checked
        .iter()
        .map(|Checked { check, found }| {
            let findings: Vec<Value> = found
                .iter()
                .map(|finding| json!({"what": finding.what, "count": finding.count, "examples": finding.examples}))
                .collect();
            json!({
                "number": check.number,
                "name": check.name,
                "kind": check.kind.as_str(),
                "meaning": check.meaning,
                "ok": found.is_empty(),
                "findings": findings,
                "advice": (!found.is_empty()).then_some(check.advice),
            })
        })
        .collect();
    json!({
        "status": worst(checked).map_or("ok", Kind::as_str),
        "snapshot": format!("{}Z", taken.replace(' ', "T")),
        "since": since.map(|day| day.to_string()),
        "checks": checks,
    })
}

fn digest_lines(digest: &Digest) -> String {
    let mut text = String::new();
    let mut line = |table: &str, day: &str, sum: &Sum| {
        let day = if day.is_empty() { "-" } else { day };
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{table:14}  {day:10}  {:>12}  {:032x}",
            sum.rows, sum.hash
        );
    };
    for ((table, day), sum) in &digest.days {
        line(table, day, sum);
    }
    line("all", "", &digest.all);
    text
}

fn digest_json(digest: &Digest, since: Option<Day>) -> Value {
    let days = digest.days.iter().map(|((table, day), sum)| {
        json!({"table": table, "day": (!day.is_empty()).then_some(day), "rows": sum.rows, "hash": hex(sum)})
    });
    json!({
        "since": since.map(|day| day.to_string()),
        "days": days.collect::<Vec<_>>(),
        "all": {"rows": digest.all.rows, "hash": hex(&digest.all)},
    })
}

fn hex(sum: &Sum) -> String {
    format!("{:032x}", sum.hash)
}
