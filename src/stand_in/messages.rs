//! The operations on messages: send, receive, delete, change visibility.

use super::account::{ACCOUNT_ID, Account};
use super::attributes::{MAX_DELAY_SECS, MAX_MESSAGE_BYTES, MAX_VISIBILITY_SECS, MAX_WAIT_SECS};
use super::protocol::*;
use super::queue::{Content, Delivery, Queue};
use md5::{Digest, Md5};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::pin::pin;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// A message that was read and checked, as far as that can be done without its queue.
struct Draft {
    content: Content,
    bytes: usize,
    delay: Option<Duration>,
}

/// SendMessage.
pub fn send_message(account: &Account, body: &[u8]) -> Result<SentMessage, Refusal> {
    let OneQueue { queue_url } = read(body)?;
    let draft = draft(&read(body)?)?;
    account.with_queue(&queue_url, |queue| send(queue, draft, String::new()))
}

/// SendMessageBatch. The size of the batch is checked as a whole, all else entry by entry.
pub fn send_message_batch(
    account: &Account,
    body: &[u8],
) -> Result<BatchResult<SentMessage>, Refusal> {
    let request: SendMessageBatch = read(body)?;
    check_batch(request.entries.iter().map(|entry| entry.id.as_str()))?;
    // Hashing and copying is done before the queue is locked.
    let drafts = request.entries.into_iter().map(|entry| {
        let draft = draft(&entry);
        (entry.id, draft)
    });
    let drafts: Vec<_> = drafts.collect();
    let bytes: usize = drafts
        .iter()
        .flat_map(|(_, draft)| draft)
        .map(|draft| draft.bytes)
        .sum();
    if bytes > MAX_MESSAGE_BYTES as usize {
        let message = format!("a batch is at most {MAX_MESSAGE_BYTES} bytes, not {bytes}");
        return Err(Refusal::new(Code::BatchRequestTooLong, message));
    }
    account.with_queue(&request.queue_url, |queue| {
        Ok(each(drafts, |id, draft| send(queue, draft?, id.to_owned())))
    })
}

fn draft(entry: &SendEntry) -> Result<Draft, Refusal> {
    if !entry.message_attributes.is_empty() {
        let message = "this stand-in has no message attributes";
        return Err(Refusal::new(Code::UnsupportedOperation, message));
    }
    let raw = entry
        .message_body
        .ok_or_else(|| Refusal::missing("MessageBody"))?;
    let text: String = read(raw.get().as_bytes())?;
    if text.is_empty() {
        return Err(Refusal::missing("MessageBody"));
    }
    if let Some(bad) = text.chars().find(|c| !is_xml(*c)) {
        let message = format!("the message holds the character {bad:?}, which SQS does not allow");
        return Err(Refusal::new(Code::InvalidMessageContents, message));
    }
    let mut md5 = String::with_capacity(32);
    for byte in Md5::digest(text.as_bytes()) {
        // Writing to a string cannot fail.
        let _ = write!(md5, "{byte:02x}");
    }
    let content = Content {
        id: Uuid::new_v4().to_string(),
        body: raw.to_owned(),
        md5,
        sent: Instant::now(),
    };
    let delay = seconds("DelaySeconds", entry.delay_seconds, MAX_DELAY_SECS)?;
    Ok(Draft {
        content,
        bytes: text.len(),
        delay,
    })
}

/// The characters of XML 1.0, which are all that SQS carries.
fn is_xml(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{FFFD}' | '\u{10000}'..)
}

fn send(queue: &mut Queue, draft: Draft, id: String) -> Result<SentMessage, Refusal> {
    let most = queue.settings.maximum_message_size;
    if draft.bytes > most as usize {
        return Err(Refusal::parameter(format!(
            "the message must be at most {most} bytes"
        )));
    }
    let sent = SentMessage {
        id,
        message_id: draft.content.id.clone(),
        md5_of_message_body: draft.content.md5.clone(),
    };
    let delay = draft
        .delay
        .unwrap_or(Duration::from_secs(queue.settings.delay_secs.into()));
    queue.send(draft.content, delay);
    Ok(sent)
}

/// ReceiveMessage. Waits until there is a message, the wait time is over or the stand-in stops.
pub async fn receive_message(account: &Account, body: &[u8]) -> Result<Vec<u8>, Refusal> {
    let request: ReceiveMessage = read(body)?;
    let max = match request.max_number_of_messages.unwrap_or(1) {
        max @ 1..=10 => max as usize,
        other => {
            let message = format!("MaxNumberOfMessages must be from 1 to 10, not {other}");
            return Err(Refusal::parameter(message));
        }
    };
    let visibility = seconds(
        "VisibilityTimeout",
        request.visibility_timeout,
        MAX_VISIBILITY_SECS,
    )?;
    let wait = seconds("WaitTimeSeconds", request.wait_time_seconds, MAX_WAIT_SECS)?;
    let wait = wait.map_or_else(
        || {
            account.with_queue(&request.queue_url, |queue| {
                let secs = queue.settings.receive_message_wait_time_secs;
                Ok(Duration::from_secs(secs.into()))
            })
        },
        Ok,
    )?;
    let deadline = Instant::now() + wait;
    loop {
        // Listen first, look then: what arrives between the two must not be missed.
        let stirred = account.with_queue(&request.queue_url, |queue| Ok(queue.stirred.clone()))?;
        let mut stirred = pin!(stirred.notified());
        stirred.as_mut().enable();
        let now = Instant::now();
        let (deliveries, next_visible) =
            account.receive(&request.queue_url, max, visibility, now)?;
        if !deliveries.is_empty() || now >= deadline || account.stop.is_cancelled() {
            return render(account, &request, &deliveries);
        }
        let look_again = next_visible.map_or(deadline, |next| next.min(deadline));
        tokio::select! {
            () = stirred => {}
            () = tokio::time::sleep_until(look_again.into()) => {}
            () = account.stop.cancelled() => {}
        }
    }
}

