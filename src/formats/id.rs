//! Ids, as every feed has them.

use std::borrow::Cow;

use crate::json::{self, Scalar};

/// Bytes of an id.
const ID_LENGTH_MAX: usize = 255;

/// An id as text, `None` where it is blank. Never repaired: that could make two ids equal.
///
/// # Errors
/// The rule that it breaks, to be read after the field's name.
pub fn parse_id(value: Option<Scalar<'_>>) -> Result<Option<Cow<'_, str>>, &'static str> {
    let id = match value {
        None | Some(Scalar::Null) => return Ok(None),
        Some(Scalar::Number(number)) => json::plain_number(number)
            .filter(|plain| !plain.contains('.'))
            .ok_or("is a number, but no integer")?,
        Some(Scalar::Text(text)) if text.repaired => return Err("holds a NUL or a lone surrogate"),
        Some(Scalar::Text(text)) => match text.value {
            Cow::Borrowed(text) => Cow::Borrowed(text.trim_ascii()),
            Cow::Owned(text) => Cow::Owned(text.trim_ascii().to_owned()),
        },
        Some(Scalar::Bool(_) | Scalar::Nested) => return Err("is neither text nor an integer"),
    };
    if id.is_empty() {
        return Ok(None);
    }
    if id.len() > ID_LENGTH_MAX {
        return Err("is longer than 255 bytes");
    }
    if id
        .chars()
        .any(|c| c.is_control() || c == char::REPLACEMENT_CHARACTER)
    {
        return Err("holds a control or replacement character");
    }
    Ok(Some(id))
}
