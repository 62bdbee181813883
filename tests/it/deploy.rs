//! What is in deploy/ fits the program and its documents.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use hydrant::config;
use serde_json::Value;

use crate::pages::{page, takes};
use crate::support::database;
use crate::support::program::run;

const TELEMETRY: &str = include_str!("../../src/telemetry.rs");
const RUNBOOK: &str = include_str!("../../docs/runbook.md");
const RULES: &str = include_str!("../../deploy/prometheus/hydrant.rules.yml");
const RULES_TEST: &str = include_str!("../../deploy/prometheus/hydrant.rules.test.yml");
const EXAMPLE: &str = include_str!("../../config/hydrant.toml");
const UNIT: &str = include_str!("../../deploy/systemd/hydrant.service");
const TERRAFORM: &str = include_str!("../../deploy/terraform/main.tf");
const KUBERNETES: &str = include_str!("../../deploy/kubernetes/hydrant.yaml");
const COMPOSE: &str = include_str!("../../compose.yaml");
const DASHBOARD: &str = include_str!("../../deploy/grafana/hydrant.json");

/// The words of a text that begin so.
fn words<'a>(text: &'a str, beginning: &str) -> BTreeSet<&'a str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && !['_', ':'].contains(&c))
        .map(|word| word.trim_end_matches(':'))
        .filter(|word| word.starts_with(beginning))
        .collect()
}

/// Whether the daemon has this metric, or this series of a histogram.
fn is_metric(name: &str) -> bool {
    let declared = |name: &str| TELEMETRY.contains(&format!("= \"{name}\";"));
    let mut parts = ["_bucket", "_sum", "_count"].iter();
    declared(name) || parts.any(|part| name.strip_suffix(part).is_some_and(declared))
}

/// The pairs of a label and a value in the selectors of an expression; of a pattern, each of its words.
fn label_values(expression: &str) -> Vec<(&str, &str)> {
    let selectors = expression
        .split('{')
        .skip(1)
        .filter_map(|rest| rest.split('}').next());
    let matchers = selectors.flat_map(|selector| selector.split(", "));
    matchers
        .filter_map(|matcher| matcher.split_once(['=', '!']))
        .flat_map(|(label, value)| {
            let value = value.trim_start_matches(['=', '~']).trim_matches('"');
            value.split('|').map(move |one| (label, one))
        })
        .collect()
}

/// Text of all the program's code.
fn code(folder: &Path) -> String {
    let entries = fs::read_dir(folder).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .map(|path| match path.is_dir() {
            true => code(&path),
            false => fs::read_to_string(&path).unwrap(),
        })
        .collect()
}

/// A label that is misspelt makes an alert that never rings, and a panel that is always empty.
fn expect_labels(expression: &str, code: &str) {
    for (label, value) in label_values(expression) {
        let is_given = value.is_empty() || value.starts_with('$') || value.ends_with(".*");
        // A status is a number in the code.
        if !is_given && !["job", "status"].contains(&label) {
            assert!(
                code.contains(&format!("\"{value}\"")),
                "{label} = {value:?} in {expression}"
            );
        }
    }
}

fn program() -> String {
    code(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"))
}

/// Each expression of a dashboard.
fn expressions(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Array(values) => values.iter().for_each(|one| expressions(one, found)),
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(text) if name == "expr" => found.push(text.clone()),
                    value => expressions(value, found),
                }
            }
        }
        _ => {}
    }
}

#[test]
fn the_dashboard_shows_metrics_that_exist() {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let mut shown = Vec::new();
    expressions(&dashboard, &mut shown);
    assert!(shown.len() > 30, "{shown:?}");
    let program = program();
    for expression in &shown {
        assert!(!words(expression, "hydrant_").is_empty(), "{expression}");
        expect_labels(expression, &program);
    }
    for name in words(DASHBOARD, "hydrant_") {
        assert!(is_metric(name), "{name}");
    }
}

#[test]
fn the_dashboard_shows_every_metric() {
    let names = TELEMETRY.split("= \"hydrant_").skip(1);
    let names: Vec<&str> = names.map(|it| it.split('"').next().unwrap()).collect();
    assert!(names.len() > 40, "{names:?}");
    for name in names {
        assert!(DASHBOARD.contains(&format!("hydrant_{name}")), "{name}");
    }
}

