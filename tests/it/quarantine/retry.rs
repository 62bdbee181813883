//! `hydrant quarantine retry`.

use super::*;

#[tokio::test]
async fn retry_stores_what_can_be_stored_now() {
    let mut desk = three_items().await;
    let large = format!(
        r#"{{"network_id":"net","data":[{{"event_id":"e5","action":"conversion"}},{{"event_id":"e6","action":"view"}}]{}}}"#,
        " ".repeat(1 << 20)
    );
    desk.deliver(body(&large).as_bytes()).await;
    assert_eq!(desk.count(&["--reason", "too_large"]), 1);
    // As an older version might have written it down.
    desk.rows("update quarantine set reason = 'depth', detail = 'else', seen = 5 where event_id = 'e-secret'")
        .await;
    let small = [("HYDRANT__SOURCE__HASOFFERS__MAX_BODY_BYTES", "1048576")];
    let ended = desk.with(&small, &["retry", "--all"]);
    assert_eq!(ended.status, 0, "{}", ended.err);
    assert_eq!(
        ended.text(),
        "resolved 0, still bad 4\n  reasons: not_base64 1, too_large 1, action 1, network_missing 1\n  \
         events: 0 stored, 0 adjustments, 0 duplicates, 0 variants, 0 to quarantine\n"
    );
    let noted =
        "select reason || ' ' || seen || ' ' || status from quarantine where event_id = 'e-secret'";
    assert_eq!(desk.rows(noted).await, ["action 5 open"]);

    let settings = [("HYDRANT__SOURCE__HASOFFERS__NETWORK_ID", "12")];
    let ended = desk.with(&settings, &["retry", "--source", "hasoffers"]);
    assert_eq!(
        ended.text(),
        "resolved 2, still bad 2\n  reasons: not_base64 1, action 1\n  \
         events: 2 stored, 0 adjustments, 0 duplicates, 0 variants, 1 to quarantine\n",
        "{}",
        ended.err
    );
    assert_eq!(
        desk.rows("select network_id, event_id from events order by 1")
            .await,
        ["12|e2", "net|e5"]
    );
    // The body's bad event stands there on its own now.
    assert_eq!(
        desk.rows("select event_id, seen, message_id from quarantine where status = 'open' and scope = 'event' order by 1")
            .await,
        ["e-secret|5|message", "e6|1|message"]
    );
    // As after a crash between the commit of the events and the mark: nothing is there twice.
    desk.rows("update quarantine set status = 'open' where status = 'resolved'")
        .await;
    let ended = desk.with(&settings, &["retry", "--all"]);
    assert!(
        ended
            .text()
            .contains("events: 0 stored, 0 adjustments, 2 duplicates"),
        "{}",
        ended.text()
    );
    assert_eq!(desk.rows("select count(*) from events").await, ["2"]);
    assert_eq!(desk.count(&["--status", "resolved"]), 2);
}

#[tokio::test]
async fn events_that_the_database_refuses_stay_until_it_does_not() {
    let desk = three_items().await;
    desk.rows(
        "create function refuse() returns trigger language plpgsql as
             $$ begin if new.event_id like 'bad%' then raise exception sqlstate '22000'; end if; return new; end $$;
         create trigger refuse before insert on events_conversions for each row execute function refuse();
         insert into quarantine (scope, reason, payload, payload_sha256, source, network_id, event_id)
         select 'event', 'depth', convert_to(payload, 'UTF8'), sha256(convert_to(payload, 'UTF8')), 'gone', 'net', id
         from (select id, format('{\"event_id\":\"%s\",\"action\":\"conversion\"}', id) as payload
               from (select 'bad' || n as id from generate_series(1, 30) n union all select 'good') ids) payloads",
    )
    .await;
    let said = desk.said(&["retry", "--source", "gone"]);
    assert!(
        said.starts_with("resolved 1, still bad 30\n  reasons: refused_by_database 30\n"),
        "{said}"
    );
    assert_eq!(
        desk.rows("select distinct detail, seen, status from quarantine where reason = 'refused_by_database'")
            .await,
        ["the database refused it with SQLSTATE 22000|1|open"]
    );
    // Of a body the refused event goes to quarantine alone.
    desk.rows(&format!(
        "insert into quarantine (scope, reason, payload, payload_sha256, source)
         values ('body', 'too_large', '{}', 'x', 'body')",
        envelope(
            r#"{"event_id":"bad99","action":"conversion"},{"event_id":"e9","action":"conversion"}"#
        )
    ))
    .await;
    let said = desk.said(&["retry", "--source", "body"]);
    assert!(
        said.starts_with("resolved 1, still bad 0\n  events: 1 stored"),
        "{said}"
    );
    assert_eq!(
        desk.rows(
            "select convert_from(payload, 'UTF8'), reason, status from quarantine where source = 'body' and scope = 'event'"
        )
        .await,
        [r#"{"event_id":"bad99","action":"conversion"}|refused_by_database|open"#]
    );
    desk.rows("drop trigger refuse on events_conversions").await;
    let said = desk.said(&["retry", "--reason", "refused_by_database"]);
    assert!(
        said.starts_with("resolved 31, still bad 0\n  events: 31 stored"),
        "{said}"
    );
}

#[tokio::test]
async fn a_body_that_the_database_refuses_keeps_no_other_from_being_stored() {
    let desk = Desk::new().await;
    let bad: Vec<String> = (0..30)
        .map(|n| format!(r#"{{"event_id":"bad{n}","action":"conversion"}}"#))
        .collect();
    let good = r#"{"event_id":"good","action":"conversion"}"#;
    desk.rows(&format!(
        "alter table events add constraint mine check (event_id not like 'bad%');
         insert into quarantine (id, scope, reason, payload, payload_sha256, source)
         values ('00000000-0000-4000-8000-000000000001', 'body', 'too_large', '{}', '1', 's'),
                ('00000000-0000-4000-8000-000000000002', 'body', 'too_large', '{}', '2', 's')",
        envelope(&bad.join(",")),
        envelope(good),
    ))
    .await;
    let said = desk.said(&["retry", "--all"]);
    assert!(
        said.starts_with(
            "resolved 1, still bad 1\n  reasons: refused_by_database 1\n  events: 1 stored"
        ),
        "{said}"
    );
    let sql = "select reason, status from quarantine order by id";
    assert_eq!(
        desk.rows(sql).await,
        ["refused_by_database|open", "too_large|resolved"]
    );
}
