//! Files and objects: whether they can be listed and read, and how many there are.

use std::fs::File;

use super::{Finding, Findings};
use crate::config::{self, Folder};
use crate::sources::file;
use crate::sources::object::ObjectError;
use crate::sources::s3::{Begin, Bucket};
use crate::sources::s3_error::S3Error;

/// Pages of a thousand keys that are counted.
const PAGES_MAX: usize = 20;

pub fn look_at_folder(name: &str, folder: &Folder) -> Vec<Finding> {
    let mut findings = Findings::new(format!("source.{name}"));
    let mut files = Vec::new();
    match file::walk(&folder.path, &mut files) {
        Ok(()) => findings.ok(
            "folder",
            format!("{}, {} files", folder.path.display(), files.len()),
        ),
        Err(error) => findings.fail(
            "folder",
            error.to_string(),
            "create it, correct path, or let the user of the daemon read it",
        ),
    }
    let unreadable = files
        .iter()
        .find_map(|(path, _)| File::open(path).err().map(|error| (path, error)));
    if let Some((path, error)) = unreadable {
        findings.fail(
            "files",
            format!("cannot read {}: {error}", path.display()),
            "let the user of the daemon read it",
        );
    }
    findings.list
}

pub async fn look_at_bucket(name: &str, settings: &config::Bucket) -> Vec<Finding> {
    let mut findings = Findings::new(format!("source.{name}"));
    let bucket = Bucket::new(settings).await;
    let (mut ours, mut left_alone, mut pages) = (Vec::new(), 0, 0);
    let mut begin = Begin::First;
    let has_more = loop {
        let page = match bucket.list(begin).await {
            Ok(page) => page,
            Err(error) => {
                findings.fail(
                    "bucket",
                    error.to_string(),
                    advice_for(&error, "s3:ListBucket on the bucket"),
                );
                return findings.list;
            }
        };
        pages += 1;
        ours.extend(page.objects);
        left_alone += page.left_alone;
        begin = match page.next {
            Some(next) if pages < PAGES_MAX => next,
            next => break next.is_some(),
        };
    };
    let more = if has_more { "more than " } else { "" };
    let found = format!(
        "{}: {more}{} objects to read, {left_alone} others that are left alone",
        settings.bucket,
        ours.len()
    );
    if ours.is_empty() {
        findings.warn(
            "bucket",
            found,
            "check prefix and name_prefix if there should be some",
        );
    } else {
        findings.ok("bucket", found);
    }
    match ours.first() {
        None => findings.ok(
            "right to read",
            "not tried: there is no object; it is s3:GetObject",
        ),
        Some(listed) => match bucket.open(listed, None, 1).await {
            Ok(_) | Err(ObjectError::Changed(_)) => {
                findings.ok("right to read", "granted (s3:GetObject)");
            }
            Err(ObjectError::Bucket(error)) => findings.fail(
                "right to read",
                error.to_string(),
                advice_for(&error, "s3:GetObject on its objects"),
            ),
            Err(error) => findings.fail(
                "right to read",
                error.to_string(),
                "see whether it is whole",
            ),
        },
    }
    findings.list
}

fn advice_for(error: &S3Error, right: &str) -> String {
    match error {
        S3Error::NoBucket(_) => "create the bucket, or correct its name".to_owned(),
        S3Error::Denied { .. } => {
            format!(
                "check access_key_id and secret_access_key or the AWS credentials, and allow {right}"
            )
        }
        S3Error::Failed { .. } => {
            "check the network, region and endpoint_url, then try again".to_owned()
        }
    }
}
