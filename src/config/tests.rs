use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::Path;

use super::*;

const EXAMPLE: &str = include_str!("../../config/hydrant.toml");
const REQUIRED: [&str; 4] = [
    "database.url",
    "source.hasoffers.type",
    "source.hasoffers.format",
    "source.hasoffers.queue_url",
];

fn read(text: &str, variables: &[(&str, &str)]) -> anyhow::Result<Config> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hydrant.toml");
    std::fs::write(&file, text).unwrap();
    understand(given(Some(&file), variables))
}

fn given(file: Option<&Path>, variables: &[(&str, &str)]) -> Given {
    let variables = variables
        .iter()
        .map(|(name, value)| (OsString::from(name), OsString::from(value)));
    Given::read(file, variables).unwrap()
}

/// The lines of the example, each with the key that it sets; `# key = …` counts as one.
fn lines_with_keys() -> Vec<(&'static str, Option<String>)> {
    let mut table = String::new();
    EXAMPLE
        .lines()
        .map(|line| {
            if let Some(name) = line.strip_prefix('[') {
                table = format!("{}.", name.trim_end_matches(']'));
            }
            let name = line.strip_prefix("# ").unwrap_or(line).split_once(" = ");
            let name = name
                .map(|(name, _)| name)
                .filter(|name| !name.contains(' '));
            (line, name.map(|name| format!("{table}{name}")))
        })
        .collect()
}

#[test]
fn the_example_shows_every_key_and_no_other() {
    let mut given = given(None, &[]);
    keys::config(&mut given);
    let known: BTreeSet<String> = given
        .known
        .into_iter()
        .chain(keys::of_source("hasoffers"))
        .collect();
    let shown: Vec<String> = lines_with_keys()
        .into_iter()
        .filter_map(|(_, key)| key)
        .collect();
    assert_eq!(shown.iter().cloned().collect::<BTreeSet<_>>(), known);
    assert_eq!(shown.len(), known.len(), "a key is shown twice");
}

#[test]
fn each_value_of_the_example_is_the_default() {
    let whole = read(EXAMPLE, &[]).unwrap();
    for (at, (line, key)) in lines_with_keys().into_iter().enumerate() {
        let Some(key) = key.filter(|key| !REQUIRED.contains(&key.as_str())) else {
            continue;
        };
        let lines = EXAMPLE.lines().enumerate();
        let without: Vec<&str> = lines
            .filter(|(n, _)| *n != at)
            .map(|(_, line)| line)
            .collect();
        assert_eq!(
            read(&without.join("\n"), &[]).unwrap(),
            whole,
            "{key}: {line}"
        );
    }
}

#[test]
fn each_example_of_a_key_without_default_is_allowed() {
    let optional: BTreeSet<String> = lines_with_keys()
        .into_iter()
        .filter_map(|(line, key)| key.filter(|_| line.starts_with('#')))
        .collect();
    let text: Vec<&str> = lines_with_keys()
        .into_iter()
        .map(|(line, key)| match key {
            Some(_) => line.trim_start_matches("# "),
            None => line,
        })
        .collect();
    let source = read(&text.join("\n"), &[]).unwrap().source["hasoffers"].clone();
    assert_eq!(source.region.as_deref(), Some("us-east-1"));
    assert_eq!(
        source.endpoint_url.as_deref(),
        Some("http://127.0.0.1:4566")
    );
    assert_eq!(source.network_id.as_deref(), Some("29"));
    assert_eq!(optional.len(), 3, "{optional:?}");
}

#[test]
fn the_environment_alone_is_enough_and_its_text_stays_as_it_is() {
    let url = r##"postgres://u:[1,2]{a=b}"c"'d'=%23#@h/d"##;
    let source = |key: &str| format!("HYDRANT__SOURCE__MY_FEED__{key}");
    let names = ["TYPE", "FORMAT", "QUEUE_URL", "NETWORK_ID", "WORKERS"].map(source);
    let values = ["sqs", "hasoffers", "http://127.0.0.1:1/0/q", "007", "3"];
    let mut variables: Vec<(&str, &str)> = names.iter().map(String::as_str).zip(values).collect();
    variables.extend([
        (
            "HYDRANT__DATABASE__URL",
            "postgres://u:[1,2]{a=b}\"c\"'d'=,%23@h/d",
        ),
        ("HYDRANT__DATABASE__SCHEMA", "123"),
        ("HYDRANT__SHUTDOWN_SECS", "7"),
        ("HYDRANT__ADMIN__LISTEN", ""),
        ("HYDRANT_SERVICE_HOST", "what Kubernetes sets"),
    ]);
    let config = understand(given(None, &variables)).unwrap();
    assert_eq!(
        config.database.url.0,
        "postgres://u:[1,2]{a=b}\"c\"'d'=,%23@h/d"
    );
    assert_eq!(config.database.schema, "123");
    assert_eq!(config.shutdown_secs, 7);
    assert_eq!(config.admin.listen.port(), 9464);
    assert_eq!(config.source["my_feed"].network_id.as_deref(), Some("007"));
    assert_eq!(config.source["my_feed"].workers, 3);
    // An address that is none is kept as it is as well, up to the refusal.
    let mut given = given(None, &[("DATABASE_URL", url)]);
    assert_eq!(keys::config(&mut given).database.url.0, url);
}

#[test]
fn the_nearer_setting_wins() {
    let in_file = "[database]\nurl = \"postgres://file/d\"";
    let url =
        |text: &str, variables: &[(&str, &str)]| read(text, variables).unwrap().database.url.0;
    let plain = ("DATABASE_URL", "postgres://plain/d");
    let own = ("HYDRANT__DATABASE__URL", "postgres://own/d");
    assert_eq!(url(in_file, &[plain]), "postgres://file/d");
    assert_eq!(url("", &[plain]), "postgres://plain/d");
    assert_eq!(url("", &[own, plain]), "postgres://own/d");
    assert_eq!(url("", &[plain, own]), "postgres://own/d");
    assert_eq!(url(in_file, &[own, plain]), "postgres://own/d");
}

#[test]
fn a_password_is_in_no_debug_output() {
    let config = read("", &[("DATABASE_URL", "postgres://u:geheim@h/d")]).unwrap();
    assert!(!format!("{config:?}").contains("geheim"));
}

#[test]
fn a_body_may_have_256_mib_and_no_more() {
    let with = |bytes: u64| {
        let roomy = ("HYDRANT__MAX_INFLIGHT_BYTES", "1073741824");
        let bytes = bytes.to_string();
        let body = ("HYDRANT__SOURCE__HASOFFERS__MAX_BODY_BYTES", bytes.as_str());
        read(EXAMPLE, &[roomy, body])
    };
    let most = 256 << 20;
    assert_eq!(
        with(most).unwrap().source["hasoffers"].max_body_bytes,
        268_435_456
    );
    let error = with(most + 1).unwrap_err().to_string();
    assert!(error.contains("MAX_BODY_BYTES"), "{error}");
}
