use super::*;

fn shard(id: &str, parents: &[&str]) -> Shard {
    Shard {
        id: id.to_owned(),
        parents: parents.iter().map(|parent| (*parent).to_owned()).collect(),
    }
}

fn lease(part: &str, is_ended: bool, other: Option<&str>) -> Lease {
    Lease {
        part: part.to_owned(),
        is_ended,
        is_mine: other.is_none(),
        other: other.map(str::to_owned),
    }
}

fn found(listed: &[Shard], leases: &[Lease]) -> (Vec<String>, usize) {
    let readable = readable(listed, leases, |_| true);
    let ids = readable.shards.into_iter().map(|(id, _)| id).collect();
    (ids, readable.waiting)
}

#[test]
fn a_child_waits_for_all_its_parents() {
    let listed = [
        shard("a", &[]),
        shard("b", &[]),
        shard("merged", &["a", "b"]),
        shard("split", &["merged"]),
    ];
    let leases = |a, b, merged| {
        [
            lease("a", a, None),
            lease("b", b, None),
            lease("merged", merged, None),
            lease("split", false, None),
        ]
    };
    assert_eq!(
        found(&listed, &leases(false, false, false)),
        (vec!["a".into(), "b".into()], 2)
    );
    assert_eq!(
        found(&listed, &leases(true, false, false)),
        (vec!["b".into()], 2)
    );
    assert_eq!(
        found(&listed, &leases(true, true, false)),
        (vec!["merged".into()], 1)
    );
    assert_eq!(
        found(&listed, &leases(true, true, true)),
        (vec!["split".into()], 0)
    );
}

#[test]
fn a_parent_that_has_expired_holds_nothing_up() {
    let listed = [shard("child", &["gone"])];
    let leases = [lease("child", false, None), lease("gone", false, None)];
    assert_eq!(found(&listed, &leases), (vec!["child".into()], 0));
}

#[test]
fn who_holds_a_shard_is_told() {
    let listed = [shard("a", &[]), shard("b", &[]), shard("c", &[])];
    let leases = [
        lease("a", false, Some("them")),
        lease("b", false, None),
        lease("c", false, None),
    ];
    let readable = readable(&listed, &leases, |shard| shard == "b");
    let holders = [
        Holder::Other("them".into()),
        Holder::Me,
        // A lease of ours without a loop, as after a failed attempt to give it back.
        Holder::Nobody,
    ];
    let found: Vec<Holder> = readable.shards.into_iter().map(|(_, it)| it).collect();
    assert_eq!(found, holders);
}

#[test]
fn shards_without_a_holder_are_counted_whoever_else_reads() {
    let held = [
        ("a", Holder::Other("them".into())),
        ("b", Holder::Me),
        ("c", Holder::Nobody),
        ("d", Holder::Nobody),
        // Taken by us in this very round.
        ("e", Holder::Nobody),
    ];
    let held = held.map(|(shard, holder)| (shard.to_owned(), holder));
    assert_eq!(unread(&held, |shard| shard == "e"), 2);
    assert_eq!(unread(&held[..2], |_| false), 0);
}
