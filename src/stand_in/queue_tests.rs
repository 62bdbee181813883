use super::*;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

fn queue(now: Instant) -> Queue {
    Queue::new(Settings::default(), now)
}

fn content(id: &str, sent: Instant) -> Content {
    let body = RawValue::from_string(format!("\"{id}\"")).unwrap();
    Content {
        id: id.into(),
        body,
        md5: String::new(),
        sent,
    }
}

fn send(queue: &mut Queue, id: &str, now: Instant) {
    queue.send(content(id, now), Duration::ZERO);
}

/// Receives up to ten messages for a minute.
fn receive(queue: &mut Queue, now: Instant) -> Vec<Delivery> {
    queue.receive(10, MINUTE, None, now).unwrap().deliveries
}

fn ids(deliveries: &[Delivery]) -> Vec<&str> {
    deliveries
        .iter()
        .map(|delivery| delivery.content.id.as_str())
        .collect()
}

fn counts(visible: usize, in_flight: usize, delayed: usize) -> Counts {
    Counts {
        visible,
        in_flight,
        delayed,
    }
}

#[test]
fn a_received_message_is_hidden_and_comes_back_with_a_new_handle() {
    let now = Instant::now();
    let mut queue = queue(now);
    send(&mut queue, "a", now);
    let first = receive(&mut queue, now);
    assert_eq!(ids(&first), ["a"]);
    assert_eq!(first[0].receive_count, 1);
    assert_eq!(queue.counts(now), counts(0, 1, 0));
    assert_eq!(queue.next_visible(), Some(now + MINUTE));
    assert!(receive(&mut queue, now + MINUTE - SECOND).is_empty());

    let second = receive(&mut queue, now + MINUTE);
    assert_eq!(ids(&second), ["a"]);
    assert_eq!(second[0].receive_count, 2);
    assert_eq!(second[0].first_received, now);
    assert_ne!(second[0].receipt_handle, first[0].receipt_handle);
}

#[test]
fn a_deleted_message_does_not_come_back() {
    let now = Instant::now();
    let mut queue = queue(now);
    send(&mut queue, "a", now);
    send(&mut queue, "b", now);
    let deliveries = receive(&mut queue, now);
    queue.delete(&deliveries[0].receipt_handle).unwrap();
    queue.delete(&deliveries[0].receipt_handle).unwrap();
    assert_eq!(queue.counts(now), counts(0, 1, 0));
    assert_eq!(ids(&receive(&mut queue, now + MINUTE)), ["b"]);
}

#[test]
fn the_latest_handle_deletes_a_message_that_is_visible_again() {
    let now = Instant::now();
    let mut queue = queue(now);
    send(&mut queue, "a", now);
    let deliveries = receive(&mut queue, now);
    assert_eq!(queue.counts(now + MINUTE), counts(1, 0, 0));
    queue.delete(&deliveries[0].receipt_handle).unwrap();
    assert_eq!(queue.counts(now + MINUTE), counts(0, 0, 0));
    assert!(receive(&mut queue, now + MINUTE).is_empty());
}

#[test]
fn an_older_handle_succeeds_and_does_nothing() {
    let now = Instant::now();
    let mut queue = queue(now);
    send(&mut queue, "a", now);
    let old = receive(&mut queue, now).remove(0).receipt_handle;
    let later = now + MINUTE;
    queue.change_visibility(&old, MINUTE, later).unwrap();
    assert_eq!(queue.counts(later), counts(1, 0, 0));
    receive(&mut queue, later);
    queue.delete(&old).unwrap();
    queue
        .change_visibility(&old, Duration::ZERO, later)
        .unwrap();
    assert_eq!(queue.counts(later), counts(0, 1, 0));
}

#[test]
fn a_handle_that_is_none_is_refused() {
    let now = Instant::now();
    let (mut queue, mut other) = (queue(now), queue(now));
    send(&mut other, "a", now);
    let elsewhere = receive(&mut other, now).remove(0).receipt_handle;
    let unissued = handle(queue.id, 0, 1);
    for handle in ["", "garbage", "a.b.c", &elsewhere, &unissued] {
        let refusal = queue.delete(handle).unwrap_err();
        assert_eq!(refusal.code, Code::ReceiptHandleIsInvalid, "{handle}");
        assert!(
            queue.change_visibility(handle, MINUTE, now).is_err(),
            "{handle}"
        );
    }
}

#[test]
fn visibility_counts_from_the_call_and_can_end_at_once() {
    let now = Instant::now();
    let mut queue = queue(now);
    send(&mut queue, "a", now);
    let handle = receive(&mut queue, now).remove(0).receipt_handle;
    queue
        .change_visibility(&handle, 2 * MINUTE, now + SECOND)
        .unwrap();
    assert_eq!(queue.next_visible(), Some(now + SECOND + 2 * MINUTE));
    queue
        .change_visibility(&handle, Duration::ZERO, now + 2 * SECOND)
        .unwrap();
    assert_eq!(ids(&receive(&mut queue, now + 2 * SECOND)), ["a"]);
}

