//! What shells and readers of manuals get, and what programs do: completions, manual pages, JSON, exit statuses.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use hydrant::config::PartitionBy;
use hydrant::store::migrate::migrate;
use serde_json::{Value, json};

use crate::support::database;
use crate::support::program::{Finished, run};
use crate::support::store::settings;

fn hydrant(args: &[&str]) -> Finished {
    run(args, &[], b"")
}

/// What a program says to this input.
fn filtered(program: &str, args: &[&str], input: &[u8]) -> String {
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        output.status.success() && said.is_empty(),
        "{program}: {said}"
    );
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn bash_completes_commands_and_options() {
    let script = hydrant(&["completions", "bash"]);
    assert_eq!(script.status, 0, "{}", script.err);
    // As bash asks: the words of the line, and which of them is to be completed.
    let ask = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let asked = format!(
            "{}\nCOMP_WORDS=({line}{}) COMP_CWORD={}\n_hydrant hydrant '{}' '{}'\nprintf '%s\\n' \"${{COMPREPLY[@]}}\"\n",
            script.text(),
            if line.ends_with(' ') { "''" } else { "" },
            words.len() - 1,
            words[words.len() - 1],
            words[words.len() - 2],
        );
        filtered("bash", &["--norc"], asked.as_bytes())
    };
    assert_eq!(ask("hydrant rec"), "reconcile\n");
    let options = ask("hydrant reconcile --to");
    assert_eq!(options, "--tolerance\n");
    let nested = ask("hydrant quarantine dis");
    assert_eq!(nested, "discard\n");
}

#[test]
fn other_shells_have_their_scripts() {
    for (shell, beginning) in [("zsh", "#compdef hydrant"), ("fish", "# Print an optspec")] {
        let script = hydrant(&["completions", shell]);
        assert!(
            script.text().starts_with(beginning),
            "{shell}: {}",
            script.text()
        );
    }
    assert_eq!(hydrant(&["completions", "cobol"]).status, 2);
}

#[test]
fn every_command_has_a_manual_page() {
    let page = hydrant(&["man"]);
    assert_eq!(page.status, 0, "{}", page.err);
    assert!(page.text().contains(".TH hydrant 1"));
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("man1");
    let written = hydrant(&["man", "--dir", dir.to_str().unwrap()]);
    assert_eq!(written.status, 0, "{}", written.err);
    let mut commands = vec!["hydrant".to_owned()];
    names(&mut hydrant::cli::command(), "hydrant", &mut commands);
    assert!(commands.contains(&"hydrant-quarantine-retry".to_owned()));
    for command in commands {
        let file = dir.join(format!("{command}.1"));
        let roff = std::fs::read(&file).unwrap_or_else(|error| panic!("{command}: {error}"));
        assert!(roff.starts_with(b".ie"), "{command}");
        // man-db is where tests run in CI; a formatter of its own need not be.
        if Command::new("man").arg("--version").output().is_ok() {
            let shown = filtered("man", &["-l", "-"], &roff);
            let words: Vec<&str> = shown.split_whitespace().collect();
            let words = words.join(" ");
            assert!(
                words.contains(" NAME ") && words.contains("Exit status: 0"),
                "{command}: {shown}"
            );
        }
    }
    let nowhere = hydrant(&["man", "--dir", "/dev/null/man"]);
    assert_eq!(nowhere.status, 1);
    assert!(
        nowhere
            .err
            .contains("cannot write manual pages to /dev/null/man"),
        "{}",
        nowhere.err
    );
}

/// The names of the commands' pages.
fn names(command: &mut clap::Command, name: &str, all: &mut Vec<String>) {
    command.build();
    for subcommand in command
        .get_subcommands_mut()
        .filter(|one| one.get_name() != "help")
    {
        let name = format!("{name}-{}", subcommand.get_name());
        all.push(name.clone());
        names(subcommand, &name, all);
    }
}

#[test]
fn every_help_tells_the_exit_statuses() {
    let mut commands = Vec::new();
    names(&mut hydrant::cli::command(), "", &mut commands);
    assert!(commands.len() > 12, "{commands:?}");
    for command in commands {
        let words: Vec<&str> = command.split('-').filter(|word| !word.is_empty()).collect();
        let words = match words.as_slice() {
            ["stand", "in"] => vec!["stand-in"],
            words => words.to_vec(),
        };
        let help = hydrant(&[words.as_slice(), &["--help"]].concat());
        assert!(
            help.text().contains("Exit status: 0 "),
            "{command}: {}",
            help.text()
        );
    }
    assert!(hydrant(&["--help"]).text().contains("Exit status: 0 done"));
}

