//! What landed, as the database and the daemon's metrics tell it, and whether it adds up.

use std::io::Write;
use std::time::{Duration, Instant};

use sqlx::postgres::PgConnection;

use super::Database;
use super::daemon::Counted;
use super::feed::UNITS;
use super::figures::{grouped, money, signed};
use super::publication::Publication;
use crate::amount::Amount;
use crate::store::Settings;
use crate::store::showcase::{self, Payout, State, Story, Sums};

/// Prints a line. A reader who has gone away, as `head` does, is no reason to leave anything behind.
pub fn say(words: std::fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stdout(), "{words}");
}

/// A line of progress.
pub fn line(label: &str, words: &str, since: Option<Instant>) {
    let took = since.map_or(String::new(), |since| {
        format!(" ({:.1} s)", since.elapsed().as_secs_f64())
    });
    say(format_args!("  {label:<12}{words}{took}"));
}

/// Shows everything; whether it adds up.
///
/// # Errors
/// The database does not answer.
pub async fn show(
    settings: &Settings,
    publication: &Publication,
    counted: &Counted,
) -> anyhow::Result<bool> {
    let mut connection = showcase::open(settings).await?;
    let mut checks = outcomes(&mut connection, publication, counted).await?;
    if let Some(story) = showcase::story(&mut connection).await? {
        tell(&story);
    }
    day(&mut connection).await?;
    checks.push(totals(&mut connection, publication).await?);
    checks.push(payout(&mut connection).await?);
    quarantine(&mut connection).await?;
    Ok(verdict(&checks))
}

/// Shows what it came to at the end of live traffic; whether it adds up.
///
/// # Errors
/// The database does not answer.
pub async fn close(
    settings: &Settings,
    publication: &Publication,
    counted: &Counted,
) -> anyhow::Result<bool> {
    let mut connection = showcase::open(settings).await?;
    let mut checks = outcomes(&mut connection, publication, counted).await?;
    checks.push(totals(&mut connection, publication).await?);
    checks.push(payout(&mut connection).await?);
    Ok(verdict(&checks))
}

/// Says where to look while messages come, and how it ends.
pub fn look(address: &str, database: &Database, live: Option<Duration>) {
    heading("Live: 20 messages a second");
    say(format_args!("  status page   {address}/"));
    say(format_args!("  metrics       {address}/metrics"));
    look_further(database);
    let end = match live {
        Some(time) => format!("It ends after {} s, or", time.as_secs()),
        None => "It ends".to_owned(),
    };
    say(format_args!(
        "\n{end} with Ctrl-C; then everything is counted once more.\n"
    ));
}

/// Says how to query. The address of the user's own database is not repeated: it may hold a password.
pub fn look_further(database: &Database) {
    match &database.server {
        Some(server) => say(format_args!(
            "  psql          {} '{}'",
            server.psql(),
            database.url
        )),
        None => say(format_args!(
            "  psql          set search_path to {};",
            database.settings.schema
        )),
    }
    for query in [
        "select event_id, status, payout, net_payout, adjustment_count from conversions limit 10;",
        "select * from stats where conversions <> 0 order by date desc, payout desc limit 10;",
        "select reason, detail, convert_from(payload, 'UTF8') from quarantine;",
    ] {
        say(format_args!("    {query}"));
    }
}

