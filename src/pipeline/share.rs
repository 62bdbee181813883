//! Which shards a daemon takes, so that all daemons together read all of them and none reads many more than another.

use std::collections::BTreeMap;

/// Who has a shard that can be read now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    Me,
    Nobody,
    Other(String),
}

/// The shards to take now, each with whom to take it from. Free ones first, up to a fair share: the shards by the daemons
/// that have any, and this one, rounded up. Where nothing is free, one from who has at least two more than this daemon:
/// then it never goes to and fro. `most` is what this daemon can read in all.
pub fn to_take(shards: &[(String, Holder)], most: usize) -> Vec<(String, Option<String>)> {
    let mut mine = 0;
    let mut others: BTreeMap<&str, Vec<&String>> = BTreeMap::new();
    let mut free = Vec::new();
    for (shard, holder) in shards {
        match holder {
            Holder::Me => mine += 1,
            Holder::Nobody => free.push(shard),
            Holder::Other(owner) => others.entry(owner).or_default().push(shard),
        }
    }
    let fair = shards.len().div_ceil(others.len() + 1).min(most);
    if mine >= fair {
        return Vec::new();
    }
    if !free.is_empty() {
        let taken = free.into_iter().take(fair - mine);
        return taken.map(|shard| (shard.clone(), None)).collect();
    }
    let richest = others.into_iter().max_by_key(|(_, shards)| shards.len());
    richest
        .filter(|(_, shards)| shards.len() >= mine + 2)
        .map(|(owner, shards)| (shards[0].clone(), Some(owner.to_owned())))
        .into_iter()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One letter for each shard: who has it, `.` nobody, `m` we.
    fn shards(holders: &str) -> Vec<(String, Holder)> {
        let holder = |letter| match letter {
            'm' => Holder::Me,
            '.' => Holder::Nobody,
            other => Holder::Other(other.to_string()),
        };
        let numbered = holders.chars().enumerate();
        numbered
            .map(|(n, letter)| (n.to_string(), holder(letter)))
            .collect()
    }

    fn taken(holders: &str, most: usize) -> String {
        let taken = to_take(&shards(holders), most);
        let words = taken.into_iter().map(|(shard, from)| match from {
            None => shard,
            Some(owner) => format!("{shard} from {owner}"),
        });
        words.collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn who_is_alone_takes_all_that_it_can_read() {
        assert_eq!(taken("....", 8), "0, 1, 2, 3");
        assert_eq!(taken("....", 3), "0, 1, 2");
        assert_eq!(taken("mmm.", 3), "");
        assert_eq!(taken("", 3), "");
    }

    #[test]
    fn nobody_takes_more_than_its_share_while_another_lives() {
        assert_eq!(taken("a...", 8), "1, 2");
        assert_eq!(taken("am..", 8), "2");
        assert_eq!(taken("am.m", 8), "");
        assert_eq!(taken("ab...", 8), "2, 3");
    }

    #[test]
    fn one_at_a_time_is_taken_from_who_has_more() {
        assert_eq!(taken("aaaa", 8), "0 from a");
        assert_eq!(taken("aaam", 8), "0 from a");
        assert_eq!(taken("aamm", 8), "");
        assert_eq!(taken("abb", 8), "1 from b");
        assert_eq!(taken("ab", 8), "", "more daemons than shards");
        assert_eq!(taken("aam", 8), "", "it would only go to and fro");
    }

    #[test]
    fn any_number_of_daemons_comes_to_rest_in_balance() {
        for (count, daemons) in [(4, 2), (4, 3), (7, 3), (3, 5), (10, 4)] {
            let names = ["a", "b", "c", "d", "e"];
            let mut owners: Vec<Option<&str>> = vec![None; count];
            for round in 0.. {
                assert!(round < 20, "no rest: {owners:?}");
                let before = owners.clone();
                for me in &names[..daemons] {
                    let seen = owners.iter().enumerate().map(|(n, owner)| {
                        let holder = match owner {
                            None => Holder::Nobody,
                            Some(owner) if owner == me => Holder::Me,
                            Some(owner) => Holder::Other((*owner).to_owned()),
                        };
                        (n.to_string(), holder)
                    });
                    for (shard, _) in to_take(&seen.collect::<Vec<_>>(), 8) {
                        owners[shard.parse::<usize>().unwrap()] = Some(me);
                    }
                }
                if owners == before {
                    break;
                }
            }
            let has = |name: &str| owners.iter().filter(|it| **it == Some(name)).count();
            let counts: Vec<usize> = names[..daemons].iter().map(|name| has(name)).collect();
            let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
            assert!(most - least <= 1, "{count} by {daemons}: {counts:?}");
            assert_eq!(counts.iter().sum::<usize>(), count);
        }
    }
}
