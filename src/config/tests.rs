use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::Path;

use super::*;
use crate::formats::everflow;
use crate::formats::everflow::event_type::{EVENT_TYPES, EventType};

const EXAMPLE: &str = include_str!("../../config/hydrant.toml");
/// How keys end that have no default, and the one that is another here.
const WITHOUT_DEFAULT: [&str; 16] = [
    "files.path",
    ".bucket",
    "max_inflight_bytes",
    "database.url",
    ".type",
    ".format",
    ".queue_url",
    ".stream",
    ".auth",
    ".auth_header",
    ".username",
    ".secrets",
    ".event_type",
    "everflow.network_id",
    "conversions.network_id",
    "everflow.fields.revenue_usd",
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

fn queue<'a>(config: &'a Config, source: &str) -> (&'a SqsQueue, &'a Format) {
    let SourceKind::Sqs { queue, format } = &config.source[source].kind else {
        panic!("{source} is no queue");
    };
    (queue, format)
}

fn network(id: &str) -> Format {
    Format::Hasoffers {
        network_id: Some(id.to_owned()),
    }
}

/// The example with the sources that are commented out there, and memory for all of them at once.
fn example() -> String {
    let bare = |line: &str| match line.strip_prefix('#') {
        Some(bare) if bare.starts_with(|c: char| c != ' ') => bare.to_owned(),
        _ if line
            .trim_start_matches("# ")
            .starts_with("max_inflight_bytes = ") =>
        {
            "max_inflight_bytes = 1073741824".to_owned()
        }
        _ => line.to_owned(),
    };
    EXAMPLE.lines().map(bare).collect::<Vec<_>>().join("\n")
}

/// Its lines, each with the key that it sets; `# key = …` counts as one.
fn lines_with_keys() -> Vec<(String, Option<String>)> {
    let mut table = String::new();
    example()
        .lines()
        .map(|line| {
            if let Some(name) = line.strip_prefix('[') {
                table = format!("{}.", name.trim_end_matches(']'));
            }
            let name = line.strip_prefix("# ").unwrap_or(line).split_once(" = ");
            let name = name
                .map(|(name, _)| name)
                .filter(|name| !name.contains(' '));
            (line.to_owned(), name.map(|name| format!("{table}{name}")))
        })
        .collect()
}

