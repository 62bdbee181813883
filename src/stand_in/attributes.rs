//! The attributes of a queue that can be set, and their limits.

use super::protocol::{Code, Refusal};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// The longest a message can stay hidden after one receive: 12 hours.
pub const MAX_VISIBILITY_SECS: u32 = 43_200;
/// The longest long poll.
pub const MAX_WAIT_SECS: u32 = 20;
/// The longest delay of a message.
pub const MAX_DELAY_SECS: u32 = 900;
/// The size of the largest message, and of all messages of one batch.
pub const MAX_MESSAGE_BYTES: u32 = 1_048_576;

/// Attributes that a queue has only once they are set. Only the first means anything here.
pub const OPTIONAL: [&str; 6] = [
    "RedrivePolicy",
    "Policy",
    "RedriveAllowPolicy",
    "KmsMasterKeyId",
    "KmsDataKeyReusePeriodSeconds",
    "SqsManagedSseEnabled",
];

const MAX_RETENTION_SECS: u32 = 1_209_600;
const ARN_PREFIX: &str = "arn:aws:sqs:us-east-1:000000000000:";

/// What CreateQueue and SetQueueAttributes set. The fields bear the names of the attributes.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    pub delay_secs: u32,
    pub maximum_message_size: u32,
    pub message_retention_period: u32,
    pub receive_message_wait_time_secs: u32,
    pub visibility_timeout: u32,
    pub redrive: Option<Redrive>,
    /// Attributes that are accepted and handed back, but mean nothing here.
    inert: BTreeMap<String, String>,
}

/// Where messages go that were received too often.
#[derive(Debug, Clone, PartialEq)]
pub struct Redrive {
    pub target_queue: String,
    pub max_receive_count: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            delay_secs: 0,
            maximum_message_size: MAX_MESSAGE_BYTES,
            message_retention_period: 345_600,
            receive_message_wait_time_secs: 0,
            visibility_timeout: 30,
            redrive: None,
            inert: BTreeMap::new(),
        }
    }
}

impl Settings {
    /// Sets one attribute from its text.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), Refusal> {
        match name {
            "DelaySeconds" => self.delay_secs = number(name, value, 0, MAX_DELAY_SECS)?,
            "MaximumMessageSize" => {
                self.maximum_message_size = number(name, value, 1024, MAX_MESSAGE_BYTES)?;
            }
            "MessageRetentionPeriod" => {
                self.message_retention_period = number(name, value, 60, MAX_RETENTION_SECS)?;
            }
            "ReceiveMessageWaitTimeSeconds" => {
                self.receive_message_wait_time_secs = number(name, value, 0, MAX_WAIT_SECS)?;
            }
            "VisibilityTimeout" => {
                self.visibility_timeout = number(name, value, 0, MAX_VISIBILITY_SECS)?;
            }
            "RedrivePolicy" => self.redrive = redrive(value)?,
            _ if OPTIONAL.contains(&name) => {
                self.inert.insert(name.to_owned(), value.to_owned());
            }
            _ => return Err(unknown(name)),
        }
        Ok(())
    }

    /// All attributes as text. What is computed (counts, times, the ARN) is not among them.
    pub fn to_map(&self) -> BTreeMap<String, String> {
        let mut map = self.inert.clone();
        map.insert("DelaySeconds".into(), self.delay_secs.to_string());
        map.insert(
            "MaximumMessageSize".into(),
            self.maximum_message_size.to_string(),
        );
        map.insert(
            "MessageRetentionPeriod".into(),
            self.message_retention_period.to_string(),
        );
        map.insert(
            "ReceiveMessageWaitTimeSeconds".into(),
            self.receive_message_wait_time_secs.to_string(),
        );
        map.insert(
            "VisibilityTimeout".into(),
            self.visibility_timeout.to_string(),
        );
        if let Some(redrive) = &self.redrive {
            let policy = serde_json::json!({
                "deadLetterTargetArn": arn(&redrive.target_queue),
                "maxReceiveCount": redrive.max_receive_count,
            });
            map.insert("RedrivePolicy".into(), policy.to_string());
        }
        map
    }

    /// How long a received message is hidden unless the request says otherwise.
    pub fn visibility(&self) -> Duration {
        Duration::from_secs(self.visibility_timeout.into())
    }

    /// How long a message is kept.
    pub fn retention(&self) -> Duration {
        Duration::from_secs(self.message_retention_period.into())
    }
}

