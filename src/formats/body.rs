//! The body of a message: base64 of gzip of JSON text, in every spelling that has a meaning.

use std::borrow::Cow;
use std::io::Read;

use base64::Engine;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use base64::engine::{DecodePaddingMode, general_purpose::STANDARD};
use flate2::bufread::GzDecoder;
use flate2::{Crc, Decompress, FlushDecompress, Status};
use serde_json::value::RawValue;

use super::{Reason, Refusal};
use crate::json::valid::known_valid;

const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const LENIENT_STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const LENIENT_URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
/// How a header without any extras begins: magic, method, flags. Six bytes follow that do not matter.
const PLAIN_GZIP: [u8; 4] = [0x1f, 0x8b, 8, 0];
const GZIP_HEADER_LENGTH: usize = 10;
/// Checksum and length of what was compressed.
const GZIP_TRAILER_LENGTH: usize = 8;
/// Deflate makes no more than this of one byte.
const DEFLATE_RATIO_MAX: usize = 1032;
const BYTE_ORDER_MARK: &str = "\u{feff}";

/// The JSON text of a body.
#[derive(Debug, PartialEq)]
pub struct Opened {
    pub text: String,
    /// Bytes after the last gzip member; they are ignored.
    pub trailing_bytes: usize,
}

/// Takes the base64 and the gzip off a body. Plain JSON and plain gzip are taken as they are.
///
/// At most `max_bytes` of JSON are ever held.
///
/// # Errors
/// What makes the whole body unreadable; [`Reason::TooLarge`] where it inflates to more than `max_bytes`.
pub fn open(body: &[u8], max_bytes: usize) -> Result<Opened, Refusal> {
    let body = body.trim_ascii();
    let (bytes, trailing_bytes) = if body.is_empty() {
        return Err(Refusal::new(Reason::EmptyBody, "the body is empty"));
    } else if body.starts_with(&GZIP_MAGIC) {
        inflate(body, max_bytes)?
    } else if is_json(body) {
        (plain(body, max_bytes)?, 0)
    } else {
        let decoded = decode_base64(body)?;
        if decoded.starts_with(&GZIP_MAGIC) {
            inflate(&decoded, max_bytes)?
        } else if is_json(decoded.trim_ascii()) {
            (plain(&decoded, max_bytes)?, 0)
        } else {
            return Err(Refusal::new(
                Reason::NotGzip,
                "base64, but neither gzip nor JSON inside",
            ));
        }
    };
    let mut text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Refusal::new(
            Reason::NotUtf8,
            format!("the JSON is not UTF-8 at byte {at}"),
        )
    })?;
    if text.starts_with(BYTE_ORDER_MARK) {
        text.drain(..BYTE_ORDER_MARK.len());
    }
    Ok(Opened {
        text,
        trailing_bytes,
    })
}

/// The JSON value that `text` is, without the white space around it.
///
/// # Errors
/// [`Reason::NotJson`].
pub fn validate(text: &str) -> Result<&str, Refusal> {
    if let Some(raw) = known_valid(text) {
        return Ok(raw);
    }
    serde_json::from_str::<&RawValue>(text)
        .map(RawValue::get)
        .map_err(|error| {
            Refusal::new(
                Reason::NotJson,
                format!(
                    "not JSON at line {}, column {}",
                    error.line(),
                    error.column()
                ),
            )
        })
}

/// Whether it looks like the JSON text of an object or array.
fn is_json(bytes: &[u8]) -> bool {
    let bytes = bytes
        .strip_prefix(BYTE_ORDER_MARK.as_bytes())
        .unwrap_or(bytes);
    matches!(bytes.first(), Some(b'{' | b'['))
}

fn plain(bytes: &[u8], max_bytes: usize) -> Result<Vec<u8>, Refusal> {
    if bytes.len() > max_bytes {
        Err(too_large(max_bytes))
    } else {
        Ok(bytes.to_vec())
    }
}

fn too_large(max_bytes: usize) -> Refusal {
    Refusal::new(
        Reason::TooLarge,
        format!("more than {max_bytes} bytes of JSON (max_body_bytes)"),
    )
}

