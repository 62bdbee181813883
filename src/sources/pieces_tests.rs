use proptest::prelude::*;

use super::*;

/// All pieces of a stream that comes in parts of these lengths, over and over.
fn cut(stream: &[u8], max_bytes: usize, lengths: &[usize]) -> Vec<Piece> {
    let mut pieces = Pieces::new(max_bytes, None);
    let (mut found, mut rest) = (Vec::new(), stream);
    for length in lengths.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (part, behind) = rest.split_at(rest.len().min(*length));
        pieces.push(part);
        found.extend(std::iter::from_fn(|| pieces.cut()));
        rest = behind;
    }
    pieces.finish();
    found.extend(std::iter::from_fn(|| pieces.cut()));
    found
}

fn texts(stream: &str) -> Vec<(u64, String)> {
    let pieces = cut(stream.as_bytes(), 1000, &[usize::MAX]);
    let text = |piece: Piece| (piece.number, String::from_utf8(piece.bytes).unwrap());
    pieces.into_iter().map(text).collect()
}

fn numbered(texts: &[(u64, &str)]) -> Vec<(u64, String)> {
    let owned = |(number, text): &(u64, &str)| (*number, (*text).to_owned());
    texts.iter().map(owned).collect()
}

#[test]
fn a_line_is_a_body_and_a_blank_one_is_none() {
    let found = texts("H4sI\r\n\n  {\"a\":\"]\\\"\"}  \n{\"broken\nlast");
    let all = [
        (1, "H4sI"),
        (3, "{\"a\":\"]\\\"\"}"),
        (4, "{\"broken"),
        (5, "last"),
    ];
    assert_eq!(found, numbered(&all));
    assert_eq!(
        texts("\u{feff}{\"a\":1}\n{\"b\":2}\n")[0],
        (1, "{\"a\":1}".into())
    );
    assert!(texts(" \n\n").is_empty() && texts("").is_empty());
}

#[test]
fn large_pieces_are_cut_like_small_ones() {
    let large = "x".repeat(LARGE_BYTES + 7);
    let other = "y".repeat(2 * LARGE_BYTES);
    let stream = format!("a\n  {large} \r\nb\n{other}\n\nc");
    for part in [usize::MAX, 300_000, 4_099] {
        let mut pieces = Pieces::new(4 * LARGE_BYTES, None);
        let mut found = Vec::new();
        let mut note = |pieces: &mut Pieces| {
            while let Some(piece) = pieces.cut() {
                let end = usize::try_from(piece.end).unwrap();
                let before = pieces.before();
                assert!(before.len() >= end.min(BEFORE_BYTES), "{}", before.len());
                assert_eq!(before, &stream.as_bytes()[end - before.len()..end]);
                found.push((piece.number, String::from_utf8(piece.bytes).unwrap()));
            }
        };
        for bytes in stream.as_bytes().chunks(part) {
            pieces.push(bytes);
            note(&mut pieces);
        }
        pieces.finish();
        note(&mut pieces);
        let all = [(1, "a"), (2, &large), (3, "b"), (4, &other), (6, "c")];
        assert!(found == numbered(&all), "{part}");
    }
    let cut_off = cut(stream.as_bytes(), LARGE_BYTES, &[300_000]);
    assert_eq!(cut_off[1].bytes.len(), LARGE_BYTES + 1);
    assert_eq!(cut_off[4].end, stream.len() as u64);
}

#[test]
fn the_elements_of_an_array_are_bodies() {
    let found = texts(
        "\u{feff} [\n {\"a\":[1,\"]\\\"\"]} ,{\"b\":{}},5, \"x,y\", [1]\n]\n[{\"c\":1}]\n{\"d\":1}",
    );
    let all = [
        (1, "{\"a\":[1,\"]\\\"\"]}"),
        (2, "{\"b\":{}}"),
        (3, "5"),
        (4, "\"x,y\""),
        (5, "[1]"),
        (6, "{\"c\":1}"),
        (7, "{\"d\":1}"),
    ];
    assert_eq!(found, numbered(&all));
    assert!(texts("[]").is_empty());
    assert_eq!(texts("[{\"a\":1},{\"b\"")[1], (2, "{\"b\"".into()));
}

#[test]
fn json_whose_first_line_ends_in_its_middle_is_one_body() {
    let pretty = "{\n  \"data\": [\n    {}\n  ]\n}";
    assert_eq!(texts(pretty), numbered(&[(1, pretty)]));
    assert_eq!(texts("{\"data\":[\n{},\n{}]}").len(), 1);
    assert_eq!(texts("{\"data\":[]}\n{\"data\":[]}").len(), 2);
}

#[test]
fn a_piece_that_is_too_long_is_cut_and_the_next_one_is_whole() {
    let found = cut(b"[1111111111,22]", 4, &[3]);
    assert_eq!(found[0].bytes, b"11111");
    assert_eq!((&found[1].bytes[..], found[1].end), (&b"22"[..], 14));
    let lines = cut(b"aaaaaaaaaaaaaaa\nbb\n", 4, &[2]);
    assert_eq!(lines[0].bytes, b"aaaaa");
    assert_eq!((&lines[1].bytes[..], lines[1].end), (&b"bb"[..], 19));
}

proptest! {
    #[test]
    fn however_the_bytes_come_the_pieces_are_the_same(
        stream in "\u{feff}?[\\[\\]{}\",\\\\\n a:]{0,60}",
        lengths in proptest::collection::vec(1..9_usize, 1..5),
        max_bytes in 1..20_usize,
    ) {
        let whole = cut(stream.as_bytes(), max_bytes, &[usize::MAX]);
        prop_assert_eq!(cut(stream.as_bytes(), max_bytes, &lengths), whole);
    }

    #[test]
    fn a_stream_goes_on_behind_each_piece(stream in "[\\[{]?[\\[\\]{}\",\\\\\n a:]{0,60}") {
        let bytes = stream.as_bytes();
        let whole = cut(bytes, 100, &[usize::MAX]);
        let Some(layout) = Layout::of(bytes, true) else { return Ok(()) };
        for (at, piece) in whole.iter().enumerate() {
            let mark = Mark { layout, offset: piece.end, number: piece.number };
            let mut pieces = Pieces::new(100, Some(mark));
            pieces.push(&bytes[piece.end as usize..]);
            pieces.finish();
            let rest: Vec<Piece> = std::iter::from_fn(|| pieces.cut()).collect();
            // Behind the end of an array another may begin: it is open, or the next bracket opens it.
            if layout != Layout::Array || !stream[..piece.end as usize].contains(']') {
                prop_assert_eq!(&rest[..], &whole[at + 1..]);
            }
        }
    }
}
