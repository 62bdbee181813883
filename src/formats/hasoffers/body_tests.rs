use super::*;

/// Two good events, one bad one between them, and an order of dispatch.
const BODY: &str = r#"{"network_id":"n","dispatch_timestamp":7,"data":[
    {"event_id":"a","action":"click"}, {"event_id":"b","action":"install"}, {"event_id":"c","action":"conversion"}
]}"#;
const RAW: [&str; 3] = [
    r#"{"event_id":"a","action":"click"}"#,
    r#"{"event_id":"b","action":"install"}"#,
    r#"{"event_id":"c","action":"conversion"}"#,
];
const NOTHING_KEPT: Kept<'_> = Kept {
    network_id: None,
    event_id: None,
    dispatch_timestamp: None,
    spot: None,
};

fn open(text: &str) -> Body {
    Body::open(text.as_bytes(), 1 << 20, None).unwrap()
}

fn at(event: usize) -> Origin {
    Origin { delivery: 4, event }
}

#[test]
fn what_a_body_says_of_itself() {
    let body = open(BODY);
    assert_eq!(body.len(), BODY.len());
    assert_eq!(body.dispatch_timestamp(), Some(7));
    assert_eq!(open(r#"{"data":[]}"#).dispatch_timestamp(), None);
    let raw: Vec<_> = body.raw_events().collect();
    assert_eq!(raw, [(0, RAW[0]), (1, RAW[1]), (2, RAW[2])]);
    let single = open(RAW[0]);
    assert_eq!(single.raw_events().collect::<Vec<_>>(), [(0, RAW[0])]);
}

#[test]
fn events_are_taken_one_by_one_and_counted() {
    let mut body = open(BODY);
    for (taken, (raw, is_bad)) in RAW.into_iter().zip([false, true, false]).enumerate() {
        let (found, event) = body.next_event().unwrap();
        assert_eq!((found, event.is_err()), (raw, is_bad));
        assert_eq!(body.events, taken + 1);
    }
    assert!(body.next_event().is_none());
    assert_eq!((body.events, body.bad_events), (3, 1));
}

#[test]
fn events_go_into_batches_with_their_places() {
    let mut body = open(BODY);
    let mut batch = Batch::new(2, 1 << 20);
    assert!(!body.read_into(&mut batch, 4, "message"));
    assert_eq!(batch.facts()[0].origin, at(0));
    let bad = &batch.rejects()[0];
    assert_eq!(bad.payload, RAW[1].as_bytes());
    assert_eq!(bad.message_id, "message");
    assert_eq!(
        (bad.event_id.as_deref(), bad.dispatch_timestamp),
        (Some("b"), Some(7))
    );
    batch.clear();
    assert!(body.read_into(&mut batch, 4, "message"));
    assert_eq!((batch.facts().len(), batch.facts()[0].origin), (1, at(2)));
    assert_eq!((body.events, body.bad_events), (3, 1));
    assert!(!body.is_empty());
}

#[test]
fn a_body_without_events_is_empty() {
    for text in [
        r#"{"network_id":"n","data":[]}"#,
        r#"{"network_id":"n","data":{}}"#,
    ] {
        let mut body = open(text);
        assert!(body.read_into(&mut Batch::new(2, 1 << 20), 0, "message"));
        assert!(body.is_empty(), "{text}");
        assert_eq!(open(text).raw_events().count(), 0, "{text}");
    }
}

#[test]
fn a_kept_event_is_read_as_it_was_in_its_body() {
    let mut batch = Batch::new(2, 1 << 20);
    let kept = Kept {
        network_id: Some("n"),
        dispatch_timestamp: Some(7),
        ..NOTHING_KEPT
    };
    read_event(RAW[0].as_bytes(), None, &kept, &mut batch, at(9)).unwrap();
    let fact = &batch.facts()[0];
    assert_eq!((fact.origin, fact.dispatch_timestamp), (at(9), 7));
    assert_eq!((batch.network_id(fact), batch.event_id(fact)), ("n", "a"));
    let reason = |raw: &[u8], kept| {
        read_event(raw, None, kept, &mut Batch::new(2, 1 << 20), at(0))
            .unwrap_err()
            .reason
    };
    assert_eq!(
        reason(RAW[0].as_bytes(), &NOTHING_KEPT),
        Reason::NetworkMissing
    );
    assert_eq!(reason(RAW[1].as_bytes(), &kept), Reason::Action);
    assert_eq!(reason(b"{\xff}", &kept), Reason::NotUtf8);
}
