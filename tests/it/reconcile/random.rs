//! Random feeds against reports that were made without Hydrant.

use std::collections::BTreeMap;

use hydrant::amount::Amount;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

use super::Desk;

/// day, offer, affiliate, goal, currency
type Group = (u32, u32, u32, u32, &'static str);
/// clicks, conversions, and payout and revenue in hundredths of a cent
type Sums = [i64; 4];

/// Amounts in hundredths of a cent, as text.
fn decimal(hundredths: i64) -> String {
    let magnitude = hundredths.unsigned_abs();
    let sign = if hundredths < 0 { "-" } else { "" };
    format!("{sign}{}.{:04}", magnitude / 10_000, magnitude % 10_000)
}

/// Events of a few groups, and what TUNE's report says of them.
fn feed(random: &mut StdRng) -> (Vec<Value>, BTreeMap<Group, Sums>) {
    let mut events = Vec::new();
    let mut report: BTreeMap<Group, Sums> = BTreeMap::new();
    for n in 0..random.random_range(1..120) {
        let group: Group = (
            random.random_range(1..4),
            random.random_range(1..4),
            random.random_range(1..3),
            random.random_range(0..2),
            ["EUR", "USD"][random.random_range(0..2)],
        );
        let sums = report.entry(group).or_default();
        let (payout, revenue) = (
            random.random_range(-9_999_999..9_999_999),
            random.random_range(0..99_999),
        );
        let mut event = json!({
            "event_id": format!("e{n}"), "tune_event_id": format!("r{}", random.random_range(0..20)),
            "date": format!("2026-11-{:02}", group.0), "offer_id": group.1, "affiliate_id": group.2.to_string(),
            "goal_id": group.3, "currency": group.4,
        });
        match random.random_range(0..6) {
            0 => {
                event["action"] = "click".into();
                sums[0] += 1;
            }
            1..=3 => {
                event["action"] = "conversion".into();
                event["payout"] = decimal(payout).into();
                event["revenue"] = decimal(revenue).into();
                // A record has one original.
                event["tune_event_id"] = format!("own{n}").into();
                let status =
                    ["approved", "approved", "pending", "rejected"][random.random_range(0..4)];
                event["status"] = status.into();
                if status == "approved" {
                    *sums = [sums[0], sums[1] + 1, sums[2] + payout, sums[3] + revenue];
                }
            }
            kind => {
                event["action"] = "conversion".into();
                event["adjust_action"] = "update".into();
                event["num"] = (-1).into();
                event["payout"] = decimal(-payout).into();
                event["update_stats"] = (kind == 4).into();
                if kind == 4 {
                    *sums = [sums[0], sums[1] - 1, sums[2] - payout, sums[3]];
                }
            }
        }
        events.push(event);
    }
    (events, report)
}

/// The report as CSV in one of several styles.
fn written(report: &BTreeMap<Group, Sums>, style: u32) -> String {
    let (between, head) = match style {
        0 => (
            ",",
            "Stat.date,Stat.offer_id,Stat.affiliate_id,Stat.goal_id,Stat.currency,Stat.gross_clicks,Stat.conversions,Stat.payout,Stat.revenue",
        ),
        1 => (
            ";",
            "\u{feff}Date;Offer ID;Partner ID;Goal ID;Currency;Gross Clicks;Conversions;Cost;Revenue",
        ),
        _ => (
            "\t",
            "date\toffer_id\taffiliate_id\tgoal_id\tcurrency\tclicks\tconversions\tpayout\trevenue",
        ),
    };
    let money = |hundredths| match style {
        1 => decimal(hundredths).replace('.', ",") + " €",
        _ => decimal(hundredths),
    };
    let mut text = head.to_owned() + "\r\n";
    for (group, sums) in report {
        let cells = [
            format!("2026-11-{:02}", group.0),
            group.1.to_string(),
            group.2.to_string(),
            group.3.to_string(),
            group.4.to_owned(),
            sums[0].to_string(),
            sums[1].to_string(),
            money(sums[2]),
            money(sums[3]),
        ];
        text += &(cells.join(between) + "\r\n");
    }
    text
}

#[tokio::test]
async fn a_report_made_without_hydrant_agrees_and_one_changed_cell_is_found() {
    for seed in 0..6 {
        let mut random = StdRng::seed_from_u64(seed);
        let (events, mut report) = feed(&mut random);
        let mut desk = Desk::new().await;
        for events in events.chunks(7) {
            desk.come("n", events).await;
        }
        let style = u32::try_from(seed).unwrap() % 3;
        let days = ["--since", "2026-11-01", "--until", "2026-11-03"];
        let found = desk.json(&written(&report, style), &days);
        assert_eq!(found["status"], "agrees", "seed {seed}: {found:#}");
        assert_eq!(found["groups"], report.len(), "seed {seed}");

        let groups: Vec<Group> = report.keys().copied().collect();
        let group = groups[random.random_range(0..groups.len())];
        let measure = random.random_range(0..4);
        let by = random.random_range(1..100_000);
        report.get_mut(&group).unwrap()[measure] += by;
        let found = desk.json(&written(&report, style), &days);
        let differences = found["differences"].as_array().unwrap();
        assert_eq!(differences.len(), 1, "seed {seed}: {found:#}");
        assert_eq!(
            differences[0]["group"],
            json!({"date": format!("2026-11-{:02}", group.0), "offer_id": group.1, "affiliate_id": group.2,
                   "goal_id": group.3, "currency": group.4})
        );
        let cells = differences[0]["cells"].as_array().unwrap();
        let names = ["clicks", "conversions", "payout", "revenue"];
        assert_eq!(
            (cells.len(), &cells[0]["measure"]),
            (1, &json!(names[measure]))
        );
        let difference = Amount::parse(cells[0]["difference"].as_str().unwrap());
        let expected = if measure < 2 {
            (-by).to_string()
        } else {
            decimal(-by)
        };
        assert_eq!(difference, Amount::parse(&expected), "seed {seed}");
    }
}
