//! An account as text, for people.

use time::OffsetDateTime;

use super::account::{Account, Content, Kind, Original, Place, Rank, Standalone, Step, Variant};
use super::fields::HIDDEN;
use super::standing::{Now, Rule};

/// What stands for a value that is not there.
const NOTHING: &str = "-";
/// Fields of an original that everybody looks for; the others are in `--json`.
const ORIGINAL_FIELDS: [&str; 10] = [
    "status",
    "num",
    "payout",
    "revenue",
    "sale_amount",
    "currency",
    "offer_id",
    "affiliate_id",
    "advertiser_id",
    "goal_id",
];

/// Everything that was found.
pub fn page(network_id: &str, accounts: &[Account]) -> String {
    let mut page = String::new();
    if accounts.len() > 1 {
        page += &format!("{} records have that id.\n\n", accounts.len());
    }
    let records: Vec<String> = accounts
        .iter()
        .map(|account| record(network_id, account))
        .collect();
    page + &records.join("\n")
}

fn record(network_id: &str, account: &Account) -> String {
    let mut text = format!(
        "Record {} of network {network_id}: {}\n",
        account.record_id,
        kind(account)
    );
    for warning in &account.warnings {
        text += &format!("\nWARNING: {warning}\n");
    }
    if let Some(found) = &account.original {
        text += "\nORIGINAL\n";
        text += &original(found);
    }
    for other in &account.other_originals {
        text += "\nANOTHER ORIGINAL of the same record, which does not count in conversions\n";
        text += &original(other);
    }
    if !account.ledger.is_empty() {
        text += "\nADJUSTMENTS, in the order in which they count (not in which they came)\n";
        for (n, entry) in account.ledger.iter().enumerate() {
            text += &step(n + 1, entry, account);
        }
    }
    for one in &account.standalone {
        text += "\nSTANDALONE ADJUSTMENT: it names no record, and counts in totals alone\n";
        text += &standalone(one);
    }
    for one in &account.variants {
        text += &variant(one);
    }
    match account.kind {
        Kind::Standalone | Kind::Variant => {}
        Kind::Conversion => text += "\nNOW, as in the view conversions\n",
        Kind::Orphan => text += "\nNOW, from its adjustments alone\n",
        Kind::Click | Kind::Impression => text += "\nNOW\n",
    }
    if !matches!(account.kind, Kind::Standalone | Kind::Variant) {
        text += &now(&account.now);
    }
    text
}

fn kind(account: &Account) -> String {
    let adjustments = match account.ledger.len() {
        0 => "never adjusted".to_owned(),
        1 => "1 adjustment".to_owned(),
        count => format!("{count} adjustments"),
    };
    match account.kind {
        Kind::Conversion => format!("a conversion, {adjustments}"),
        Kind::Click => format!("a click, {adjustments}"),
        Kind::Impression => format!("an impression, {adjustments}"),
        Kind::Orphan => format!("an orphan, {adjustments} without the original"),
        Kind::Standalone => "a standalone adjustment".to_owned(),
        Kind::Variant => "only contents that lost against another".to_owned(),
    }
}

/// Where nothing that may be about a person is left.
const BLANKED: &str = "by retention: what may be about a person is gone, and nothing else";

fn original(original: &Original) -> String {
    let born = match &original.adjust_action {
        None => "standard".to_owned(),
        Some(action) => format!("by an adjustment ({action})"),
    };
    let mut rows = vec![
        row("event", &original.event_id),
        row(
            "born",
            format!(
                "{born}, {} of {}",
                with_article(&original.action),
                original.event_day
            ),
        ),
        row("received", time(&original.received_at)),
    ];
    let fields = ORIGINAL_FIELDS
        .iter()
        .filter_map(|name| Some(row(name, original.fields.get(name)?)));
    rows.extend(fields);
    let hidden = original.fields.values().filter(|v| *v == HIDDEN).count();
    if hidden > 0 {
        let told =
            format!("{hidden} fields that may be about a person; --json --personal shows them");
        rows.push(row(HIDDEN, told));
    }
    if original.blanked {
        rows.push(row("blanked", BLANKED));
    }
    rows.push(row("adds", contribution(original)));
    if !original.late_after.is_empty() {
        let told = format!("it came after {}", original.late_after.join(", "));
        rows.push(row("LATE", told));
    }
    table(&rows, "  ")
}