fn decode_base64(body: &[u8]) -> Result<Vec<u8>, Refusal> {
    if let Ok(decoded) = STANDARD.decode(body) {
        return Ok(decoded);
    }
    // Another alphabet, no padding or white space inside: seldom, and worth a second look.
    let dense: Cow<'_, [u8]> = if body.iter().any(u8::is_ascii_whitespace) {
        body.iter()
            .copied()
            .filter(|b| !b.is_ascii_whitespace())
            .collect()
    } else {
        body.into()
    };
    let engine = if dense.iter().any(|b| matches!(b, b'-' | b'_')) {
        LENIENT_URL_SAFE
    } else {
        LENIENT_STANDARD
    };
    engine
        .decode(&dense)
        .map_err(|_| Refusal::new(Reason::NotBase64, "neither base64 nor JSON"))
}

/// All gzip members of `bytes`, joined, and how many bytes follow the last one.
fn inflate(bytes: &[u8], max_bytes: usize) -> Result<(Vec<u8>, usize), Refusal> {
    match inflate_one(bytes, max_bytes) {
        Some(text) => Ok((text, 0)),
        None => inflate_members(bytes, max_bytes),
    }
}

fn inflate_members(mut bytes: &[u8], max_bytes: usize) -> Result<(Vec<u8>, usize), Refusal> {
    let mut text = Vec::with_capacity(bytes.len().saturating_mul(10).min(max_bytes));
    while bytes.starts_with(&GZIP_MAGIC) {
        let mut member = GzDecoder::new(bytes);
        // One byte more than allowed tells "too large" from "just fits".
        let room = (max_bytes - text.len()) as u64 + 1;
        (&mut member)
            .take(room)
            .read_to_end(&mut text)
            .map_err(|error| match error.kind() {
                std::io::ErrorKind::UnexpectedEof => {
                    Refusal::new(Reason::GzipTruncated, "the gzip data end early")
                }
                _ => Refusal::new(
                    Reason::GzipCorrupt,
                    "the gzip data or their checksum are wrong",
                ),
            })?;
        if text.len() > max_bytes {
            return Err(too_large(max_bytes));
        }
        bytes = member.into_inner();
    }
    Ok((text, bytes.len()))
}

