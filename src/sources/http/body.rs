//! Reading a body within its limits.

use std::io::{BufReader, Read};
use std::sync::Arc;
use std::time::Duration;

use flate2::bufread::MultiGzDecoder;
use http_body_util::BodyExt;
use hyper::HeaderMap;
use hyper::body::{Body, Incoming};
use hyper::header::EXPECT;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::block_in_place;

use super::answer::Answer;

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
/// Memory that a body gets before anything of it has come.
const EXPECTED_BYTES: u64 = 64 << 10;
/// What is read of a body that nobody wants, and for how long, so that its sender gets to read why.
const DISCARDED_BYTES: usize = 16 << 20;
const DISCARD_TIME: Duration = Duration::from_secs(2);

/// What a body may be.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// As it comes.
    pub bytes: usize,
    /// Unpacked.
    pub unpacked_bytes: usize,
    pub time: Duration,
}

/// Reads all of a body, as it comes. What the headers say of its type and coding does not matter: its bytes show what it is,
/// and what cannot be understood is for quarantine. What it takes of `room` is given back with the permit.
///
/// # Errors
/// What the sender is told instead.
pub async fn read(
    body: &mut Incoming,
    limits: Limits,
    room: &Arc<Semaphore>,
) -> Result<(Vec<u8>, OwnedSemaphorePermit), Answer> {
    let announced = body.size_hint();
    if announced.lower() > limits.bytes as u64 {
        return Err(Answer::TooLarge);
    }
    let reading = async {
        let mut bytes = Vec::with_capacity(announced.lower().min(EXPECTED_BYTES) as usize);
        let mut taken = take(room, 0)?;
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(|_| Answer::Broken)?.into_data() else {
                continue;
            };
            if bytes.len() + data.len() > limits.bytes {
                return Err(Answer::TooLarge);
            }
            taken.merge(take(room, data.len())?);
            bytes.extend_from_slice(&data);
        }
        Ok((bytes, taken))
    };
    let outcome = tokio::time::timeout(limits.time, reading).await;
    let (bytes, taken) = outcome.unwrap_or(Err(Answer::Slow))?;
    let fits = if bytes.starts_with(&GZIP_MAGIC) {
        block_in_place(|| unpacks_within(&bytes, limits.unpacked_bytes))
    } else {
        bytes.len() <= limits.unpacked_bytes
    };
    if fits {
        Ok((bytes, taken))
    } else {
        Err(Answer::TooLarge)
    }
}

fn take(room: &Arc<Semaphore>, bytes: usize) -> Result<OwnedSemaphorePermit, Answer> {
    let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
    let permit = Arc::clone(room).try_acquire_many_owned(bytes);
    permit.map_err(|_| Answer::Full)
}

/// Whether gzip holds at most so many bytes; nothing of them is kept. What cannot be unpacked fits: it goes to quarantine.
fn unpacks_within(packed: &[u8], most: usize) -> bool {
    let mut unpacked = BufReader::new(MultiGzDecoder::new(packed)).take(most as u64 + 1);
    let mut piece = [0; 16 << 10];
    let mut total = 0;
    while let Ok(read @ 1..) = unpacked.read(&mut piece) {
        total += read;
    }
    total <= most
}

/// Reads some of a body that is not wanted. Whoever asked first whether to send it is told by the answer.
pub async fn discard(headers: &HeaderMap, body: &mut Incoming) {
    if headers.contains_key(EXPECT) {
        return;
    }
    let reading = async {
        let mut total = 0;
        while total < DISCARDED_BYTES {
            match body.frame().await {
                Some(Ok(frame)) => total += frame.data_ref().map_or(0, |data| data.len()),
                Some(Err(_)) | None => break,
            }
        }
    };
    let _ = tokio::time::timeout(DISCARD_TIME, reading).await;
}