/// The name and the text of each alert.
fn alerts() -> Vec<(&'static str, &'static str)> {
    let alerts = RULES.split("- alert: ").skip(1);
    let alerts: Vec<_> = alerts
        .map(|text| (text.lines().next().unwrap(), text))
        .collect();
    assert!(alerts.len() > 15, "{alerts:?}");
    alerts
}

#[test]
fn alerts_look_at_metrics_that_exist_and_lead_to_the_runbook() {
    let (program, anchors) = (program(), page("docs/runbook.md").anchors());
    for (name, text) in alerts() {
        for metric in words(text, "hydrant_") {
            assert!(is_metric(metric), "{name}: {metric}");
        }
        expect_labels(text.split("annotations:").next().unwrap(), &program);
        let runbook = text.split("runbook: docs/runbook.md#").nth(1);
        let anchor = runbook
            .unwrap_or_default()
            .lines()
            .next()
            .unwrap_or_default();
        assert_eq!(anchor, name.to_lowercase(), "{name}");
        assert!(anchors.contains(anchor), "{name}: no heading #{anchor}");
    }
}

#[test]
fn the_runbook_and_the_tests_of_the_rules_name_alerts_that_exist() {
    let known: BTreeSet<_> = alerts().into_iter().map(|(name, _)| name).collect();
    for text in [RUNBOOK, RULES_TEST] {
        for name in words(text, "Hydrant") {
            assert!(name == "Hydrant" || known.contains(name), "{name}");
        }
    }
    assert!(words(RULES_TEST, "Hydrant").len() >= 3);
}

/// The values of a key of the unit.
fn unit(key: &str) -> Vec<&'static str> {
    let lines = UNIT.lines().filter_map(|line| line.split_once('='));
    lines
        .filter(|(name, _)| *name == key)
        .map(|(_, value)| value)
        .collect()
}

/// The configuration with nothing set that has a default.
fn defaults() -> config::Config {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hydrant.toml");
    fs::write(&file, "database.url = \"postgres://h/d\"").unwrap();
    config::load(Some(&file)).unwrap()
}

#[test]
fn the_unit_gives_the_daemon_the_time_that_it_takes() {
    let words: Vec<&str> = unit("ExecStart")[0].split(' ').collect();
    assert_eq!(words[0], "hydrant");
    assert!(takes(&words[1..]), "{words:?}");
    assert_eq!(unit("Type"), ["notify"]);
    let seconds = |key| unit(key)[0].parse::<u64>().unwrap();
    let defaults = defaults();
    assert!(seconds("TimeoutStopSec") > defaults.shutdown_secs);
    let statement = defaults.database.statement_timeout_ms / 1000;
    assert!(seconds("WatchdogSec") > 2 * statement + 60);
}

/// What the unit's environment file sets overrides the configuration that is installed beside it.
#[tokio::test]
async fn the_database_of_the_environment_file_is_the_one_that_is_used() {
    let shown = "HYDRANT__DATABASE__URL";
    for text in [UNIT, &page("docs/deploy.md").text, EXAMPLE] {
        assert!(text.contains(shown), "{text}");
    }
    let db = database().await;
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/config/hydrant.toml");
    let migrated = run(&["migrate", "--config", file], &[(shown, &db.url)], b"");
    assert_eq!(migrated.status, 0, "{}", migrated.err);
    let tables = db.rows("select count(*) from events").await;
    assert_eq!(tables, ["0"]);
}

/// What a policy document of Terraform allows, by the queue that it is about.
fn allowed(document: &str, queue: &str) -> BTreeSet<String> {
    let start = format!("data \"aws_iam_policy_document\" \"{document}\"");
    let text = TERRAFORM.split(&start).nth(1).unwrap();
    let text = text.split("\n}").next().unwrap();
    let about = format!("resources = [aws_sqs_queue.{queue}.arn]");
    let statement = text.split("statement {").find(|it| it.contains(&about));
    let actions = statement.unwrap().split("actions").nth(1).unwrap();
    let actions = actions.split(']').next().unwrap().split('"');
    let actions = actions.filter(|it| it.starts_with("sqs:"));
    actions.map(str::to_owned).collect()
}