/// The ARN of the queue with this name.
pub fn arn(queue: &str) -> String {
    format!("{ARN_PREFIX}{queue}")
}

/// The refusal of an attribute that does not exist.
pub fn unknown(name: &str) -> Refusal {
    Refusal::new(
        Code::InvalidAttributeName,
        format!("unknown attribute {name}"),
    )
}

fn number(name: &str, value: &str, least: u32, most: u32) -> Result<u32, Refusal> {
    match value.parse() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ => Err(invalid(
            name,
            value,
            &format!("it must be a number from {least} to {most}"),
        )),
    }
}

/// An empty policy removes the one there is.
fn redrive(value: &str) -> Result<Option<Redrive>, Refusal> {
    if value.is_empty() {
        return Ok(None);
    }
    let refuse = |why: &str| invalid("RedrivePolicy", value, why);
    let policy: Value = serde_json::from_str(value).map_err(|_| refuse("it must be JSON"))?;
    let target_queue = policy["deadLetterTargetArn"]
        .as_str()
        .and_then(|arn| arn.rsplit(':').next())
        .ok_or_else(|| refuse("it must have a deadLetterTargetArn"))?;
    // AWS takes the count as a number and as text, and its users write both.
    let max_receive_count = match &policy["maxReceiveCount"] {
        Value::String(text) => text.parse().ok(),
        other => other.as_u64(),
    };
    let max_receive_count = max_receive_count
        .and_then(|count| u32::try_from(count).ok())
        .filter(|count| (1..=1000).contains(count))
        .ok_or_else(|| refuse("maxReceiveCount must be a number from 1 to 1000"))?;
    let target_queue = target_queue.to_owned();
    Ok(Some(Redrive {
        target_queue,
        max_receive_count,
    }))
}

fn invalid(name: &str, value: &str, why: &str) -> Refusal {
    let message = format!("value {value} for attribute {name} is invalid: {why}");
    Refusal::new(Code::InvalidAttributeValue, message)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_was_set_is_handed_back() {
        let mut settings = Settings::default();
        let policy =
            r#"{"deadLetterTargetArn":"arn:aws:sqs:eu-west-1:1:dead","maxReceiveCount":"3"}"#;
        settings.set("VisibilityTimeout", "7").unwrap();
        settings.set("RedrivePolicy", policy).unwrap();
        settings.set("Policy", "{}").unwrap();
        let map = settings.to_map();
        assert_eq!(map["VisibilityTimeout"], "7");
        assert_eq!(map["MaximumMessageSize"], "1048576");
        assert_eq!(map["Policy"], "{}");
        assert_eq!(
            settings.redrive,
            Some(Redrive {
                target_queue: "dead".into(),
                max_receive_count: 3
            })
        );
        settings.set("RedrivePolicy", "").unwrap();
        assert_eq!(settings.redrive, None);
    }

    #[test]
    fn values_beyond_the_limits_are_refused() {
        let mut settings = Settings::default();
        for (name, value) in [
            ("VisibilityTimeout", "43201"),
            ("VisibilityTimeout", "soon"),
            ("MessageRetentionPeriod", "59"),
            ("RedrivePolicy", "{}"),
            (
                "RedrivePolicy",
                r#"{"deadLetterTargetArn":"a:b","maxReceiveCount":0}"#,
            ),
        ] {
            let refusal = settings.set(name, value).unwrap_err();
            assert_eq!(refusal.code, Code::InvalidAttributeValue, "{name} {value}");
        }
        let refusal = settings.set("FifoQueue", "true").unwrap_err();
        assert_eq!(refusal.code, Code::InvalidAttributeName);
        assert_eq!(settings, Settings::default());
    }
}