/// Those that print no data: they work until they are told to stop, or write text for shells and manuals. `decode` writes JSON
/// and nothing else.
const WITHOUT_JSON: [&str; 5] = ["run", "decode", "demo", "completions", "man"];

#[test]
fn every_command_that_prints_data_takes_json() {
    fn takes_json(command: &clap::Command) -> bool {
        let mut nested = command.get_subcommands().peekable();
        match nested.peek() {
            Some(_) => nested.all(takes_json),
            None => command
                .get_arguments()
                .any(|it| it.get_long() == Some("json")),
        }
    }
    let program = hydrant::cli::command();
    let (with, without): (Vec<_>, Vec<_>) =
        program.get_subcommands().partition(|it| takes_json(it));
    assert!(with.len() > 10, "{}", with.len());
    let without: Vec<&str> = without.iter().map(|it| it.get_name()).collect();
    assert_eq!(without, WITHOUT_JSON);
}

#[test]
fn a_stand_in_tells_programs_where_it_is() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_hydrant"))
        .args(["stand-in", "--listen", "127.0.0.1:0", "--json"])
        .env_clear()
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    out.read_line(&mut line).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let told: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}"));
    let endpoint = told["endpoint_url"].as_str().unwrap();
    assert!(endpoint.starts_with("http://127.0.0.1:"), "{told}");
    let queue_url = format!("{endpoint}/000000000000/hasoffers-firehose");
    assert_eq!(
        told,
        json!({"endpoint_url": endpoint, "queue_url": queue_url})
    );
}

#[tokio::test]
async fn what_commands_did_can_be_read_by_programs() {
    let db = database().await;
    let variables = [("DATABASE_URL", db.url.as_str())];
    let said = |args: &[&str]| -> Value {
        let ended = run(&[args, &["--json"]].concat(), &variables, b"");
        assert_eq!(ended.status, 0, "{args:?}: {}", ended.err);
        serde_json::from_slice(&ended.out).unwrap_or_else(|_| panic!("{args:?}: {}", ended.text()))
    };
    assert_eq!(
        said(&["migrate"]),
        json!({"schema": "public", "partition_by": "day", "moved": null, "rollup": null})
    );
    let moved = said(&["migrate", "--partition-by", "none"]);
    assert_eq!(
        (&moved["partition_by"], &moved["moved"]["events"]),
        (&json!("none"), &json!(0))
    );
    migrate(&settings(&db, PartitionBy::Day)).await.unwrap();
    assert_eq!(
        said(&["rebuild", "--all"]),
        json!({"records": 0, "folded_again": 0, "settled": 0, "refused": 0, "sums_mended": 0, "is_complete": true, "after": null})
    );
    let nothing = json!({"resolved": 0, "still_bad": {}, "stored": 0, "adjustments": 0, "duplicates": 0, "variants": 0,
                         "quarantined": 0});
    assert_eq!(said(&["quarantine", "retry", "--all"]), nothing);
    assert_eq!(
        said(&["quarantine", "discard", "--all"]),
        json!({"discarded": 0})
    );
    db.rows(
        "insert into quarantine (scope, reason, payload, payload_sha256, source, network_id, event_id) values
             ('body', 'not_gzip', 'x', 'x', 's', null, null),
             ('event', 'bad_action', '{\"event_id\":\"e\",\"action\":\"click\"}', 'y', 's', 'n', 'e')",
    )
    .await;
    let retried = said(&["quarantine", "retry", "--all"]);
    assert_eq!(
        (&retried["resolved"], &retried["stored"]),
        (&json!(1), &json!(1)),
        "{retried}"
    );
    let still_bad = retried["still_bad"].as_object().unwrap();
    assert_eq!(
        still_bad
            .values()
            .map(|count| count.as_u64().unwrap())
            .sum::<u64>(),
        1
    );
    assert_eq!(
        said(&["quarantine", "discard", "--all"]),
        json!({"discarded": 1})
    );
}