/// What a statement of docs/aws.md allows on this queue, to the sender or to Hydrant.
fn documented(queue: &str, is_sender: bool) -> BTreeSet<String> {
    let aws = page("docs/aws.md");
    let policies = aws
        .blocks("json")
        .into_iter()
        .map(|json| serde_json::from_str::<Value>(json).unwrap());
    let statements: Vec<Value> = policies
        .filter_map(|it| it["Statement"].as_array().cloned())
        .flatten()
        .collect();
    let about = |it: &&Value| {
        let resource = it["Resource"].as_str().unwrap_or_default();
        resource.ends_with(&format!(":{queue}"))
            && it["Principal"].is_object() == is_sender
            && resource.contains(":sqs:")
    };
    let statement = statements.iter().find(about).unwrap();
    match &statement["Action"] {
        Value::String(action) => BTreeSet::from([action.clone()]),
        actions => serde_json::from_value(actions.clone()).unwrap(),
    }
}

#[test]
fn terraform_allows_what_the_documents_say_and_no_more() {
    assert_eq!(
        allowed("sender", "firehose"),
        documented("tune-firehose", true)
    );
    assert_eq!(
        allowed("consumer", "firehose"),
        documented("tune-firehose", false)
    );
    assert_eq!(
        allowed("consumer", "dead"),
        documented("tune-firehose-dead", false)
    );
    let aws = page("docs/aws.md").text;
    let sender = TERRAFORM
        .split('"')
        .find(|it| it.contains(":user/"))
        .unwrap();
    assert!(aws.contains(sender), "{sender}");
}

/// The documents of a YAML text.
fn yaml(text: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// Whether the program takes these settings.
fn loads(toml: &str) -> Result<(), String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hydrant.toml");
    fs::write(&file, toml).unwrap();
    let loaded = config::load(Some(&file));
    loaded.map(drop).map_err(|error| format!("{error:#}"))
}

#[test]
fn kubernetes_runs_the_program_as_it_is() {
    let documents = yaml(KUBERNETES);
    let of_kind = |kind: &str| documents.iter().find(|it| it["kind"] == kind).unwrap();
    let pod = &of_kind("Deployment")["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    let arguments: Vec<&str> = container["args"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it.as_str().unwrap())
        .collect();
    assert!(takes(&arguments), "{arguments:?}");
    let toml = of_kind("ConfigMap")["data"]["hydrant.toml"]
        .as_str()
        .unwrap();
    loads(&format!("database.url = \"postgres://h/d\"\n{toml}")).unwrap();
    let port = container["ports"][0]["containerPort"].as_u64().unwrap();
    assert!(toml.contains(&format!("listen = \"0.0.0.0:{port}\"")));
    let program = program();
    for probe in ["livenessProbe", "readinessProbe"] {
        let path = container[probe]["httpGet"]["path"].as_str().unwrap();
        assert!(program.contains(&format!("\"{path}\"")), "{path}");
    }
    let grace = pod["terminationGracePeriodSeconds"].as_u64().unwrap();
    assert!(grace > defaults().shutdown_secs);
}

#[test]
fn compose_sets_variables_that_exist() {
    let compose = yaml(COMPOSE).remove(0);
    let variables = compose["services"]["hydrant"]["environment"]
        .as_object()
        .unwrap();
    let variables: Vec<(&str, &str)> = variables
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str().unwrap()))
        .collect();
    // Whoever answers there: 2 would be settings that are not understood.
    let finished = run(&["healthcheck"], &variables, b"");
    assert_ne!(finished.status, 2, "{}", finished.err);
}

/// Two that build the same image at the same time would be in each other's way.
#[test]
fn compose_builds_one_image_once() {
    let compose = yaml(COMPOSE).remove(0);
    let services = compose["services"].as_object().unwrap();
    let built = services.iter().filter(|(_, it)| !it["build"].is_null());
    let built: Vec<&String> = built.map(|(name, _)| name).collect();
    assert_eq!(built, ["hydrant"]);
    assert_eq!(services["queue"]["pull_policy"], "never");
}

#[test]
fn every_yaml_and_json_file_is_one() {
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy")];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let text = || fs::read_to_string(&path).unwrap();
            match path.extension().and_then(|it| it.to_str()) {
                None if path.is_dir() => folders.push(path),
                Some("yml" | "yaml") => assert!(!yaml(&text()).is_empty(), "{}", path.display()),
                Some("json") => drop(serde_json::from_str::<Value>(&text()).unwrap()),
                _ => continue,
            }
            files += 1;
        }
    }
    assert!(files > 8, "{files}");
}
