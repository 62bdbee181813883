//! The body of a message: base64 of gzip of JSON text, in every spelling that has a meaning.

use std::borrow::Cow;
use std::io::Read;

use base64::Engine;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use base64::engine::{DecodePaddingMode, general_purpose::STANDARD};
use flate2::bufread::GzDecoder;

use crate::formats::{Reason, Refusal};

const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const LENIENT_STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const LENIENT_URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
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
fn inflate(mut bytes: &[u8], max_bytes: usize) -> Result<(Vec<u8>, usize), Refusal> {
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
        assert_eq!(reason(format!("{{{}", "0".repeat(1000))), Reason::TooLarge);
    }

    proptest! {
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
