//! Whatever has a meaning is read, however it is spelled.

use crate::support::{
    Daemon, Database, Queue, base64, body, conversion, database, envelope, gzip, nested,
};

async fn expect_no_quarantine(database: &Database) {
    let sql = "select reason, detail, event_id from quarantine";
    assert_eq!(database.rows(sql).await, [""; 0]);
}

/// An envelope with one event, of this id.
fn one(id: &str) -> String {
    envelope(&format!("[{}]", conversion(id)))
}

/// The same in base64 with all of its characters.
fn varied(id: &str) -> String {
    let noise: String = (0x400..0x680).filter_map(char::from_u32).collect();
    let event = conversion(id).replacen('{', &format!(r#"{{"url":"{noise}","#), 1);
    let text = body(&envelope(&event));
    assert!(text.contains('+') && text.contains('/'));
    text
}

fn url_safe(id: &str) -> String {
    varied(id).replace('+', "-").replace('/', "_")
}

fn unpadded(text: String) -> String {
    text.trim_end_matches('=').to_owned()
}

fn in_lines(text: String) -> String {
    let lines: Vec<&str> = text
        .as_bytes()
        .chunks(76)
        .map(|line| str::from_utf8(line).unwrap())
        .collect();
    lines.join("\r\n") + "\n"
}

fn in_two_members(id: &str) -> String {
    let text = one(id);
    let (first, second) = text.split_at(40);
    base64(&[gzip(first.as_bytes()), gzip(second.as_bytes())].concat())
}

fn quoted(json: &str) -> String {
    serde_json::to_string(json).unwrap()
}

/// A body with one event of this id.
type Spelling = fn(&str) -> String;

/// Name and body. Each has one event, whose id is the name.
fn bodies() -> Vec<(&'static str, String)> {
    let spellings: [(&str, Spelling); 23] = [
        ("base64 of gzip", |id| body(&one(id))),
        ("unpadded", |id| unpadded(varied(id))),
        ("url-safe", url_safe),
        ("url-safe and unpadded", |id| unpadded(url_safe(id))),
        ("in lines", |id| in_lines(varied(id))),
        ("url-safe in lines", |id| in_lines(url_safe(id))),
        ("plain JSON", one),
        ("space around", |id| format!("\n {}\n", one(id))),
        ("byte order mark", |id| format!("\u{feff}{}", one(id))),
        ("byte order mark in gzip", |id| {
            body(&format!("\u{feff}{}", one(id)))
        }),
        ("base64 of JSON", |id| base64(one(id).as_bytes())),
        ("two gzip members", in_two_members),
        ("trailing bytes", |id| {
            base64(&[gzip(one(id).as_bytes()), vec![0; 5]].concat())
        }),
        ("one event as data", |id| body(&envelope(&conversion(id)))),
        ("one event with an array", |id| {
            body(&envelope(&conversion(id).replacen(
                '{',
                r#"{"tags":[1],"#,
                1,
            )))
        }),
        ("an object with an array", |id| {
            body(&envelope(&format!(
                r#"{{"count":1,"events":[{}]}}"#,
                conversion(id)
            )))
        }),
        ("an array in a text", |id| {
            body(&envelope(&quoted(&format!("[{}]", conversion(id)))))
        }),
        ("an event in a text", |id| {
            body(&envelope(&quoted(&conversion(id))))
        }),
        ("no classes", |id| {
            body(&format!(
                r#"{{"network_id":"acme","data":{}}}"#,
                conversion(id)
            ))
        }),
        ("blank classes", |id| {
            let classes = r#""target_class":null,"dispatch_class":"""#;
            body(&format!(
                r#"{{"network_id":"acme",{classes},"data":{}}}"#,
                conversion(id)
            ))
        }),
        ("data first", |id| {
            body(&format!(
                r#"{{"data":{},"network_id":"acme"}}"#,
                conversion(id)
            ))
        }),
        ("two networks", |id| {
            body(&format!(
                r#"{{"network_id":"x","network_id":"acme","data":{}}}"#,
                conversion(id)
            ))
        }),
        ("a test dispatch", |id| {
            body(&one(id).replacen(r#""is_test":0"#, r#""is_test":1"#, 1))
        }),
    ];
    spellings.map(|(name, spell)| (name, spell(name))).into()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_spelling_of_a_body_is_read() {
    let (queue, database) = (Queue::start().await, database().await);
    let all = bodies();
    queue
        .send(&all.iter().map(|(_, body)| body.clone()).collect::<Vec<_>>())
        .await;
    // Nothing to do is nothing bad.
    let empty = ["[]", "{}", r#"{"events":[]}"#, r#""[]""#];
    queue.send(&empty.map(|data| body(&envelope(data)))).await;

    let daemon = Daemon::start(&database.url, &[&queue], "").await;
    queue.drained(30).await;

    expect_no_quarantine(&database).await;
    let mut expected: Vec<String> = all
        .iter()
        .map(|(name, _)| format!("{name}|acme|1.5|2"))
        .collect();
    expected.sort();
    let sql = "select event_id, network_id, payout, revenue from events";
    let mut stored = database.rows(sql).await;
    stored.sort();
    assert_eq!(stored, expected);
    assert_eq!(daemon.metric("hydrant_trailing_bytes_total", "").await, 5.0);
    let empty = daemon
        .metric("hydrant_bodies_total", r#"outcome="empty""#)
        .await;
    assert_eq!(empty, 4.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_network_is_the_envelopes_or_the_events_or_the_sources() {
    let (queue, database) = (Queue::start().await, database().await);
    let with = |network: &str, event: &str| {
        event.replacen('{', &format!(r#"{{"network_id":{network},"#), 1)
    };
    let events = format!(
        "{},{}",
        with("4711", &conversion("own")),
        conversion("none")
    );
    let acme = with(r#""acme""#, &conversion("both"));
    queue
        .send(&[
            body(&format!(r#"{{"data":[{events}]}}"#)),
            body(&format!(
                r#"{{"network_id":"","data":{}}}"#,
                conversion("blank")
            )),
            body(&format!(
                r#"{{"network_id":12,"data":{}}}"#,
                conversion("a number")
            )),
            body(&envelope(&acme)),
        ])
        .await;
    let settings = r#"source.one.network_id = "of the source""#;
    let _daemon = Daemon::start(&database.url, &[&queue], settings).await;
    queue.drained(30).await;
    expect_no_quarantine(&database).await;
    let sql = "select event_id, network_id from events order by 1";
    let expected = [
        "a number|12",
        "blank|of the source",
        "both|acme",
        "none|of the source",
        "own|4711",
    ];
    assert_eq!(database.rows(sql).await, expected);
}

/// Members of a conversion => what to select => what comes out.
const FIELDS: &str = r#"
"offer_id":"1029" => offer_id, extra => 1029|NULL
"offer_id":1029.0 => offer_id, extra => 1029|NULL
"offer_id":" 1029 " => offer_id, extra => 1029|NULL
"offer_id":9223372036854775807 => offer_id => 9223372036854775807
"num":"","payout":null,"status":"","new":"" => num, payout, status, extra => NULL|NULL|NULL|NULL
"payout":"1.50" => payout => 1.5
"payout":1e-05 => payout => 0.00001
"payout":-0.000000000001 => payout => -0.000000000001
"payout":999999999999999.999999999999 => payout => 999999999999999.999999999999
"payout":0.1,"revenue":"0.2" => payout + revenue => 0.3
"datetime":"2026-03-04T05:06:07" => datetime, event_day => 2026-03-04 05:06:07|2026-03-04
"created_timestamp":1772600767 => created_timestamp, event_day => 1772600767|2026-03-04
"created_timestamp":9223372036854775807 => created_timestamp, event_day => 9223372036854775807|1970-01-01
"date":"2026-03-05","datetime":"2026-03-04 05:06:07" => event_day => 2026-03-05
"update_stats":true => update_stats => t
"update_stats":false => update_stats => f
"update_stats":1 => update_stats => t
"update_stats":0 => update_stats => f
"update_stats":"True" => update_stats => t
"update_stats":"FALSE" => update_stats => f
"update_stats":"1" => update_stats => t
"update_stats":"0" => update_stats => f
"update_stats":"" => update_stats, extra => NULL|NULL
"status":"pending","status":"approved" => status => approved
"status":"pending","st\u0061tus":"" => status => NULL
"payout":"ten","payout":10 => payout, extra => 10|NULL
"new":1,"new":{"b":1,"a":[1.0,"x"]} => extra => {"new": {"a": [1, "x"], "b": 1}}
"new":1e400 => extra => {"new": "1e400"}
"source":12.50 => source => 12.5
"source":true => source => true
"source":"\ud83d\ude00" => source => 😀
"tune_event_id":12 => tune_event_id, record_id => 12|12
"tune_event_id":"","transaction_id":77 => tune_event_id, record_id = event_id, transaction_id => NULL|t|77
"#;

/// As [`FIELDS`]: known fields whose values do not fit.
const MISFITS: &str = r#"
"offer_id":"ten" => offer_id, extra => NULL|{"offer_id": "ten"}
"offer_id":1.5 => offer_id, extra => NULL|{"offer_id": 1.5}
"offer_id":9223372036854775808 => offer_id, extra => NULL|{"offer_id": 9223372036854775808}
"offer_id":[7] => offer_id, extra => NULL|{"offer_id": [7]}
"hour":40000 => hour, extra => NULL|{"hour": 40000}
"status_code":3000000000 => status_code, extra => NULL|{"status_code": 3000000000}
"date":"now" => date, event_day, extra => NULL|1970-01-01|{"date": "now"}
"date":"infinity" => date, event_day, extra => NULL|1970-01-01|{"date": "infinity"}
"date":"2026-02-30" => date, event_day, extra => NULL|1970-01-01|{"date": "2026-02-30"}
"datetime":"2026-03-04 25:00:00" => datetime, event_day, extra => NULL|2026-03-04|{"datetime": "2026-03-04 25:00:00"}
"update_stats":"maybe" => update_stats, extra => NULL|{"update_stats": "maybe"}
"status":{"a":1} => status, extra => NULL|{"status": {"a": 1}}
"current_payout":"NaN" => current_payout, extra => NULL|{"current_payout": "NaN"}
"#;

/// As [`FIELDS`]: texts with what Postgres cannot store.
const REPAIRED: &str = r#"
"source":"a\u0000b" => source => a�b
"source":"a\ud800b" => source => a�b
"source":"\udc00" => source => �
"new":"a\u0000b" => extra => {"new": "a�b"}
"new":{"list":["\ud800"]} => extra => {"new": {"list": ["�"]}}
"#;

fn rows(table: &'static str) -> Vec<[&'static str; 3]> {
    let row = |line: &'static str| -> Option<[&str; 3]> {
        line.split(" => ").collect::<Vec<_>>().try_into().ok()
    };
    table
        .trim()
        .lines()
        .map(|line| row(line).unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_is_stored_as_what_it_means() {
    let (queue, database) = (Queue::start().await, database().await);
    let all = [rows(FIELDS), rows(MISFITS), rows(REPAIRED)].concat();
    let event = |(at, [members, ..]): (usize, &[&str; 3])| {
        format!(r#"{{"event_id":"row-{at}","action":"conversion",{members}}}"#)
    };
    let events: Vec<String> = all.iter().enumerate().map(event).collect();
    queue
        .send(&[body(&envelope(&format!("[{}]", events.join(","))))])
        .await;

    let daemon = Daemon::start(&database.url, &[&queue], "").await;
    queue.drained(30).await;

    expect_no_quarantine(&database).await;
    for (at, [members, columns, expected]) in all.iter().enumerate() {
        let sql = format!("select {columns} from events where event_id = 'row-{at}'");
        assert_eq!(database.rows(&sql).await, [*expected], "{members}");
    }
    let misfits = daemon.metric("hydrant_misfit_fields_total", "").await;
    assert_eq!(misfits, rows(MISFITS).len() as f64);
    let repaired = daemon.metric("hydrant_repaired_texts_total", "").await;
    assert_eq!(repaired, rows(REPAIRED).len() as f64);
}

/// The ids of events in JSON, and as they are stored.
const IDS: &str = r#"
1029 => 1029
1e3 => 1000
-5 => -5
12345678901234567890123 => 12345678901234567890123
" spaced " => spaced
"é😀" => é😀
"0x1'\"\\" => 0x1'"\
"#;

#[tokio::test(flavor = "multi_thread")]
async fn ids_and_kinds_have_many_spellings() {
    let (queue, database) = (Queue::start().await, database().await);
    let longest = "x".repeat(255);
    let mut ids: Vec<(String, &str)> = IDS
        .trim()
        .lines()
        .filter_map(|line| line.split_once(" => "))
        .map(|(raw, stored)| (raw.to_owned(), stored))
        .collect();
    ids.push((format!("\"{longest}\""), &longest));
    let mut events: Vec<String> = ids
        .iter()
        .map(|(raw, _)| format!(r#"{{"action":"impression","event_id":{raw}}}"#))
        .collect();
    events.push(nested("32 levels", 32));
    let mut add = |record: &str, members: &[&str]| {
        let start = format!(r#""action":"conversion","tune_event_id":"{record}""#);
        for (at, member) in members.iter().enumerate() {
            events.push(format!(
                r#"{{"event_id":"{record}-{at}",{start},"adjust_action":{member}}}"#
            ));
        }
    };
    add("standard", &["null", r#""""#, r#""  ""#]);
    add(
        "create",
        &["1", r#""1""#, r#""create""#, r#""CREATE""#, "1.0"],
    );
    add(
        "update",
        &["2", r#""2""#, r#""update""#, r#"" Update ""#, "2e0"],
    );
    let sequences = ["0", "9223372036854775807", r#""12""#, r#""""#, "null"];
    let updates = sequences.map(|raw| format!(r#"2,"adjustment_sequence_id":{raw}"#));
    add("sequence", &updates.each_ref().map(String::as_str));
    queue
        .send(&[body(&envelope(&format!("[{}]", events.join(","))))])
        .await;

    let _daemon = Daemon::start(&database.url, &[&queue], "").await;
    queue.drained(30).await;

    expect_no_quarantine(&database).await;
    let mut expected: Vec<&str> = ids.iter().map(|(_, id)| *id).chain(["32 levels"]).collect();
    expected.sort();
    let sql =
        r#"select event_id from events where action <> 'conversion' order by event_id collate "C""#;
    assert_eq!(database.rows(sql).await, expected);
    let sql =
        "select tune_event_id, adjust_action, count(*) from events where action = 'conversion'
               group by 1, 2 order by 1";
    assert_eq!(
        database.rows(sql).await,
        ["create|create|5", "standard|NULL|3"]
    );
    let sql =
        "select tune_event_id, adjust_action, count(*) from adjustments group by 1, 2 order by 1";
    assert_eq!(
        database.rows(sql).await,
        ["sequence|update|5", "update|update|5"]
    );
    let sql = "select adjustment_sequence_id from adjustments where tune_event_id = 'sequence' order by event_id";
    let stored = ["0", "9223372036854775807", "12", "NULL", "NULL"];
    assert_eq!(database.rows(sql).await, stored);
}
