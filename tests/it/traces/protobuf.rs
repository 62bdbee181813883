//! As much of an export of traces as the tests look at, read from its bytes as the protocol numbers its fields.

use std::collections::BTreeMap;

/// A span as it was sent.
#[derive(Debug)]
pub struct Span {
    pub trace: Vec<u8>,
    pub id: Vec<u8>,
    /// Empty where it has none.
    pub parent: Vec<u8>,
    pub name: String,
    pub start: u64,
    pub end: u64,
    pub texts: BTreeMap<String, String>,
    pub numbers: BTreeMap<String, i64>,
    /// Whose it is.
    pub resource: BTreeMap<String, String>,
}

/// The spans of one call.
pub fn spans(call: &[u8]) -> Vec<Span> {
    let mut spans = Vec::new();
    for of_resource in Message::read(call).all(1) {
        let of_resource = Message::read(of_resource);
        let resource = Message::read(of_resource.bytes(1));
        for of_scope in of_resource.all(2) {
            for span in Message::read(of_scope).all(2) {
                spans.push(Span::read(&Message::read(span), attributes(&resource, 1).0));
            }
        }
    }
    spans
}

impl Span {
    fn read(span: &Message, resource: BTreeMap<String, String>) -> Span {
        let (texts, numbers) = attributes(span, 9);
        Span {
            trace: span.bytes(1).to_vec(),
            id: span.bytes(2).to_vec(),
            parent: span.bytes(4).to_vec(),
            name: text(span.bytes(5)),
            start: span.number(7).unwrap(),
            end: span.number(8).unwrap(),
            texts,
            numbers,
            resource,
        }
    }
}

/// The attributes in this field: texts, and numbers. Others are not expected.
fn attributes(message: &Message, field: u64) -> (BTreeMap<String, String>, BTreeMap<String, i64>) {
    let (mut texts, mut numbers) = (BTreeMap::new(), BTreeMap::new());
    for attribute in message.all(field) {
        let attribute = Message::read(attribute);
        let (key, value) = (text(attribute.bytes(1)), Message::read(attribute.bytes(2)));
        let twice = match value.number(3) {
            Some(number) => numbers.insert(key, number.cast_signed()).is_some(),
            None => texts.insert(key, text(value.bytes(1))).is_some(),
        };
        assert!(!twice, "an attribute is there twice");
    }
    (texts, numbers)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// The fields of a message, in order.
struct Message<'a>(Vec<(u64, Value<'a>)>);

impl<'a> Message<'a> {
    fn read(mut rest: &'a [u8]) -> Message<'a> {
        let mut fields = Vec::new();
        while !rest.is_empty() {
            let key = varint(&mut rest);
            let value = match key & 7 {
                0 => Value::Number(varint(&mut rest)),
                1 => Value::Number(u64::from_le_bytes(take(&mut rest, 8).try_into().unwrap())),
                2 => {
                    let length = usize::try_from(varint(&mut rest)).unwrap();
                    Value::Bytes(take(&mut rest, length))
                }
                5 => {
                    let bytes = take(&mut rest, 4).try_into().unwrap();
                    Value::Number(u32::from_le_bytes(bytes).into())
                }
                other => panic!("no type of a field: {other}"),
            };
            fields.push((key >> 3, value));
        }
        Message(fields)
    }

    fn all(&self, field: u64) -> impl Iterator<Item = &'a [u8]> {
        self.0.iter().filter_map(move |(it, value)| match value {
            Value::Bytes(bytes) if *it == field => Some(*bytes),
            _ => None,
        })
    }

    fn bytes(&self, field: u64) -> &'a [u8] {
        self.all(field).next().unwrap_or_default()
    }

    fn number(&self, field: u64) -> Option<u64> {
        self.0.iter().find_map(|(it, value)| match value {
            Value::Number(number) if *it == field => Some(*number),
            _ => None,
        })
    }
}

fn varint(rest: &mut &[u8]) -> u64 {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = take(rest, 1)[0];
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            break;
        }
    }
    number
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> &'a [u8] {
    let (taken, left) = rest.split_at(length);
    *rest = left;
    taken
}