/// The example with every key that is commented out.
fn without_comments() -> String {
    let lines = lines_with_keys().into_iter().map(|(line, key)| match key {
        Some(_) => line.trim_start_matches("# ").to_owned(),
        None => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_example_shows_every_key_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hydrant.toml");
    std::fs::write(&file, without_comments()).unwrap();
    let mut given = given(Some(&file), &[]);
    keys::config(&mut given);
    let keys = lines_with_keys().into_iter().filter_map(|(_, key)| key);
    let shown: Vec<String> = keys.collect();
    // What several sources have is explained once.
    let last = |key: &str| key.rsplit('.').next().unwrap().to_owned();
    let explained: BTreeSet<String> = shown.iter().map(|key| last(key)).collect();
    let known = given.known.into_iter();
    let known = known.filter(|key| {
        let is_of_source = key.starts_with("source.");
        shown.contains(key) || !(is_of_source && explained.contains(&last(key)))
    });
    let known: BTreeSet<String> = known.collect();
    assert_eq!(shown.iter().cloned().collect::<BTreeSet<_>>(), known);
    assert_eq!(shown.len(), known.len(), "a key is shown twice");
}

#[test]
fn each_value_of_the_example_is_the_default() {
    let (example, whole) = (example(), read(&example(), &[]).unwrap());
    for (at, (line, key)) in lines_with_keys().into_iter().enumerate() {
        let Some(key) = key.filter(|key| !WITHOUT_DEFAULT.iter().any(|end| key.ends_with(end)))
        else {
            continue;
        };
        let lines = example.lines().enumerate();
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
fn the_memory_of_the_example_is_the_default() {
    let default = keys::config(&mut given(None, &[])).max_inflight_bytes;
    assert!(EXAMPLE.contains(&format!("max_inflight_bytes = {default}\n")));
}

#[test]
fn each_example_of_a_key_without_default_is_allowed() {
    let optional: BTreeSet<String> = lines_with_keys()
        .into_iter()
        .filter_map(|(line, key)| key.filter(|_| line.starts_with('#')))
        .collect();
    let config = read(&without_comments(), &[]).unwrap();
    let (queue, format) = queue(&config, "hasoffers");
    assert_eq!(queue.region.as_deref(), Some("us-east-1"));
    assert_eq!(queue.endpoint_url.as_deref(), Some("http://127.0.0.1:4566"));
    assert_eq!(*format, network("29"));
    let SourceKind::S3 { bucket, .. } = &config.source["recurly"].kind else {
        panic!("source.recurly is no bucket");
    };
    assert_eq!(bucket.access_key_id.as_deref(), Some("AKIA2EXAMPLE"));
    let SourceKind::Kinesis { stream, format } = &config.source["hasoffers_stream"].kind else {
        panic!("{:?}", config.source);
    };
    assert_eq!(stream.region.as_deref(), Some("us-east-1"));
    assert_eq!(
        stream.endpoint_url.as_deref(),
        Some("http://127.0.0.1:4566")
    );
    assert_eq!(*format, network("29"));
    assert_eq!(
        config.retention,
        Retention {
            events_days: Some(400),
            personal_days: Some(90),
            personal_keep: vec!["transaction_id".to_owned(), "promo_code".to_owned()],
        }
    );
    assert_eq!(optional.len(), 17, "{optional:?}");
}

#[test]
fn a_stream_begins_where_it_is_told() {
    let start = |value: &str| {
        let variable = ("HYDRANT__SOURCE__HASOFFERS_STREAM__START", value);
        let config = read(&example(), &[variable])?;
        match &config.source["hasoffers_stream"].kind {
            SourceKind::Kinesis { stream, .. } => anyhow::Ok(stream.start),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(start("trim_horizon").unwrap(), Start::TrimHorizon);
    assert_eq!(start("latest").unwrap(), Start::Latest);
    let time = "2026-11-22T01:00:00.5+01:00";
    assert_eq!(start(time).unwrap(), Start::At(1_795_305_600_500));
    for wrong in ["yesterday", "2026-11-22", "LATEST"] {
        let said = start(wrong).unwrap_err().to_string();
        assert!(said.contains(wrong) && said.contains("must be"), "{said}");
    }
}

#[test]
fn a_stream_is_a_name_or_an_arn() {
    let given = |stream: &str, region: &str| {
        let key = |key: &str| format!("HYDRANT__SOURCE__HASOFFERS_STREAM__{key}");
        let (stream_key, region_key) = (key("STREAM"), key("REGION"));
        let variables = [(stream_key.as_str(), stream), (&region_key, region)];
        read(&example(), &variables).map(drop)
    };
    let arn = "arn:aws:kinesis:eu-west-1:123456789012:stream/feed";
    assert!(given("my_feed.of-1", "eu-west-1").is_ok());
    assert!(given(arn, "").is_ok());
    assert!(given(arn, "eu-west-1").is_ok());
    let said = given(arn, "us-east-1").unwrap_err().to_string();
    assert!(said.contains("contradicts stream"), "{said}");
    for wrong in [
        "a feed",
        "arn:aws:sqs:eu-west-1:123456789012:feed",
        "http://h/q",
    ] {
        let said = given(wrong, "").unwrap_err().to_string();
        assert!(
            said.contains("STREAM") && said.contains("must be"),
            "{said}"
        );
    }
}

/// The example with its Everflow source, and these lines replaced.
fn read_everflow(replaced: &[(&str, &str)]) -> anyhow::Result<everflow::Settings> {
    let mut text = example();
    for (line, other) in replaced {
        assert!(text.contains(line), "{line}");
        text = text.replace(line, other);
    }
    let config = read(&text, &[])?;
    match queue(&config, "everflow").1 {
        Format::Everflow(settings) => Ok(everflow::Settings::clone(settings)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_example_of_everflow_shows_what_it_takes() {
    let settings = read_everflow(&[]).unwrap();
    assert_eq!(settings.event_type, EventType::Firehose);
    assert_eq!(settings.network_id.as_deref(), Some("1"));
    assert_eq!(settings.fields["revenue_usd"], "revenue");
    for (word, event_type) in EVENT_TYPES {
        assert!(EXAMPLE.contains(&format!("\"{word}\"")), "{word}");
        let line = format!("event_type = \"{word}\"");
        let settings = read_everflow(&[("event_type = \"firehose\"", &line)]).unwrap();
        assert_eq!(settings.event_type, event_type);
    }
}

#[test]
fn what_makes_no_sense_of_everflow_is_refused() {
    let event_type = "event_type = \"firehose\"";
    let fields = "revenue_usd = \"revenue\"";
    for (replaced, said) in [
        (
            vec![(event_type, "")],
            "source.everflow.event_type is missing",
        ),
        (
            vec![(event_type, "event_type = \"clicks\"")],
            "must be \"conversion\" or",
        ),
        (
            vec![
                (event_type, "event_type = \"event\""),
                ("network_id = \"1\"", ""),
            ],
            "source.everflow.network_id is missing",
        ),
        (
            vec![("network_id = \"1\"", "network_id = \" \"")],
            "must have 1 to 255 bytes",
        ),
        (
            vec![(fields, "revenue_usd = \"revenues\"")],
            "source.everflow.fields.revenue_usd = \"revenues\"",
        ),
        (vec![(fields, "revenue_usd = 1")], "must be text, in quotes"),
        (
            vec![(event_type, "event_type = \"event\"\nfield = 1")],
            "is not a key of hydrant",
        ),
    ] {
        let error = read_everflow(&replaced).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
}

#[test]
fn events_without_ids_come_by_what_tells_repetitions_apart() {
    let config = read(&example(), &[]).unwrap();
    let recurly = &config.source["recurly"].kind;
    assert!(
        matches!(recurly, SourceKind::S3 { format, .. } if *format == Format::Recurly),
        "{recurly:?}"
    );
    for source in ["HASOFFERS", "HASOFFERS_STREAM"] {
        let variable = format!("HYDRANT__SOURCE__{source}__FORMAT");
        let error = read(&example(), &[(&variable, "recurly")]).unwrap_err();
        let said = error.to_string();
        assert!(said.contains("has no ids of events"), "{said}");
    }
}

#[test]
fn a_worker_for_objects_has_memory_for_a_body_of_any_size() {
    let needed = |workers: &str| {
        let text = format!(
            "database.url = \"postgres://h/d\"\nmax_inflight_bytes = 1048576\n[source.b]\ntype = \"s3\"\nbucket = \"acme\"\n\
             format = \"hasoffers\"\n{workers}"
        );
        read(&text, &[]).unwrap_err().to_string()
    };
    let mib = |count: usize| format!("must be at least {}, which is {count} MiB:", count << 20);
    let one = needed("");
    assert!(one.contains(&mib(8 + 8 + 64 + 64)), "{one}");
    let two = needed("workers = 2\n");
    assert!(two.contains(&mib(2 * (8 + 8 + 64) + 64)), "{two}");
}

#[test]
fn the_memory_that_nobody_set_is_enough_for_the_sources() {
    let memory = |sources: &str, variables: &[(&str, &str)]| {
        let text = format!("database.url = \"postgres://h/d\"\n{sources}");
        read(&text, variables).map(|config| config.max_inflight_bytes)
    };
    let files = "[source.f]\ntype = \"file\"\npath = \"/f\"\nformat = \"hasoffers\"\n";
    let listener = |name: &str, port: u16| {
        format!(
            "[source.{name}]\ntype = \"http\"\nlisten = \"127.0.0.1:{port}\"\n[source.{name}.route.r]\n\
             format = \"recurly\"\nauth = \"none\"\n"
        )
    };
    assert_eq!(memory(files, &[]).unwrap(), 256 << 20);
    let three = format!("{files}{}{}", listener("a", 1), listener("b", 2));
    let needed = (8 + 8 + 64) + 2 * (2 * (8 + 4) + 64) + 64;
    assert!(needed > 256);
    assert_eq!(memory(&three, &[]).unwrap(), needed << 20);
    let written = ("HYDRANT__MAX_INFLIGHT_BYTES", "268435456");
    let said = memory(&three, &[written]).unwrap_err().to_string();
    assert!(said.contains(&format!("{needed} MiB")), "{said}");
}

#[test]
fn the_names_of_objects_are_those_of_the_vendor_or_any() {
    let bucket = |format: &str, more: &str| {
        let text = format!(
            "database.url = \"postgres://h/d\"\n[source.b]\ntype = \"s3\"\nbucket = \"acme\"\nformat = \"{format}\"\n{more}"
        );
        match &read(&text, &[]).unwrap().source["b"].kind {
            SourceKind::S3 { bucket, .. } => (bucket.prefix.clone(), bucket.name_prefix.clone()),
            other => panic!("{other:?}"),
        }
    };
    let names = |prefix: &str, name: &str| (prefix.to_owned(), name.to_owned());
    assert_eq!(bucket("recurly", ""), names("exports/", "usages"));
    assert_eq!(bucket("hasoffers", ""), names("", ""));
    let emptied = "prefix = \"\"\nname_prefix = \"\"\n";
    assert_eq!(bucket("recurly", emptied), names("", ""));
    let given = "prefix = \"2026/\"\nname_prefix = \"tune-\"\n";
    assert_eq!(bucket("hasoffers", given), names("2026/", "tune-"));
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
    assert_eq!(*queue(&config, "my_feed").1, network("007"));
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
fn a_database_url_that_loses_to_the_file_is_told() {
    let in_file = "[database]\nurl = \"postgres://file/d\"";
    let told =
        |text: &str, variables: &[(&str, &str)]| read(text, variables).unwrap().warnings.len();
    let plain = ("DATABASE_URL", "postgres://plain:geheim@h/d");
    let own = ("HYDRANT__DATABASE__URL", "postgres://own/d");
    assert_eq!(told(in_file, &[plain]), 1);
    let warning = read(in_file, &[plain]).unwrap().warnings.remove(0).found;
    assert!(
        warning.contains("hydrant.toml, line 2") && !warning.contains("geheim"),
        "{warning}"
    );
    for (text, variables) in [
        ("", &[plain][..]),
        (in_file, &[("DATABASE_URL", "postgres://file/d")]),
        (in_file, &[("DATABASE_URL", "")]),
        // Who sets Hydrant's own variable as well knows which one counts.
        (in_file, &[plain, own]),
    ] {
        assert_eq!(told(text, variables), 0, "{text} {variables:?}");
    }
}

#[test]
fn a_password_is_in_no_debug_output() {
    let secrets = "HYDRANT__SOURCE__WEBHOOKS__ROUTE__CLICKS__SECRETS";
    let config = read(&example(), &[(secrets, "geheim-0123456789")]).unwrap();
    assert!(!format!("{config:?}").contains("geheim"));
    let config = read("", &[("DATABASE_URL", "postgres://u:geheim@h/d")]).unwrap();
    assert!(!format!("{config:?}").contains("geheim"));
    let id = ("HYDRANT__SOURCE__RECURLY__ACCESS_KEY_ID", "id");
    let key = ("HYDRANT__SOURCE__RECURLY__SECRET_ACCESS_KEY", "geheim");
    let config = read(&example(), &[id, key]).unwrap();
    assert!(!format!("{config:?}").contains("geheim"));
    let error = read(&example(), &[key]).unwrap_err().to_string();
    assert!(
        error.contains("belong together") && !error.contains("geheim"),
        "{error}"
    );
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

#[test]
fn nothing_is_deleted_that_may_come_again() {
    const DATABASE: &str = "database.url = \"postgres://h/d\"\n";
    let kept = |lines: &str| read(&format!("{DATABASE}{lines}"), &[]);
    assert_eq!(kept("").unwrap().retention, Retention::default());
    for key in ["events_days", "personal_days"] {
        kept(&format!("retention.{key} = 28")).unwrap();
        let told = kept(&format!("retention.{key} = 27"))
            .unwrap_err()
            .to_string();
        let begins = format!("retention.{key} = 27 (");
        let ends = "line 2) must be at least 28: a message may come again for 14 days from its queue and for 14 more after it was \
                    sent back from the dead-letter queue, and an event that is gone by then would be stored a second time";
        assert!(told.starts_with(&begins) && told.ends_with(ends), "{told}");
    }
}

#[test]
fn what_is_blanked_anyway_cannot_be_kept() {
    let keep = |list: &str| {
        let url = ("HYDRANT__DATABASE__URL", "postgres://h/d");
        read("", &[url, ("HYDRANT__RETENTION__PERSONAL_KEEP", list)])
    };
    let kept = keep("promo_code, transaction_id").unwrap().retention;
    assert_eq!(kept.personal_keep, ["promo_code", "transaction_id"]);
    for no_column in ["payout", "extra", "adress"] {
        let told = keep(no_column).unwrap_err().to_string();
        let begins = format!("retention.personal_keep names {no_column:?}, which is no column");
        assert!(told.starts_with(&begins), "{told}");
    }
}
