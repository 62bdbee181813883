use proptest::prelude::*;
use serde_json::value::RawValue;

use super::*;
use crate::json::members;

fn serde_valid(text: &str) -> Option<&str> {
    serde_json::from_str::<&RawValue>(text)
        .map(RawValue::get)
        .ok()
}

/// What is said of `text` is what `serde_json` says of it.
fn check(text: &str) {
    let valid = serde_valid(text);
    assert_eq!(known_valid(text), valid, "{text:?}");
    let mut checked = checked_members(text);
    let found: Vec<_> = checked.by_ref().collect();
    let object = valid.filter(|raw| raw.starts_with('{'));
    assert_eq!(checked.is_valid, object.is_some(), "{text:?}");
    if let Some(object) = object {
        assert_eq!(found, members(object).collect::<Vec<_>>(), "{text:?}");
    }
}

#[test]
fn the_edges_of_json_are_known() {
    let values = [
        "",
        " ",
        "{}",
        " { } ",
        "[]",
        "[ ]",
        "[1,]",
        "[,1]",
        "[1 2]",
        "{,}",
        "{\"a\":1,}",
        "{\"a\":1 \"b\":2}",
        "{\"a\" : 1}",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\",1}",
        "{a:1}",
        "{1:1}",
        "{\"a\":1}}",
        "{\"a\":1",
        "{}{}",
        "[]]",
        "[",
        "{",
        "]",
        "}",
        "[}",
        "{]",
        "{\"a\":[}",
        "0",
        "-",
        "-0",
        "00",
        "01",
        "-01",
        "1.",
        ".1",
        "1.0",
        "1.e1",
        "1e",
        "1e+",
        "1e+1",
        "1E-01",
        "1e1.0",
        "+1",
        "1-",
        "0x1",
        "1_0",
        "NaN",
        "Infinity",
        "nul",
        "null",
        "nulll",
        "true",
        "tru",
        "True",
        "false",
        "fals",
        "falsefalse",
        "\"",
        "\"\"",
        "\"a",
        "\"\\\"",
        "\"\\",
        "\"\\x\"",
        "\"\\/\\b\\f\\n\\r\\t\\\\\"",
        "\"\\u\"",
        "\"\\u00e\"",
        "\"\\u00e9\"",
        "\"\\uD800\"",
        "\"\\udc00\\ud800\"",
        "\"\\u00g0\"",
        "\"\\U00e9\"",
        "\"\u{7f}\"",
        "\"\u{1f}\"",
        "\"\0\"",
        "\"\t\"",
        "\"\n\"",
        "\"\u{e9}\u{1f600}\"",
        "'a'",
        "\u{feff}{}",
        "{}\u{a0}",
        "\u{c}{}",
        "\u{b}1",
        "1\n",
        "\r\n\t 1",
        "/**/1",
        "[1]//",
        "{\"a\":1,\"a\":2}",
        "{\"\":\"\"}",
        "{\"\\u0061\":1}",
    ];
    for value in values {
        check(value);
        check(&format!("[{value}]"));
        check(&format!("{{\"key\":{value}}}"));
        check(&format!("{{\"a\":1,{value}:1}}"));
        check(&format!(
            "{{\"long enough to fill words\":{value} , \"more\":\"{value}\"}}"
        ));
    }
}

#[test]
fn deep_nesting_is_not_looked_into() {
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    assert!(known_valid(&nested(DEPTH_MAX)).is_some());
    let deep = nested(DEPTH_MAX + 1);
    assert_eq!(known_valid(&deep), None);
    assert!(serde_valid(&deep).is_some());
    let object = format!("{{\"a\":{deep}}}");
    let mut checked = checked_members(&object);
    assert_eq!(checked.by_ref().count(), 0);
    assert!(!checked.is_valid);
    assert_eq!(known_valid(&"[".repeat(1_000_000)), None);
}

proptest! {
    #[test]
    fn any_text_is_judged_as_serde_json_does(text in "[\\[\\]{}\",:\\\\u+\\-.eE09af /tn\t\u{1}\u{e9}]{0,24}") {
        check(&text);
        check(&format!("{{\"a\":\"{text}\"}}"));
        check(&format!("[{text}]"));
        check(&format!("{{\"a\":{text}}}"));
    }

    #[test]
    fn a_slip_in_json_is_judged_as_serde_json_does(value in json(), slips in slips(), pretty in any::<bool>()) {
        let mut text = if pretty {
            serde_json::to_string_pretty(&value).unwrap()
        } else {
            value.to_string()
        };
        check(&text);
        for (at, slip, inserted) in slips {
            let places: Vec<_> = text.char_indices().collect();
            let (place, c) = places[at.index(places.len())];
            let end = if inserted { place } else { place + c.len_utf8() };
            text.replace_range(place..end, &slip);
            check(&text);
            if text.is_empty() {
                break;
            }
        }
    }
}

/// Where, what, and whether it is inserted or comes instead of what is there.
fn slips() -> impl Strategy<Value = Vec<(prop::sample::Index, String, bool)>> {
    proptest::collection::vec(
        (
            any::<prop::sample::Index>(),
            "[\\[\\]{}\",:\\\\u\\-.e0 \u{0}\u{1f}]?",
            any::<bool>(),
        ),
        1..4,
    )
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        "[ -~\u{0}-\u{20}\u{e9}\u{1f600}]{0,30}".prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
            proptest::collection::btree_map("[a-z\"\\\\]{0,12}", inner, 0..6)
                .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
        ]
    })
}
