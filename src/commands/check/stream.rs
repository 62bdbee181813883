//! One stream: whether it is there and ours to read, and whether it keeps records long enough.

use aws_sdk_kinesis::types::{EncryptionType, StreamDescriptionSummary, StreamStatus};

use super::{Finding, Findings};
use crate::config::KinesisStream;
use crate::sources::kinesis::{Kinesis, Shard};
use crate::sources::kinesis_error::KinesisError;

/// Kinesis' own default is 24 hours: an outage over a long weekend must not lose anything.
const LEAST_RETENTION_HOURS: i32 = 72;
const GOOD_RETENTION_HOURS: i32 = 168;

pub async fn look(name: &str, stream: &KinesisStream, workers: usize) -> Vec<Finding> {
    let mut findings = Findings::new(format!("source.{name}"));
    let kinesis = Kinesis::new(stream).await;
    let mut open = None;
    match kinesis.summary().await {
        Ok(summary) => {
            open = summary.as_ref().map(|summary| summary.open_shard_count);
            judge_stream(summary.as_ref(), &mut findings);
        }
        Err(error) => {
            let advice = advice_for(&error, "kinesis:DescribeStreamSummary");
            // Reading does not need this right.
            match error {
                KinesisError::Denied { .. } => findings.warn("stream", error.to_string(), advice),
                _ => findings.fail("stream", error.to_string(), advice),
            }
        }
    }
    match kinesis.shards().await {
        Ok(shards) => {
            let open = open.and_then(|open| usize::try_from(open).ok());
            judge_shards(open.unwrap_or(shards.len()), workers, &mut findings);
            try_to_read(&kinesis, &shards, &mut findings).await;
        }
        Err(error) => findings.fail(
            "shards",
            error.to_string(),
            advice_for(&error, "kinesis:ListShards"),
        ),
    }
    findings.list
}

fn advice_for(error: &KinesisError, right: &str) -> String {
    match error {
        KinesisError::NoStream(_) => "create the stream, or correct stream and region".to_owned(),
        KinesisError::Denied { .. } => {
            format!("check the AWS credentials, and allow {right} on the stream to their role")
        }
        KinesisError::Throttled { .. } => "try again".to_owned(),
        KinesisError::ExpiredIterator
        | KinesisError::Refused { .. }
        | KinesisError::Failed { .. } => {
            "check the network, stream, region and endpoint_url, then try again".to_owned()
        }
    }
}

fn judge_stream(summary: Option<&StreamDescriptionSummary>, findings: &mut Findings) {
    let Some(summary) = summary else {
        return findings.warn(
            "stream",
            "there, but it says nothing of itself",
            "try again",
        );
    };
    let status = &summary.stream_status;
    let found = status.as_str();
    match status {
        StreamStatus::Active | StreamStatus::Updating => findings.ok("stream", found),
        _ => findings.fail("stream", found, "wait until it is ACTIVE"),
    }
    let hours = summary.retention_period_hours;
    let found = format!("records are kept for {hours} hours");
    if hours < LEAST_RETENTION_HOURS {
        findings.warn(
            "retention",
            found,
            "raise it to 168 hours (7 days) with IncreaseStreamRetentionPeriod: it is the time in which an outage can be mended",
        );
    } else if hours < GOOD_RETENTION_HOURS {
        findings.ok("retention", format!("{found}; 168 are recommended"));
    } else {
        findings.ok("retention", found);
    }
    match &summary.encryption_type {
        Some(EncryptionType::Kms) => findings.ok(
            "encryption",
            "with a KMS key, so reading needs kms:Decrypt on it, and TUNE's role kms:GenerateDataKey",
        ),
        _ => findings.ok("encryption", "none at rest"),
    }
}

fn judge_shards(open: usize, workers: usize, findings: &mut Findings) {
    let found = format!("{open}; a daemon reads {workers} at most");
    if open > workers {
        findings.warn(
            "shards",
            found,
            "raise workers (and max_inflight_bytes with it), or run several daemons",
        );
    } else {
        findings.ok("shards", found);
    }
}

/// Reads a record at most, which removes nothing.
async fn try_to_read(kinesis: &Kinesis, shards: &[Shard], findings: &mut Findings) {
    let Some(shard) = shards.first() else {
        return;
    };
    let right = "kinesis:GetShardIterator and kinesis:GetRecords";
    match kinesis.try_read(&shard.id).await {
        Ok(()) => findings.ok("right to read", format!("granted ({right})")),
        Err(error @ (KinesisError::Throttled { .. } | KinesisError::Failed { .. })) => findings
            .warn(
                "right to read",
                error.to_string(),
                advice_for(&error, right),
            ),
        Err(error) => findings.fail(
            "right to read",
            error.to_string(),
            advice_for(&error, right),
        ),
    }
}
