use std::collections::{BTreeMap, BTreeSet};

use super::*;

#[test]
fn they_behave_like_b_trees() {
    let (mut map, mut set) = (Map::new(), Set::new());
    let (mut known, mut keys) = (BTreeMap::new(), BTreeSet::new());
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut random = |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    for n in 0..20_000_u64 {
        let key = random(97);
        match random(9) {
            0..=2 => {
                assert_eq!(map.insert(key, n), known.insert(key, n));
                assert_eq!(set.insert(key), keys.insert(key));
            }
            3 | 4 => {
                assert_eq!(map.remove(&key), known.remove(&key));
                assert_eq!(set.remove(&key), keys.remove(&key));
            }
            5 => {
                *map.or_default(key) += 1;
                *known.entry(key).or_default() += 1;
                assert_eq!(map.or_insert_with(key + 1, || n), known.entry(key + 1).or_insert(n));
            }
            6 => {
                assert_eq!(map.get_mut(&key).map(|value| *value += 1), known.get_mut(&key).map(|value| *value += 1));
                map.values_mut().for_each(|value| *value += 1);
                known.values_mut().for_each(|value| *value += 1);
            }
            7 => {
                let more = [key, key + 3, key.saturating_sub(5), key];
                set.extend(&more);
                keys.extend(&more);
                map.extend(more.map(|key| (key, n + key)));
                known.extend(more.map(|key| (key, n + key)));
            }
            _ => {
                let rest = random(20);
                map.retain(|key, value| (*key + *value) % 20 != rest);
                known.retain(|key, value| (*key + *value) % 20 != rest);
                set.retain(|key| key % 20 != rest);
                keys.retain(|key| key % 20 != rest);
            }
        }
        assert_eq!((map.get(&key), map.contains_key(&key)), (known.get(&key), known.contains_key(&key)));
        assert_eq!((set.contains(&key), set.len(), set.first()), (keys.contains(&key), keys.len(), keys.first()));
        assert!(map.iter().eq(known.iter()) && map.iter().rev().eq(known.iter().rev()) && set.iter().eq(&keys));
        assert!(map.keys().eq(known.keys()) && map.values().eq(known.values()));
        assert_eq!((map.len(), map.is_empty(), set.is_empty()), (known.len(), known.is_empty(), keys.is_empty()));
    }
    assert!(map.clone().into_values().eq(known.clone().into_values()));
    assert!(map.into_iter().eq(known) && set.into_iter().eq(keys));
}

#[test]
fn of_equal_keys_the_last_value_counts() {
    let map = Map::from([(2, 'a'), (1, 'b'), (2, 'c')]);
    assert_eq!(serde_json::to_string(&map).expect("a map"), r#"{"1":"b","2":"c"}"#);
    assert_eq!(map.into_iter().collect::<Vec<_>>(), [(1, 'b'), (2, 'c')]);
}