type Check = (&'static str, bool);

/// The events by outcome, and where they lie.
async fn outcomes(
    connection: &mut PgConnection,
    publication: &Publication,
    counted: &Counted,
) -> anyhow::Result<Vec<Check>> {
    let rows = showcase::rows(connection).await?;
    let (events, expected) = (&counted.events, &publication.expected);
    heading("Events by outcome");
    say(format_args!(
        "  {:<14}{:>12}  {:>12}  table",
        "", "daemon", "database"
    ));
    for (outcome, count, stored, table) in [
        ("stored", events.stored, Some(rows.events), "events"),
        (
            "adjustments",
            events.adjustments,
            Some(rows.adjustments),
            "adjustments",
        ),
        ("duplicates", events.duplicates, None, "(nothing to store)"),
        (
            "variants",
            events.variants,
            Some(rows.variants),
            "event_variants",
        ),
        (
            "quarantined",
            events.quarantined,
            Some(rows.quarantined_events),
            "quarantine",
        ),
    ] {
        let stored = stored.map_or("-".to_owned(), grouped);
        say(format_args!(
            "  {outcome:<14}{:>12}  {stored:>12}  {table}",
            grouped(count)
        ));
    }
    say(format_args!(
        "\n  {} published = {} stored + {} adjustments + {} duplicates + {} variants + {} quarantined",
        grouped(expected.sum()),
        grouped(events.stored),
        grouped(events.adjustments),
        grouped(events.duplicates),
        grouped(events.variants),
        grouped(events.quarantined),
    ));
    say(format_args!(
        "  {} adjustments were stored before their original; {} are orphans, whose original never came",
        grouped(rows.early_adjustments),
        grouped(rows.orphans),
    ));
    let in_tables = (
        rows.events,
        rows.adjustments,
        rows.variants,
        rows.quarantined_events,
    );
    let by_daemon = (
        events.stored,
        events.adjustments,
        events.variants,
        events.quarantined,
    );
    Ok(vec![
        (
            "every published event has one outcome",
            expected.sum() == events.sum(),
        ),
        (
            "every outcome is the one that the feed was made for",
            events == expected,
        ),
        (
            "the tables hold what the daemon counted",
            in_tables == by_daemon,
        ),
        (
            "every unreadable message is in quarantine",
            (rows.quarantined_bodies, counted.bad_bodies)
                == (publication.bad_bodies, publication.bad_bodies),
        ),
    ])
}

/// One conversion from its original to its present state.
fn tell(story: &Story) {
    heading("One conversion");
    say(format_args!(
        "  {} of network {}, {} local time\n",
        story.record_id, story.network_id, story.datetime
    ));
    say(format_args!(
        "  {:<28}{:>6}{:>16}{:>16}  status",
        "", "num", "payout     ", "revenue     "
    ));
    let row = |label: &str, num: &str, [payout, revenue]: [&str; 2], status: &str| {
        let line = format!("  {label:<28}{num:>6}{payout:>16}{revenue:>16}  {status}");
        say(format_args!("{}", line.trim_end()));
    };
    let state = |label: &str, state: &State| {
        row(
            label,
            "",
            [&money(&state.payout), &money(&state.revenue)],
            &state.status,
        );
    };
    state("original", &story.original);
    for entry in &story.ledger {
        let early = if entry.early {
            ", came before the original"
        } else {
            ""
        };
        row(
            &format!("adjustment {}", entry.sequence_id),
            &signed(&entry.num),
            [
                &signed(&money(&entry.payout)),
                &signed(&money(&entry.revenue)),
            ],
            &format!("{}{early}", entry.status),
        );
    }
    state("now (view conversions)", &story.current);
    row(
        "net (what stats counts)",
        &story.net_num,
        [&money(&story.net_payout), &money(&story.net_revenue)],
        "",
    );
}

/// Says of each check whether it holds; whether all do.
fn verdict(checks: &[Check]) -> bool {
    heading("Checks");
    for (what, holds) in checks {
        say(format_args!(
            "  {}  {what}",
            if *holds { "ok   " } else { "WRONG" }
        ));
    }
    let all = checks.iter().all(|(_, holds)| *holds);
    say(format_args!(
        "\n  {}",
        if all {
            "Everything adds up."
        } else {
            "This does not add up."
        }
    ));
    all
}

/// The totals of a day.
async fn day(connection: &mut PgConnection) -> anyhow::Result<()> {
    let (day, networks) = showcase::day(connection).await?;
    heading(&format!("Totals of {day} (view stats)"));
    say(format_args!(
        "  {:<14}{:>12}{:>10}{:>12}{:>16}{:>16}  currency",
        "network", "impressions", "clicks", "conversions", "payout     ", "revenue     "
    ));
    for (network_id, currency, sums) in &networks {
        say(format_args!(
            "  {network_id:<14}{:>12}{:>10}{:>12}{:>16}{:>16}  {currency}",
            sums.impressions,
            sums.clicks,
            sums.conversions,
            money(&sums.payout),
            money(&sums.revenue)
        ));
    }
    Ok(())
}

/// The totals of all days against the feed's own.
async fn totals(connection: &mut PgConnection, publication: &Publication) -> anyhow::Result<Check> {
    let sums = showcase::totals(connection).await?;
    Ok((
        "stats of all days are the feed's own totals, to the last decimal",
        agree(&sums, publication),
    ))
}

fn agree(sums: &Sums, publication: &Publication) -> bool {
    let totals = &publication.totals;
    let same = |text: &str, units: i64| {
        let whole = format!("{}e-{}", units, UNITS.ilog10());
        Amount::parse(text).is_some() && Amount::parse(text) == Amount::parse(&whole)
    };
    (sums.impressions, sums.clicks, sums.conversions)
        == (totals.impressions, totals.clicks, totals.conversions)
        && same(&sums.payout, totals.payout)
        && same(&sums.revenue, totals.revenue)
        && same(&sums.sale_amount, totals.sale_amount)
}

async fn payout(connection: &mut PgConnection) -> anyhow::Result<Check> {
    let payouts = showcase::payouts(connection).await?;
    heading("Where the payout comes from, all days");
    let row = |label: &str, of: fn(&Payout) -> String| {
        let columns: String = payouts
            .iter()
            .map(|payout| format!("{:>16}", of(payout)))
            .collect();
        say(format_args!("  {label:<38}{columns}"));
    };
    row("", |payout| format!("{}     ", payout.currency));
    row("conversions, after their adjustments", |payout| {
        money(&payout.conversions)
    });
    row("orphan adjustments", |payout| money(&payout.orphans));
    row("paid clicks", |payout| money(&payout.clicks));
    row("= stats", |payout| money(&payout.stats));
    let agree = !payouts.is_empty() && payouts.iter().all(|payout| payout.agree);
    Ok((
        "conversions, orphans and clicks come to the payout of stats",
        agree,
    ))
}

async fn quarantine(connection: &mut PgConnection) -> anyhow::Result<()> {
    heading("Quarantine, with the exact bytes: events, and whole bodies that count as no event");
    for (scope, reason, seen, detail) in showcase::quarantine(connection).await? {
        say(format_args!("  {scope:<8}{reason:<18}{seen:>4}  {detail}"));
    }
    Ok(())
}

fn heading(words: &str) {
    say(format_args!("\n{words}"));
}
