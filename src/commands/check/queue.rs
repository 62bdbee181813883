//! One queue: whether it is there and ours to use, and whether it keeps messages long enough.

use aws_sdk_sqs::types::QueueAttributeName as Name;
use serde_json::Value;

use super::{Finding, Findings};
use crate::config::SqsQueue;
use crate::sources::aws::NO_CREDENTIALS;
use crate::sources::sqs::Sqs;
use crate::sources::sqs_error::SqsError;
use crate::sources::sqs_inspect::{Attributes, dead_letter_queue};

const DAY: u64 = 86_400;
/// What AWS allows at most, and what we recommend.
const LONGEST_RETENTION: u64 = 14 * DAY;
const LEAST_RETENTION: u64 = 4 * DAY;
/// A message comes again after each restart and each outage, without being bad.
const LEAST_RECEIVES: u64 = 5;
const MOST_RECEIVES: u64 = 100;
/// Signatures of a clock that is more than five minutes off are refused.
const CLOCK_REFUSED: u64 = 300;
const CLOCK_ODD: u64 = 60;
/// What SQS keeps in flight at most, and where that begins to be near.
const IN_FLIGHT_MOST: u64 = 120_000;
const IN_FLIGHT_ODD: u64 = 90_000;

pub async fn look(name: &str, queue: &SqsQueue) -> Vec<Finding> {
    let mut findings = Findings::new(format!("source.{name}"));
    let sqs = Sqs::new(name, queue).await;
    let (attributes, ahead) = sqs.all_attributes().await;
    judge_clock(ahead, &mut findings);
    let there = match &attributes {
        Ok(attributes) => {
            judge_queue(queue, attributes, &mut findings);
            true
        }
        Err(error) => {
            findings.fail(
                "queue",
                error.to_string(),
                advice_for(error, "sqs:GetQueueAttributes"),
            );
            matches!(error, SqsError::Denied { code, .. } if code != NO_CREDENTIALS)
        }
    };
    if there {
        judge_right(
            "right to delete",
            sqs.try_delete().await,
            "sqs:DeleteMessage",
            &mut findings,
        );
        let changed = sqs.try_change_visibility().await;
        judge_right(
            "right to change visibility",
            changed,
            "sqs:ChangeMessageVisibility",
            &mut findings,
        );
        findings.ok(
            "right to receive",
            "not tried, because that would count as a receive; it is sqs:ReceiveMessage",
        );
    }
    if let Ok(attributes) = attributes {
        look_at_dead_letters(&sqs, &attributes, &mut findings).await;
    }
    findings.list
}

fn advice_for(error: &SqsError, right: &str) -> String {
    match error {
        SqsError::NoQueue(_) => "create the queue, or correct queue_url".to_owned(),
        SqsError::Denied { .. } => {
            format!("check the AWS credentials, and allow {right} on the queue to their role")
        }
        SqsError::Failed { .. } => {
            "check the network, queue_url and endpoint_url, then try again".to_owned()
        }
    }
}

/// `ahead`: by how many seconds our clock is.
fn judge_clock(ahead: Option<i64>, findings: &mut Findings) {
    let Some(ahead) = ahead else {
        return findings.warn(
            "clock",
            "not compared: no answer, or one without a date",
            "mend what else was found here, and check again",
        );
    };
    let direction = if ahead < 0 { "behind" } else { "ahead of" };
    let found = format!("{} s {direction} the service's", ahead.unsigned_abs());
    let advice = "let the system's clock follow a time server";
    match ahead.unsigned_abs() {
        off if off > CLOCK_REFUSED => findings.fail(
            "clock",
            format!("{found}: AWS refuses such signatures"),
            advice,
        ),
        off if off > CLOCK_ODD => findings.warn("clock", found, advice),
        _ => findings.ok("clock", found),
    }
}

fn judge_right(
    name: &'static str,
    outcome: Result<(), SqsError>,
    right: &str,
    findings: &mut Findings,
) {
    match outcome {
        Ok(()) => findings.ok(name, format!("granted ({right})")),
        Err(error @ SqsError::Failed { .. }) => {
            findings.warn(name, error.to_string(), advice_for(&error, right))
        }
        Err(error) => findings.fail(name, error.to_string(), advice_for(&error, right)),
    }
}