/// `a click`, `an impression`.
fn with_article(action: &str) -> String {
    let article = if action.starts_with('i') { "an" } else { "a" };
    format!("{article} {action}")
}

fn contribution(original: &Original) -> String {
    if !original.counts {
        return format!(
            "nothing to the totals: it was born {}, and its approval comes as an adjustment",
            original
                .fields
                .get("status")
                .map_or(NOTHING, String::as_str)
        );
    }
    let amounts: Vec<String> = ["num", "payout", "revenue", "sale_amount"]
        .iter()
        .map(|name| format!("{name} {}", original.contributes[name]))
        .collect();
    format!("{} to the totals", amounts.join(", "))
}

fn step(number: usize, step: &Step, account: &Account) -> String {
    let mut text = format!("  {number}. {}\n", step.event_id);
    let sequence = match (step.adjustment_sequence_id, step.placed_by) {
        (None, Place::AdjustmentSequenceId) => "none: such entries come first".to_owned(),
        (None, place) => format!("none{}", behind(place)),
        (Some(sequence), place) => format!("{sequence}{}", behind(place)),
    };
    let mut rows = vec![row("sequence", sequence)];
    rows.extend(
        step.adjustment_timestamp
            .map(|made| row("made", unix_time(made))),
    );
    rows.push(row("received", time(&step.received_at)));
    if !step.late_after.is_empty() {
        let told = format!(
            "it came after {}, although it counts before",
            step.late_after.join(", ")
        );
        rows.push(row("LATE", told));
    }
    for (name, difference) in step.differences.iter().filter(|(_, d)| *d != "0") {
        let sum = step.sums.get(name).map_or("0", String::as_str);
        let told = format!("{:<12} {sum} in all so far", signed(difference));
        rows.push(row(&format!("{name} by"), told));
    }
    for change in &step.changes {
        // Of an orphan the sums say it all.
        if account.original.is_some() || !change.field.starts_with("net_") {
            let told = format!("{} → {}", or_nothing(&change.from), or_nothing(&change.to));
            rows.push(row(change.field, told));
        }
    }
    if step.changes.is_empty() {
        rows.push(row("changes", "nothing"));
    }
    if step.blanked {
        rows.push(row("blanked", BLANKED));
    }
    if !step.in_stats {
        rows.push(row(
            "stats",
            "update_stats is false: its differences are left out of the view stats",
        ));
    }
    text += &table(&rows, "     ");
    text
}

fn behind(place: Place) -> &'static str {
    match place {
        Place::AdjustmentSequenceId => "",
        Place::AdjustmentTimestamp => ", as the one before; its time is later",
        Place::EventId => ", as the one before, and so is its time; its event_id is greater",
    }
}

fn standalone(standalone: &Standalone) -> String {
    let mut rows = vec![
        row("event", &standalone.event_id),
        row(
            "of",
            format!(
                "{} of {}",
                with_article(&standalone.action),
                standalone.event_day
            ),
        ),
        row("received", time(&standalone.received_at)),
    ];
    for (name, difference) in &standalone.differences {
        rows.push(row(&format!("{name} by"), signed(difference)));
    }
    if !standalone.in_stats {
        rows.push(row(
            "stats",
            "update_stats is false: it is left out of the view stats",
        ));
    }
    table(&rows, "  ")
}

fn variant(variant: &Variant) -> String {
    let mut text = format!(
        "\nVARIANT: {} {} came with another content as well, which does not count\n",
        variant.role, variant.event_id
    );
    let mut rows = vec![
        row("received", time(&variant.received_at)),
        row("lost", why_it_lost(variant)),
    ];
    if let Some(won) = &variant.won
        && variant.lost.record_id != won.record_id
    {
        let told = format!("{} instead of {}", variant.lost.record_id, won.record_id);
        rows.push(row("record", told));
    }
    for differs in &variant.differs {
        let told = format!(
            "{} instead of {}",
            or_nothing(&differs.lost),
            or_nothing(&differs.won)
        );
        rows.push(row(differs.field, told));
    }
    text += &table(&rows, "  ");
    text
}

