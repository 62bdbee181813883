use super::*;
use proptest::prelude::*;

#[test]
fn parts_are_found_as_they_stand() {
    let array = r#" [1 , "a,]\"b" ,{"x":[1,{"y":"}"}]}, [] ,null,-1.5e3,true]"#.trim();
    let found: Vec<_> = elements(array).collect();
    assert_eq!(
        found,
        [
            "1",
            r#""a,]\"b""#,
            r#"{"x":[1,{"y":"}"}]}"#,
            "[]",
            "null",
            "-1.5e3",
            "true"
        ]
    );
    assert_eq!(elements("[]").count(), 0);
    assert_eq!(elements("[ ]").count(), 0);
    let found: Vec<_> = members(r#"{ "a" : 1,"b":{"c":[2]} , "\u0061":"x" }"#).collect();
    assert_eq!(
        found,
        [
            ("a".into(), "1"),
            ("b".into(), r#"{"c":[2]}"#),
            ("a".into(), r#""x""#)
        ]
    );
}

#[test]
fn text_that_postgres_cannot_hold_is_repaired() {
    for (raw, value, repaired) in [
        (r#""plain""#, "plain", false),
        (
            r#""\"\\\/\b\f\n\r\t\u00e9""#,
            "\"\\/\u{8}\u{c}\n\r\t\u{e9}",
            false,
        ),
        (r#""\ud83d\ude00""#, "\u{1f600}", false),
        (r#""a\u0000b""#, "a\u{fffd}b", true),
        (r#""x\ud800y""#, "x\u{fffd}y", true),
        (r#""\udc00""#, "\u{fffd}", true),
        (r#""\ud800\ud83d\ude00""#, "\u{fffd}\u{1f600}", true),
    ] {
        assert_eq!(
            unescape(raw),
            Text {
                value: value.into(),
                repaired
            },
            "{raw}"
        );
    }
}

#[test]
fn numbers_have_one_form() {
    for (number, plain) in [
        ("0", "0"),
        ("-0", "0"),
        ("0.0", "0"),
        ("1", "1"),
        ("1.0", "1"),
        ("1e0", "1"),
        ("12.50", "12.5"),
        ("1e-05", "0.00001"),
        ("-2.5E+3", "-2500"),
        ("0.10", "0.1"),
        ("100", "100"),
        ("1230e-2", "12.3"),
        ("12345678901234567890123", "12345678901234567890123"),
        ("0.001e3", "1"),
    ] {
        assert_eq!(plain_number(number).unwrap(), plain, "{number}");
    }
    assert_eq!(plain_number("1e399").unwrap().len(), 400);
    assert_eq!(plain_number("1e401"), None);
    assert_eq!(plain_number("1e-99999999999999999999"), None);
    assert_eq!(plain_number("0e99999999999999999999"), Some("0".into()));
}

#[test]
fn canonical_form_ignores_order_duplicates_and_space() {
    let form = |raw: &str| {
        let mut out = String::new();
        canonical(raw, 4, &mut out).map(|_| out)
    };
    assert_eq!(
        form(r#"{"b" : [1.0, "x"], "a":1, "a":{"z":null}}"#).unwrap(),
        r#"{"a":{"z":null},"b":[1,"x"]}"#
    );
    assert_eq!(form("1e9999").unwrap(), r#""1e9999""#);
    assert_eq!(form("[[[[]]]]").unwrap(), "[[[[]]]]");
    assert_eq!(form("[[[[[]]]]]"), Err(Excess::Depth));
}

proptest! {
    #[test]
    fn nothing_panics_or_hangs(text in "[\\[\\]{}\",:\\\\ua-f0-9 \\n\u{e9}\u{1f600}]{0,60}") {
        let object = format!("{{{text}");
        let array = format!("[{text}");
        prop_assert!(members(&object).take(100).count() < 100);
        prop_assert!(elements(&array).take(100).count() < 100);
        unescape(&text);
        let _ = canonical(&object, 32, &mut String::new());
    }

    #[test]
    fn canonical_form_is_json_of_the_same_value(value in any::<Vec<(String, Option<i64>)>>()) {
        let object: serde_json::Map<_, _> = value.into_iter().map(|(k, v)| (k, v.into())).collect();
        let text = serde_json::to_string_pretty(&object).unwrap();
        let mut out = String::new();
        canonical(&text, 2, &mut out).unwrap();
        let mut again = String::new();
        canonical(&out, 2, &mut again).unwrap();
        prop_assert_eq!(&out, &again);
        let back: serde_json::Map<_, _> = serde_json::from_str(&out).unwrap();
        let object: serde_json::Map<_, _> = object.into_iter().map(|(k, v)| (k.replace('\0', "\u{fffd}"), v)).collect();
        prop_assert_eq!(back.keys().collect::<std::collections::BTreeSet<_>>(), object.keys().collect());
    }
}