fn judge_queue(queue: &SqsQueue, attributes: &Attributes, findings: &mut Findings) {
    let text = |name: Name| attributes.get(&name).map_or("?", String::as_str);
    let in_flight = text(Name::ApproximateNumberOfMessagesNotVisible);
    let found = format!(
        "{} messages wait, {in_flight} are in flight, {} are delayed",
        text(Name::ApproximateNumberOfMessages),
        text(Name::ApproximateNumberOfMessagesDelayed)
    );
    if in_flight.parse::<u64>().is_ok_and(|it| it >= IN_FLIGHT_ODD) {
        findings.warn(
            "queue",
            format!("{found}: at {IN_FLIGHT_MOST} SQS gives no more, and says nothing of it"),
            "find out who receives messages and does not delete them: a daemon holds some hundreds for each worker at most",
        );
    } else {
        findings.ok("queue", found);
    }
    if text(Name::FifoQueue) == "true" {
        findings.warn(
            "kind",
            "first-in-first-out, which is not tested: each message group waits for its messages in flight",
            "use a standard queue; order makes no difference to what is stored",
        );
    } else {
        findings.ok("kind", "standard");
    }
    findings.ok(
        "visibility timeout",
        format!(
            "{} s, asked for with each receive and extended; the queue's own {} s are not used",
            queue.visibility_timeout_secs,
            text(Name::VisibilityTimeout)
        ),
    );
    if let Some(retention) = seconds(attributes) {
        let found = format!("messages are kept for {}", duration(retention));
        let advice = "set MessageRetentionPeriod to 1209600 (14 days): it is the time in which an outage can be mended";
        if retention < LEAST_RETENTION {
            findings.warn("retention", found, advice);
        } else if retention < LONGEST_RETENTION {
            findings.ok(
                "retention",
                format!("{found}; 14 days is the most, and recommended"),
            );
        } else {
            findings.ok("retention", found);
        }
    }
    if attributes.contains_key(&Name::KmsMasterKeyId) {
        findings.ok(
            "encryption",
            "with a KMS key, so receiving needs kms:Decrypt on it",
        );
    }
}

/// Without a dead-letter queue a message that cannot be handled comes again until it expires.
async fn look_at_dead_letters(sqs: &Sqs, attributes: &Attributes, findings: &mut Findings) {
    let Some(name) = dead_letter_queue(attributes) else {
        return findings.warn(
            "dead-letter queue",
            "there is none: a message that cannot be handled comes again until it expires, and is then lost",
            "create one with 14 days of retention, and set the queue's RedrivePolicy with a maxReceiveCount of 5 to 10",
        );
    };
    let policy = attributes.get(&Name::RedrivePolicy);
    let policy: Value = policy
        .and_then(|policy| serde_json::from_str(policy).ok())
        .unwrap_or_default();
    // AWS hands the count back as a number, whatever its users wrote; others may not.
    let receives = policy["maxReceiveCount"]
        .as_u64()
        .or_else(|| policy["maxReceiveCount"].as_str()?.parse().ok());
    judge_receives(receives.unwrap_or_default(), findings);
    let (dead, _) = sqs.beside(&name).all_attributes().await;
    match dead {
        Ok(dead) => judge_dead_letters(&name, attributes, &dead, findings),
        Err(error @ SqsError::NoQueue(_)) => findings.fail(
            "dead-letter queue",
            format!("the RedrivePolicy names {name}, which does not exist here: {error}"),
            "create it, or correct the RedrivePolicy",
        ),
        Err(error) => findings.warn(
            "dead-letter queue",
            format!("{name} cannot be looked at: {error}"),
            advice_for(&error, "sqs:GetQueueAttributes"),
        ),
    }
}

fn judge_receives(receives: u64, findings: &mut Findings) {
    let found = format!("{receives} until a message becomes a dead letter");
    if receives < LEAST_RECEIVES {
        findings.warn(
            "receives",
            format!("{found}: a few restarts can make dead letters of good messages"),
            "set maxReceiveCount to 5 to 10",
        );
    } else if receives > MOST_RECEIVES {
        findings.warn(
            "receives",
            format!("{found}: a message that cannot be handled takes up workers for long"),
            "set maxReceiveCount to 5 to 10",
        );
    } else {
        findings.ok("receives", found);
    }
}

fn judge_dead_letters(name: &str, queue: &Attributes, dead: &Attributes, findings: &mut Findings) {
    let waiting = dead
        .get(&Name::ApproximateNumberOfMessages)
        .map_or("?", String::as_str);
    if waiting == "0" {
        findings.ok("dead-letter queue", format!("{name}, empty"));
    } else {
        findings.warn(
            "dead-letter queue",
            format!("{name} holds {waiting} messages"),
            "find out why, then send them again with a redrive (StartMessageMoveTask)",
        );
    }
    let (Some(kept), Some(kept_dead)) = (seconds(queue), seconds(dead)) else {
        return;
    };
    let found = format!(
        "dead letters are kept for {}, messages for {}, both from their first sending on",
        duration(kept_dead),
        duration(kept)
    );
    if kept_dead <= kept && kept_dead < LONGEST_RETENTION {
        findings.warn(
            "dead-letter retention",
            found,
            "set the dead-letter queue's MessageRetentionPeriod to 1209600 (14 days)",
        );
    } else {
        findings.ok("dead-letter retention", found);
    }
}

/// How long a queue keeps messages.
fn seconds(attributes: &Attributes) -> Option<u64> {
    attributes.get(&Name::MessageRetentionPeriod)?.parse().ok()
}

fn duration(seconds: u64) -> String {
    match (seconds / DAY, seconds % DAY) {
        (1, 0) => "1 day".to_owned(),
        (days, 0) if days > 0 => format!("{days} days"),
        _ => format!("{:.1} hours", seconds as f64 / 3600.0),
    }
}