/// The usual body: one gzip member with a plain header and nothing behind it. `None` for any other and for whatever is
/// wrong: [`inflate_members`] finds out what. The length is known beforehand, so it is inflated in one go into memory of
/// that size; in pieces, through the decoder's window, a body took a fifth longer to open.
fn inflate_one(bytes: &[u8], max_bytes: usize) -> Option<Vec<u8>> {
    let (header, rest) = bytes.split_at_checked(GZIP_HEADER_LENGTH)?;
    let (deflated, trailer) =
        rest.split_at_checked(rest.len().checked_sub(GZIP_TRAILER_LENGTH)?)?;
    let (checksum, length) = trailer.split_first_chunk::<4>()?;
    let length = u32::from_le_bytes(length.try_into().ok()?) as usize;
    let is_possible = length <= deflated.len().saturating_mul(DEFLATE_RATIO_MAX);
    if !header.starts_with(&PLAIN_GZIP) || length > max_bytes || !is_possible {
        return None;
    }
    let mut text = Vec::with_capacity(length);
    let mut deflate = Decompress::new(false);
    let status = deflate.decompress_vec(deflated, &mut text, FlushDecompress::Finish);
    let is_whole = matches!(status, Ok(Status::StreamEnd))
        && deflate.total_in() == deflated.len() as u64
        && text.len() == length;
    let mut crc = Crc::new();
    crc.update(&text);
    (is_whole && crc.sum() == u32::from_le_bytes(*checksum)).then_some(text)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn text(body: impl AsRef<[u8]>) -> String {
        open(body.as_ref(), 1000).unwrap().text
    }

    fn reason(body: impl AsRef<[u8]>) -> Reason {
        open(body.as_ref(), 1000).unwrap_err().reason
    }

    #[test]
    fn every_spelling_of_a_body_is_read() {
        let json = r#"{"a":"?>~~ÿÿ"}"#;
        let zipped = gzip(json.as_bytes());
        let usual = STANDARD.encode(&zipped);
        let url_safe = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(&zipped);
        let lines: String = usual
            .as_bytes()
            .chunks(20)
            .map(|c| format!("{}\r\n", String::from_utf8_lossy(c)))
            .collect();
        for body in [
            usual.clone(),
            url_safe,
            format!("\n {lines}"),
            usual.trim_end_matches('=').to_owned(),
            STANDARD.encode(json),
        ] {
            assert_eq!(text(&body), json, "{body}");
        }
        assert_eq!(text(&zipped), json);
        assert_eq!(text(json), json);
        assert_eq!(text(format!("{BYTE_ORDER_MARK}{json}")), json);
        assert_eq!(text([gzip(b"{\"a\""), gzip(b":1}")].concat()), "{\"a\":1}");
        let trailing = open(&[gzip(b"{}"), b"\0\0 more".to_vec()].concat(), 1000).unwrap();
        assert_eq!(
            trailing,
            Opened {
                text: "{}".into(),
                trailing_bytes: 7
            }
        );
    }

    #[test]
    fn what_is_no_body_says_why() {
        let zipped = gzip(&[b' '; 500]);
        let mut corrupt = zipped.clone();
        let checksum = corrupt.len() - 8;
        corrupt[checksum] ^= 1;
        assert_eq!(reason(""), Reason::EmptyBody);
        assert_eq!(reason(" \n"), Reason::EmptyBody);
        assert_eq!(reason("@@@"), Reason::NotBase64);
        assert_eq!(reason(STANDARD.encode("something")), Reason::NotGzip);
        assert_eq!(reason(&zipped[..zipped.len() - 4]), Reason::GzipTruncated);
        assert_eq!(reason(&zipped[..12]), Reason::GzipTruncated);
        assert_eq!(reason(&corrupt), Reason::GzipCorrupt);
        assert_eq!(reason(gzip(b"\xff\xfe")), Reason::NotUtf8);
        assert_eq!(
            reason([gzip(b"{"), GZIP_MAGIC.to_vec()].concat()),
            Reason::GzipTruncated
        );
    }

    #[test]
    fn a_body_may_be_as_large_as_allowed_and_no_larger() {
        assert_eq!(text(gzip(&[b' '; 1000])).len(), 1000);
        assert_eq!(reason(gzip(&[b' '; 1001])), Reason::TooLarge);
        assert_eq!(
            reason([gzip(&[b' '; 600]), gzip(&[b' '; 600])].concat()),
            Reason::TooLarge
        );
        let halves = [gzip(&[b' '; 500]), gzip(&[b' '; 500])].concat();
        assert_eq!(text(halves).len(), 1000);
        assert_eq!(text(format!("[{}]", " ".repeat(998))).len(), 1000);
        assert_eq!(reason(format!("{{{}", "0".repeat(1000))), Reason::TooLarge);
    }

    proptest! {
        #[test]
        fn a_body_in_one_go_is_what_it_is_in_pieces(
            bytes in proptest::collection::vec(b'a'..=b'd', 0..300),
            flip in proptest::option::of(any::<u16>()),
            cut in 0..3_usize,
            more in 0..2_usize,
            max_bytes in 0..300_usize,
        ) {
            let mut zipped = gzip(&bytes);
            if let Some(flip) = flip {
                let at = flip as usize / 8 % zipped.len();
                zipped[at] ^= 1 << (flip % 8);
            }
            zipped.truncate(zipped.len() - cut);
            zipped.resize(zipped.len() + more, 0);
            if let Some(text) = inflate_one(&zipped, max_bytes) {
                prop_assert_eq!(inflate_members(&zipped, max_bytes), Ok((text, 0)));
            } else if flip.is_none() && cut + more == 0 {
                prop_assert!(bytes.len() > max_bytes);
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in any::<Vec<u8>>(), cut in any::<u16>(), flip in any::<u16>()) {
            let _ = open(&bytes, 100);
            let mut zipped = gzip(&bytes);
            let at = flip as usize % zipped.len();
            zipped[at] ^= 1 << (cut % 8);
            zipped.truncate(cut as usize % (zipped.len() + 1));
            if let Ok(opened) = open(&zipped, 100) {
                prop_assert!(opened.text.len() <= 100);
            }
        }
    }
}
