//! The properties that `make fuzz` looks at, over its seeds and over some thousand mutations of them: a bounded round on the
//! stable toolchain.

mod properties;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use hydrant::demo::feed;
use hydrant::demo::publication;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng, RngExt, SeedableRng};

const MUTATIONS: usize = 20_000;
/// Of one input. It takes some milliseconds at most; what takes this long hangs.
const LONGEST: Duration = Duration::from_secs(5);

/// Bytes that matter to JSON, to base64 or to text.
const TOKENS: [&str; 24] = [
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\\",
    "\\u0000",
    "\\ud800",
    "null",
    "true",
    "-",
    "0",
    "1e400",
    "1.0",
    "9223372036854775808",
    "\"event_id\":",
    "\"payout\":",
    "\"data\":",
    "[[[[[[[[",
    "\u{0}",
    "\u{fffd}",
    "é",
];

fn folder(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/seeds")
        .join(target)
}

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let mut files: Vec<_> = fs::read_dir(folder(target))
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    files.sort();
    assert!(files.len() >= 5, "{target} has {} seeds", files.len());
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

/// One of the seeds with a few changes: bytes flipped, cut, doubled, taken from another seed, or a token put in.
fn mutated(seeds: &[Vec<u8>], rng: &mut Xoshiro256PlusPlus) -> Vec<u8> {
    let mut bytes = seeds[rng.random_range(0..seeds.len())].clone();
    for _ in 0..rng.random_range(1..6) {
        let at = rng.random_range(0..=bytes.len());
        let end = bytes.len().min(at + rng.random_range(0..40));
        match rng.random_range(0..6) {
            0 if at < bytes.len() => bytes[at] ^= 1 << rng.random_range(0..8),
            1 if at < bytes.len() => bytes[at] = rng.next_u32() as u8,
            2 => drop(bytes.drain(at..end)),
            3 => {
                let part = bytes[at..end].to_vec();
                bytes.splice(at..at, part);
            }
            4 => {
                let other = &seeds[rng.random_range(0..seeds.len())];
                let from = rng.random_range(0..=other.len());
                let to = other.len().min(from + 60);
                bytes.splice(at..end, other[from..to].iter().copied());
            }
            _ => {
                let token = TOKENS[rng.random_range(0..TOKENS.len())];
                bytes.splice(at..at, token.bytes());
            }
        }
    }
    bytes
}

/// Inputs go to a thread one by one: of one that hangs nothing comes back.
fn run(target: &str, property: fn(&[u8])) {
    let seeds = seeds(target);
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
    let mutations = std::iter::repeat_with(|| mutated(&seeds, &mut rng)).take(MUTATIONS);
    let (inputs, received) = mpsc::channel::<Vec<u8>>();
    let (outcomes, outcome) = mpsc::channel();
    std::thread::spawn(move || {
        for input in received {
            let held = std::panic::catch_unwind(|| property(&input));
            outcomes.send(held.is_ok()).unwrap();
        }
    });
    for (round, input) in seeds.iter().cloned().chain(mutations).enumerate() {
        inputs.send(input.clone()).unwrap();
        assert_eq!(
            outcome.recv_timeout(LONGEST),
            Ok(true),
            "round {round}, input {:?}",
            String::from_utf8_lossy(&input)
        );
    }
}

#[test]
fn any_bytes_have_an_outcome_and_hurt_nobody() {
    run("decoder", properties::decoder);
}

#[test]
fn an_event_has_one_hash_however_it_is_written() {
    run("canonical", properties::canonical);
}

#[test]
#[ignore = "writes fuzz/seeds anew, from the generator of the demo"]
fn writes_the_seeds() {
    let events: Vec<feed::Event> = feed::events(1, 3_000).collect();
    let named = |name: &str, holds: &dyn Fn(&str) -> bool| {
        let event = events.iter().find(|event| holds(&event.json)).unwrap();
        (format!("{name}.json"), event.json.clone().into_bytes())
    };
    let kind = |action: &str| format!(r#""action":"{action}""#);
    let mut canonical = vec![
        named("impression", &|json| json.contains(&kind("impression"))),
        named("click", &|json| json.contains(&kind("click"))),
        named("conversion", &|json| {
            json.contains(&kind("conversion")) && !json.contains("adjust_action")
        }),
        named("create", &|json| json.contains("\"create\"")),
        named("update", &|json| json.contains("\"update\"")),
    ];
    let odd = r#"{"event_id": 7, "action":"Click", "action":"click", "payout":"1.50e1", "offer_id":"ten", "hour":3.0,
        "note":"a\u0000\ud800b", "aff_sub":"", "colour":{"b":[1,1.0,"1"],"a":null}, "date":"2026-02-30"}"#;
    canonical.push(("odd.json".to_owned(), odd.as_bytes().to_vec()));
    let published = include_str!("../../fixtures/hasoffers/create.json");
    canonical.push(("published.json".to_owned(), published.as_bytes().to_vec()));

    let envelope =
        |data: &str| format!(r#"{{"network_id":"n","dispatch_timestamp":7,"data":{data}}}"#);
    let (one, other) = (&events[0].json, &events[2_000].json);
    let packed = serde_json::to_string(&format!("[{one}]")).unwrap();
    let plain = [
        ("array.json", envelope(&format!("[{one},{other}]"))),
        ("single.json", envelope(one)),
        ("nested.json", envelope(&format!("{{\"events\":[{one}]}}"))),
        ("packed.json", envelope(&packed)),
        (
            "mixed.json",
            envelope(r#"[{"event_id":"a","action":"view"},5,{"event_id":"b","action":"click"}]"#),
        ),
    ];
    let mut decoder: Vec<_> = plain
        .map(|(name, text)| (name.to_owned(), text.into_bytes()))
        .into();
    let body = publication::body(&events[..1], 1, feed::Mix::DEMO.first_second + 1).into_bytes();
    decoder.push(("body.b64".to_owned(), body));
    let bomb = vec![b' '; 8 << 20];
    decoder.push((
        "bomb.b64".to_owned(),
        crate::support::base64(&crate::support::gzip(&bomb)).into_bytes(),
    ));
    for (target, files) in [("canonical", canonical), ("decoder", decoder)] {
        fs::create_dir_all(folder(target)).unwrap();
        for (name, bytes) in files {
            fs::write(folder(target).join(name), bytes).unwrap();
        }
    }
}
