use std::fs;

use super::*;

/// A KiB and more of lines, each of ten bytes.
fn lines(numbers: std::ops::Range<u32>) -> String {
    numbers
        .map(|number| format!("{{\"n\":{number:04}\n"))
        .collect()
}

/// The lines that are read from a position on, and the position behind the last of them.
async fn read(files: &Files, position: Option<&Position>) -> (String, Position) {
    let listed = files.list().unwrap().0.remove(0);
    let mut object = files.open(&listed, position, 1 << 20).await.unwrap();
    let mut text = String::new();
    while let Some(piece) = object.next().await.unwrap() {
        text += &String::from_utf8(piece.bytes).unwrap();
        text.push('\n');
        object.pass(piece.end, piece.number);
    }
    let saved = object.position().text();
    (text, Position::parse(&saved).unwrap())
}

fn folder() -> (tempfile::TempDir, Files, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let files = Files::Folder(folder.path().to_owned());
    let file = folder.path().join("a");
    (folder, files, file)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_has_grown_is_read_on() {
    let (_folder, files, file) = folder();
    fs::write(&file, lines(0..500)).unwrap();
    let (text, position) = read(&files, None).await;
    assert_eq!(text, lines(0..500));
    fs::write(&file, lines(0..502)).unwrap();
    let (text, position) = read(&files, Some(&position)).await;
    assert_eq!(text, lines(500..502));
    // Nothing was read behind the position, so it stays what it was.
    let (text, again) = read(&files, Some(&position)).await;
    assert_eq!((text.as_str(), &again), ("", &position));
    fs::write(&file, lines(0..503)).unwrap();
    let (text, _) = read(&files, Some(&again)).await;
    assert_eq!(text, lines(502..503));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_written_anew_is_read_from_its_beginning() {
    for other in [
        // It begins so and is as long, longer, or shorter.
        lines(0..200) + &lines(700..1000),
        lines(0..200) + &lines(700..1200),
        lines(0..200) + &lines(700..710),
        lines(0..300),
        lines(0..499),
        lines(1..600),
        String::new(),
    ] {
        let (_folder, files, file) = folder();
        fs::write(&file, lines(0..500)).unwrap();
        let (_, position) = read(&files, None).await;
        fs::write(&file, &other).unwrap();
        let (text, _) = read(&files, Some(&position)).await;
        assert!(text == other, "{} bytes: {text}", other.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_anew_since_it_was_listed_is_read_from_its_beginning() {
    let (_folder, files, file) = folder();
    fs::write(&file, lines(0..500)).unwrap();
    let (_, position) = read(&files, None).await;
    let listed = files.list().unwrap().0.remove(0);
    fs::write(&file, lines(0..200) + &lines(700..1000)).unwrap();
    let mut object = files.open(&listed, Some(&position), 1 << 20).await.unwrap();
    let first = object.next().await.unwrap().unwrap();
    assert_eq!(
        (first.number, first.bytes.as_slice()),
        (1, b"{\"n\":0000".as_slice())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_that_does_not_say_what_stands_before_it_is_not_trusted() {
    let (_folder, files, file) = folder();
    fs::write(&file, lines(0..500)).unwrap();
    let (_, position) = read(&files, None).await;
    for before in [None, Some("x"), Some("9999999999 0"), Some("1024 0")] {
        let position = Position {
            before: before.map(ToOwned::to_owned),
            ..position.clone()
        };
        let (text, _) = read(&files, Some(&position)).await;
        assert_eq!(text, lines(0..500), "{before:?}");
    }
}

#[test]
fn a_named_file_that_is_gone_is_told() {
    let (_folder, _, file) = folder();
    let (found, missed) = Files::Named(vec![file.clone()]).list().unwrap();
    assert!(found.is_empty());
    let told = missed[0].to_string();
    let begins = format!("cannot look at {}: ", file.display());
    assert!(missed.len() == 1 && told.starts_with(&begins), "{told}");
}

#[test]
fn files_of_one_name_in_two_folders_are_at_two_places() {
    let address = |folder: &str| Files::Folder(folder.into()).address("deep/a");
    assert_eq!(address("/one"), "/one/deep/a");
    assert_eq!(address("/two/"), "/two/deep/a");
    assert!(address("relative").starts_with('/'));
    let named = Files::Named(vec!["/one/deep/a".into()]);
    assert_eq!(named.address("/one/deep/a"), address("/one"));
}