#[test]
fn visibility_ends_twelve_hours_after_the_receive() {
    let now = Instant::now();
    let mut queue = queue(now);
    let limit = Duration::from_secs(MAX_VISIBILITY_SECS.into());
    send(&mut queue, "a", now);
    let handle = receive(&mut queue, now).remove(0).receipt_handle;
    queue
        .change_visibility(&handle, limit - SECOND, now + SECOND)
        .unwrap();
    let refusal = queue
        .change_visibility(&handle, limit, now + SECOND)
        .unwrap_err();
    assert_eq!(refusal.code, Code::InvalidParameterValue);
    queue.delete(&handle).unwrap();
    let refusal = queue
        .change_visibility(&handle, MINUTE, now + SECOND)
        .unwrap_err();
    assert_eq!(refusal.code, Code::InvalidParameterValue);
}

#[test]
fn a_message_moves_at_the_receive_that_would_exceed_the_count() {
    let now = Instant::now();
    let (mut queue, mut dead) = (queue(now), queue(now));
    send(&mut queue, "a", now);
    for round in 0..2 {
        let received = queue
            .receive(1, SECOND, Some(2), now + round * SECOND)
            .unwrap();
        assert_eq!((received.deliveries.len(), received.spent.len()), (1, 0));
    }
    // A spent message stays where it is until somebody asks, and does not take a place in the answer.
    let later = now + 2 * SECOND;
    assert_eq!(queue.counts(later), counts(1, 0, 0));
    send(&mut queue, "b", later);
    let received = queue.receive(1, SECOND, Some(2), later).unwrap();
    assert_eq!(ids(&received.deliveries), ["b"]);
    assert_eq!(received.spent.len(), 1);
    received
        .spent
        .into_iter()
        .for_each(|message| dead.adopt(message));
    let deliveries = receive(&mut dead, later);
    assert_eq!(ids(&deliveries), ["a"]);
    assert_eq!(deliveries[0].receive_count, 3);
    assert_eq!(deliveries[0].first_received, now);
}

#[test]
fn a_delayed_message_appears_in_its_time() {
    let now = Instant::now();
    let mut queue = queue(now);
    queue.send(content("a", now), SECOND);
    assert_eq!(queue.counts(now), counts(0, 0, 1));
    assert!(receive(&mut queue, now).is_empty());
    assert_eq!(queue.next_visible(), Some(now + SECOND));
    assert_eq!(ids(&receive(&mut queue, now + SECOND)), ["a"]);
    assert_eq!(queue.counts(now + SECOND), counts(0, 1, 0));
}

#[test]
fn a_message_past_its_retention_is_never_delivered() {
    let now = Instant::now();
    let mut queue = queue(now);
    queue.settings.message_retention_period = 60;
    send(&mut queue, "old", now);
    send(&mut queue, "new", now + SECOND);
    assert_eq!(ids(&receive(&mut queue, now + MINUTE)), ["new"]);
    assert_eq!(queue.counts(now + MINUTE), counts(0, 1, 0));
}

#[test]
fn a_purged_queue_is_empty() {
    let now = Instant::now();
    let mut queue = queue(now);
    send(&mut queue, "in flight", now);
    let handle = receive(&mut queue, now).remove(0).receipt_handle;
    send(&mut queue, "visible", now);
    queue.send(content("delayed", now), SECOND);
    queue.purge();
    assert_eq!(queue.counts(now + MINUTE), counts(0, 0, 0));
    assert!(receive(&mut queue, now + MINUTE).is_empty());
    queue.delete(&handle).unwrap();
}

#[test]
fn the_limit_of_messages_in_flight_is_kept() {
    let now = Instant::now();
    let mut queue = queue(now);
    for _ in 0..=MAX_IN_FLIGHT {
        send(&mut queue, "a", now);
    }
    let received = queue.receive(usize::MAX, MINUTE, None, now).unwrap();
    assert_eq!(received.deliveries.len(), MAX_IN_FLIGHT);
    let refusal = queue.receive(1, MINUTE, None, now).unwrap_err();
    assert_eq!(refusal.code, Code::OverLimit);
    queue
        .delete(&received.deliveries[7].receipt_handle)
        .unwrap();
    assert_eq!(receive(&mut queue, now).len(), 1);
}

#[test]
fn a_waiting_receive_is_told_of_every_message_that_appears() {
    let now = Instant::now();
    let mut queue = queue(now);
    let stirred = Arc::clone(&queue.stirred);
    let told = |act: &mut dyn FnMut()| {
        let mut waiting = pin!(stirred.notified());
        waiting.as_mut().enable();
        act();
        waiting
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
            == Poll::Ready(())
    };
    assert!(!told(&mut || ()));
    assert!(told(&mut || send(&mut queue, "a", now)));
    let handle = receive(&mut queue, now).remove(0).receipt_handle;
    assert!(told(&mut || queue
        .change_visibility(&handle, Duration::ZERO, now)
        .unwrap()));
    let spent = queue
        .receive(1, MINUTE, Some(1), now)
        .unwrap()
        .spent
        .remove(0);
    let mut spent = Some(spent);
    assert!(told(&mut || queue.adopt(spent.take().unwrap())));
}