fn why_it_lost(variant: &Variant) -> String {
    let (Some(won), Some(lost_by)) = (&variant.won, variant.lost_by) else {
        return "no content of this id stands in its table: hydrant verify says whether one should"
            .to_owned();
    };
    match lost_by {
        Rank::DispatchTimestamp => format!(
            "its dispatch_timestamp is {}, that of the winner {}: the least wins",
            dispatched(&variant.lost),
            dispatched(won)
        ),
        Rank::ContentHash => format!(
            "both have the dispatch_timestamp {}; its hash is {}…, that of the winner {}…: the least wins",
            dispatched(&variant.lost),
            beginning(&variant.lost.content_hash),
            beginning(&won.content_hash)
        ),
    }
}

fn dispatched(content: &Content) -> String {
    content
        .dispatch_timestamp
        .map_or("missing".to_owned(), |time| time.to_string())
}

fn beginning(hash: &str) -> &str {
    hash.get(..8).unwrap_or(hash)
}

/// Every field with its value and where that is from; without those that nobody gave.
fn now(fields: &[Now]) -> String {
    let given = fields.iter().filter(|now| now.rule != Rule::Blank);
    let rows: Vec<(String, String, String)> = given
        .map(|now| {
            (
                now.field.to_owned(),
                one_line(or_nothing(&now.value)),
                origin(now),
            )
        })
        .collect();
    let width = rows.iter().map(|(_, value, _)| length(value)).max();
    let width = width.unwrap_or(0).min(40);
    let rows: Vec<_> = rows
        .into_iter()
        .map(|(field, value, from)| {
            let gap = " ".repeat(width.saturating_sub(length(&value)));
            (field, format!("{value}{gap}  {from}"))
        })
        .collect();
    table(&rows, "  ")
}

fn origin(now: &Now) -> String {
    let event = or_nothing(&now.event_id);
    match now.rule {
        Rule::Original => "from the original".to_owned(),
        Rule::Adjustment => format!("from adjustment {event}"),
        Rule::Current => format!("from adjustment {event}, its current_{}", now.field),
        Rule::Net => {
            let differences = now.differences.as_deref().unwrap_or("0");
            match &now.original {
                Some(own) => format!(
                    "the original's {own}, and differences of {}",
                    signed(differences)
                ),
                None => format!("differences of {}", signed(differences)),
            }
        }
        Rule::Blank => String::new(),
    }
}

/// A difference always has a sign.
fn signed(difference: &str) -> String {
    if difference.starts_with('-') || difference == "0" {
        difference.to_owned()
    } else {
        format!("+{difference}")
    }
}

/// `2026-11-23 14:03:22 UTC`, of a time with microseconds.
fn time(utc: &str) -> String {
    format!("{} UTC", utc.get(..19).unwrap_or(utc).replace('T', " "))
}

/// The same of seconds since 1970; a number that is no such time stays a number.
fn unix_time(seconds: i64) -> String {
    match OffsetDateTime::from_unix_timestamp(seconds) {
        Ok(at) if seconds >= 0 => {
            let (hour, minute, second) = at.to_hms();
            format!("{} {hour:02}:{minute:02}:{second:02} UTC", at.date())
        }
        _ => seconds.to_string(),
    }
}

fn or_nothing(value: &Option<String>) -> &str {
    value.as_deref().unwrap_or(NOTHING)
}

fn row(name: &str, value: impl Into<String>) -> (String, String) {
    (name.to_owned(), one_line(&value.into()))
}

/// Names and values below each other.
fn table(rows: &[(String, String)], indent: &str) -> String {
    let width = rows.iter().map(|(name, _)| length(name)).max().unwrap_or(0);
    let lines = rows.iter().map(|(name, value)| {
        let gap = " ".repeat(width - length(name));
        format!("{indent}{name}{gap}  {value}")
            .trim_end()
            .to_owned()
            + "\n"
    });
    lines.collect()
}

fn length(text: &str) -> usize {
    text.chars().count()
}

/// The text without what a terminal would take for a command or a new line.
fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
    }
    line
}
