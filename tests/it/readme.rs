//! What the README shows works: its SQL, its configuration, its commands.

use std::process::Command;

use hydrant::config::{self, PartitionBy};

use crate::repartition::{settings, write};
use crate::support::database;

const README: &str = include_str!("../../README.md");

/// The code blocks of one language.
fn blocks(language: &str) -> Vec<&'static str> {
    let start = format!("```{language}\n");
    let blocks: Vec<_> = README
        .split(&start)
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap())
        .collect();
    assert!(!blocks.is_empty(), "no {language} in the README");
    blocks
}

const ORIGINAL: &str = r#"{"event_id":"e1","action":"conversion","status":"approved","payout":10,"revenue":20,
    "tune_event_id":"adc6c18f-5d50-4a0f-a8cc-ff63f06b6336","offer_id":1,"currency":"USD"}"#;
const UPDATE: &str = r#"{"event_id":"e2","action":"conversion","adjust_action":"update","status":"rejected","num":-1,
    "payout":-10,"revenue":-20,"tune_event_id":"adc6c18f-5d50-4a0f-a8cc-ff63f06b6336","adjustment_sequence_id":5,
    "adjustment_timestamp":1794000000}"#;
const ORPHAN: &str = r#"{"event_id":"e3","action":"conversion","adjust_action":"update","num":1,"tune_event_id":"other"}"#;

#[tokio::test]
async fn its_queries_run_and_answer() {
    let db = database().await;
    let settings = settings(&db, PartitionBy::Day);
    hydrant::store::migrate::migrate(&settings).await.unwrap();
    let today = db.rows("select current_date").await.remove(0);
    let click = format!(
        r#"{{"event_id":"e4","action":"click","date":"{today}","offer_id":7,"affiliate_id":8,"currency":"EUR"}}"#
    );
    let events = [ORIGINAL, UPDATE, ORPHAN, &click].map(|e| e.replace("\n", ""));
    write(&settings, "demo", 1, &events.join(",")).await;
    db.rows("insert into quarantine (scope, reason, payload, payload_sha256, source) values ('body', 'not_gzip', '', '', 'hasoffers')").await;
    let mut answers = Vec::new();
    for sql in blocks("sql") {
        answers.push(db.rows(sql.trim_end().trim_end_matches(';')).await);
    }
    let [totals, changed, conversion, history, orphans, quarantine] = answers.try_into().unwrap();
    assert_eq!(totals, ["7|8|EUR|0|1|0|0|0"]);
    assert_eq!(changed, ["1970-01-01|NULL|NULL|NULL|-1|-10|-20"]);
    assert_eq!(conversion.len(), 1);
    assert!(
        conversion[0].starts_with("rejected|0|0|0|0|1|2026-11-"),
        "{conversion:?}"
    );
    assert_eq!(
        history,
        [
            "original|NULL|approved|NULL|10|20|NULL|NULL",
            "adjustment|5|rejected|-1|-10|-20|NULL|NULL"
        ]
    );
    assert_eq!(orphans.len(), 1);
    assert!(
        quarantine[0].starts_with("hasoffers|body|not_gzip|1|1|"),
        "{quarantine:?}"
    );
}

#[test]
fn its_configuration_and_policies_are_valid() {
    let folder = tempfile::tempdir().unwrap();
    for toml in blocks("toml") {
        let file = folder.path().join("hydrant.toml");
        std::fs::write(&file, toml).unwrap();
        config::load(Some(&file)).unwrap();
    }
    for json in blocks("json") {
        serde_json::from_str::<serde_json::Value>(json).unwrap();
    }
}

#[test]
fn its_commands_exist() {
    let commands: Vec<&str> = README
        .lines()
        .filter_map(|line| line.strip_prefix("| `hydrant ")?.split(['`', ' ']).next())
        .collect();
    assert!(commands.len() >= 5, "{commands:?}");
    for command in commands {
        let help = Command::new(env!("CARGO_BIN_EXE_hydrant"))
            .args(["help", command])
            .output()
            .unwrap();
        assert!(help.status.success(), "hydrant help {command}");
    }
    for line in blocks("sh").concat().lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["make", target, ..] => {
                let dry = Command::new("make")
                    .args(["-n", target])
                    .current_dir(env!("CARGO_MANIFEST_DIR"))
                    .output();
                assert!(dry.unwrap().status.success(), "make {target}");
            }
            ["hydrant", command, ..] => {
                let help = Command::new(env!("CARGO_BIN_EXE_hydrant"))
                    .args([command, "--help"])
                    .output()
                    .unwrap();
                assert!(help.status.success(), "{line}");
            }
            ["cargo", ..] => {}
            _ => panic!("an unknown command in the README: {line}"),
        }
    }
}