fn render(
    account: &Account,
    request: &ReceiveMessage,
    deliveries: &[Delivery],
) -> Result<Vec<u8>, Refusal> {
    let size = deliveries
        .iter()
        .map(|delivery| delivery.content.body.get().len() + 512)
        .sum();
    let messages = deliveries.iter().map(|delivery| ReceivedMessage {
        message_id: &delivery.content.id,
        receipt_handle: &delivery.receipt_handle,
        md5_of_body: &delivery.content.md5,
        body: &delivery.content.body,
        attributes: system_attributes(account, request, delivery),
    });
    write(
        &ReceivedMessages {
            messages: messages.collect(),
        },
        size,
    )
}

/// Those that were asked for, under the new name of the parameter or the old one.
fn system_attributes(
    account: &Account,
    request: &ReceiveMessage,
    delivery: &Delivery,
) -> BTreeMap<&'static str, String> {
    let millis = |at| account.since_epoch(at).as_millis().to_string();
    let asked = |name: &str| {
        let names = request
            .message_system_attribute_names
            .iter()
            .chain(&request.attribute_names);
        names
            .into_iter()
            .any(|asked| asked == name || asked == "All")
    };
    let mut attributes = BTreeMap::new();
    if asked("ApproximateReceiveCount") {
        attributes.insert(
            "ApproximateReceiveCount",
            delivery.receive_count.to_string(),
        );
    }
    if asked("ApproximateFirstReceiveTimestamp") {
        attributes.insert(
            "ApproximateFirstReceiveTimestamp",
            millis(delivery.first_received),
        );
    }
    if asked("SentTimestamp") {
        attributes.insert("SentTimestamp", millis(delivery.content.sent));
    }
    if asked("SenderId") {
        attributes.insert("SenderId", ACCOUNT_ID.to_owned());
    }
    attributes
}

/// DeleteMessage.
pub fn delete_message(account: &Account, body: &[u8]) -> Result<(), Refusal> {
    let OneQueue { queue_url } = read(body)?;
    let receipt: ReceiptEntry = read(body)?;
    account.with_queue(&queue_url, |queue| queue.delete(&receipt.receipt_handle))
}

/// DeleteMessageBatch.
pub fn delete_message_batch(
    account: &Account,
    body: &[u8],
) -> Result<BatchResult<DoneEntry>, Refusal> {
    receipt_batch(account, body, |queue, receipt| {
        queue.delete(&receipt.receipt_handle)
    })
}

/// ChangeMessageVisibility.
pub fn change_message_visibility(account: &Account, body: &[u8]) -> Result<(), Refusal> {
    let OneQueue { queue_url } = read(body)?;
    let receipt: ReceiptEntry = read(body)?;
    account.with_queue(&queue_url, |queue| change_visibility(queue, &receipt))
}

/// ChangeMessageVisibilityBatch.
pub fn change_message_visibility_batch(
    account: &Account,
    body: &[u8],
) -> Result<BatchResult<DoneEntry>, Refusal> {
    receipt_batch(account, body, change_visibility)
}

fn change_visibility(queue: &mut Queue, receipt: &ReceiptEntry) -> Result<(), Refusal> {
    let visibility = seconds(
        "VisibilityTimeout",
        receipt.visibility_timeout,
        MAX_VISIBILITY_SECS,
    )?
    .ok_or_else(|| Refusal::missing("VisibilityTimeout"))?;
    queue.change_visibility(&receipt.receipt_handle, visibility, Instant::now())
}

fn receipt_batch(
    account: &Account,
    body: &[u8],
    act: impl Fn(&mut Queue, &ReceiptEntry) -> Result<(), Refusal>,
) -> Result<BatchResult<DoneEntry>, Refusal> {
    let request: ReceiptBatch = read(body)?;
    check_batch(request.entries.iter().map(|entry| entry.id.as_str()))?;
    let receipts = request
        .entries
        .into_iter()
        .map(|entry| (entry.id.clone(), entry));
    account.with_queue(&request.queue_url, |queue| {
        Ok(each(receipts, |id, receipt| {
            act(queue, &receipt)?;
            Ok(DoneEntry { id: id.to_owned() })
        }))
    })
}

/// Does every entry of a batch; one that fails does not hinder the others.
fn each<E, T>(
    entries: impl IntoIterator<Item = (String, E)>,
    mut act: impl FnMut(&str, E) -> Result<T, Refusal>,
) -> BatchResult<T> {
    let mut result = BatchResult {
        successful: Vec::new(),
        failed: Vec::new(),
    };
    for (id, entry) in entries {
        match act(&id, entry) {
            Ok(done) => result.successful.push(done),
            Err(refusal) => result.failed.push(refusal.entry(id)),
        }
    }
    result
}

fn seconds(name: &str, value: Option<i64>, most: u32) -> Result<Option<Duration>, Refusal> {
    match value {
        None => Ok(None),
        Some(secs) if (0..=i64::from(most)).contains(&secs) => {
            Ok(Some(Duration::from_secs(secs.unsigned_abs())))
        }
        Some(secs) => {
            let message = format!("{name} must be from 0 to {most}, not {secs}");
            Err(Refusal::parameter(message))
        }
    }
}
