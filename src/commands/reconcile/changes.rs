//! What was changed since a time: adjustments that were made then, by the day of the conversions that they belong to.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde_json::{Map, Value as Json, json};

use super::json::{amounts, group, value};
use super::text::listed;
use super::{Failure, filter, one_network, open};
use crate::cli::reconcile::{Instant, Reconcile};
use crate::commands::terminal::{Colour, Column, Paint, table};
use crate::commands::{pretty, printed};
use crate::reconcile::columns::{Amounts, Dimension, Measure, Value};
use crate::store::reconcile::Change;

/// What it goes by.
const DIMENSIONS: [Dimension; 5] = [
    Dimension::Date,
    Dimension::OfferId,
    Dimension::AffiliateId,
    Dimension::GoalId,
    Dimension::Currency,
];
/// Where the currency stands in it.
const CURRENCY: usize = 4;

/// What there is to show.
struct Found<'a> {
    since: &'a Instant,
    network_id: Option<String>,
    taken: String,
    changes: Vec<Change>,
    /// By currency.
    sums: BTreeMap<Value, Sum>,
}

#[derive(Default)]
struct Sum {
    changed: Amounts,
    orphans: Amounts,
    withheld: Amounts,
}

/// Its exit status.
pub async fn run(args: &Reconcile) -> Result<u8, Failure> {
    let Some(since) = &args.changed_since else {
        return Ok(0);
    };
    let mut snapshot = open(args).await?;
    let filter = filter(args, args.since, args.until);
    let found = snapshot
        .changes(&DIMENSIONS, &filter, since.seconds)
        .await?;
    let (network_id, changes) = one_network(found, args.network.as_deref())?;
    let mut sums: BTreeMap<Value, Sum> = BTreeMap::new();
    for change in &changes {
        let sum = sums.entry(change.group[CURRENCY].clone()).or_default();
        sum.changed.add_all(&change.amounts)?;
        sum.orphans.add_all(&change.orphans)?;
        sum.withheld.add_all(&change.withheld)?;
    }
    let found = Found {
        since,
        network_id,
        taken: snapshot.taken.clone(),
        changes,
        sums,
    };
    let shown = if args.json {
        pretty(&json(&found))?
    } else {
        text(&found, Paint::stdout())
    };
    printed(io::stdout().lock().write_all(shown.as_bytes()))?;
    snapshot.close().await;
    Ok(0)
}

fn text(found: &Found<'_>, paint: Paint) -> String {
    let mut text = format!(
        "changed since {}: {} groups; {}, in the snapshot of {} UTC\n",
        found.since.text,
        found.changes.len(),
        match &found.network_id {
            Some(network_id) => format!("network {network_id}"),
            None => "no network".to_owned(),
        },
        found.taken
    );
    if found.changes.is_empty() {
        return text + &paint.word("nothing was changed", Colour::Green) + "\n";
    }
    let measures: Vec<Measure> = Measure::ALL
        .into_iter()
        .filter(|measure| {
            found
                .changes
                .iter()
                .any(|one| !one.amounts.get(*measure).is_zero())
        })
        .collect();
    let mut columns: Vec<Column> = DIMENSIONS.map(|one| Column::Left(one.as_str())).to_vec();
    columns.push(Column::Right("facts"));
    columns.extend(
        measures
            .iter()
            .map(|measure| Column::Right(measure.as_str())),
    );
    let rows: Vec<Vec<String>> = found
        .changes
        .iter()
        .map(|change| row(change, &measures))
        .collect();
    text.push('\n');
    text += &table(&columns, &rows, paint);
    text.push('\n');
    for (currency, sum) in &found.sums {
        let parts = [
            ("in all", &sum.changed),
            ("of it without their conversion", &sum.orphans),
            ("kept out by update_stats = false", &sum.withheld),
        ];
        for (words, amounts) in parts {
            if !amounts.is_zero() {
                text += &format!("{currency} {words}: {}\n", listed(amounts));
            }
        }
    }
    text
}

fn row(change: &Change, measures: &[Measure]) -> Vec<String> {
    let mut row: Vec<String> = change.group.iter().map(Value::to_string).collect();
    row.push(change.facts.to_string());
    row.extend(
        measures
            .iter()
            .map(|measure| change.amounts.get(*measure).to_string()),
    );
    row
}

fn json(found: &Found<'_>) -> Json {
    let with_parts = |mut object: Map<String, Json>, of: [&Amounts; 3]| {
        let [changed, orphans, withheld] = of.map(amounts);
        object.extend(changed);
        object.insert("orphan".to_owned(), Json::Object(orphans));
        object.insert("update_stats_false".to_owned(), Json::Object(withheld));
        Json::Object(object)
    };
    let changes = found.changes.iter().map(|change| {
        let head = Map::from_iter([
            ("group".to_owned(), group(&DIMENSIONS, &change.group)),
            ("facts".to_owned(), json!(change.facts)),
        ]);
        with_parts(head, [&change.amounts, &change.orphans, &change.withheld])
    });
    let sums = found.sums.iter().map(|(currency, sum)| {
        let head = Map::from_iter([("currency".to_owned(), value(currency))]);
        with_parts(head, [&sum.changed, &sum.orphans, &sum.withheld])
    });
    json!({
        "changed_since": found.since.text,
        "network_id": found.network_id,
        "snapshot": format!("{}Z", found.taken.replace(' ', "T")),
        "changes": changes.collect::<Vec<_>>(),
        "sums": sums.collect::<Vec<_>>(),
    })
}
