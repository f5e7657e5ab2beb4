//! Each name once: duplicates are merged or refused. It does not decide which names are admitted.

use smallvec::SmallVec;

use super::bad_request::BadRequest;

/// Meta-variables. A web server sends some 20 to 50: most requests allocate nothing.
pub(super) type Meta<'a> = SmallVec<[(&'a [u8], &'a [u8]); 64]>;

/// Whether any name comes more than once.
pub(super) fn any_twice<'a>(names: impl Iterator<Item = &'a [u8]> + Clone) -> bool {
    if are_distinct(names.clone()) {
        return false;
    }
    // Sorted: a header of 64 kB can hold some 15,000 names, too many to compare each with each.
    let mut names: SmallVec<[&[u8]; 64]> = names.collect();
    // By length first: then most are not compared byte by byte.
    names.sort_unstable_by_key(|name| (name.len(), *name));
    names
        .iter()
        .zip(names.iter().skip(1))
        .any(|(one, next)| one == next)
}

/// Whether all names are certain to differ. Cheaper than sorting; `false` where two may be equal (a Bloom filter).
fn are_distinct<'a>(mut names: impl Iterator<Item = &'a [u8]>) -> bool {
    const WORDS: usize = 128;
    let mut seen = [0u64; WORDS];
    names.all(|name| {
        // The ends of names differ more than their beginnings.
        let end = match name.last_chunk() {
            Some(end) => u64::from_le_bytes(*end),
            None => name.iter().fold(0, |end, &byte| end << 8 | u64::from(byte)),
        };
        // Fibonacci hashing (Knuth, 6.4): the upper bits are the mixed ones.
        let mixed = (end ^ name.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let place = (mixed >> 51) as usize;
        let (word, bit) = (&mut seen[place / 64 % WORDS], 1 << (place % 64));
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    })
}

/// Keeps the first of several equal pairs.
pub(super) fn merge_duplicates(meta: &mut Meta<'_>) -> Result<(), BadRequest> {
    if !any_twice(meta.iter().map(|(name, _)| *name)) {
        return Ok(());
    }
    let mut order: SmallVec<[usize; 64]> = (0..meta.len()).collect();
    order.sort_unstable_by_key(|&index| (meta[index].0, index));
    let mut surplus: SmallVec<[usize; 8]> = SmallVec::new();
    for (&first, &again) in order.iter().zip(order.iter().skip(1)) {
        if meta[first].0 != meta[again].0 {
            continue;
        }
        if meta[first].1 != meta[again].1 {
            return Err(BadRequest::Duplicate);
        }
        surplus.push(again);
    }
    surplus.sort_unstable();
    let mut surplus = surplus.into_iter().peekable();
    let mut index = 0;
    meta.retain(|_| {
        let keep = surplus.next_if_eq(&index).is_none();
        index += 1;
        keep
    });
    Ok(())
}

/// The name that has two values, for a log line: `merge_duplicates` has refused the pairs.
pub fn in_conflict<'a, V: PartialEq>(
    pairs: impl IntoIterator<Item = (&'a [u8], V)>,
) -> Option<&'a [u8]> {
    let mut known = std::collections::BTreeMap::new();
    pairs.into_iter().find_map(|(name, value)| {
        let first = known.entry(name).or_insert_with(|| None);
        match first {
            Some(first) => (*first != value).then_some(name),
            None => {
                *first = Some(value);
                None
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn as_each_compared_with_each(given in prop::collection::vec(("[A-Z]", "[01]?"), 0..99)) {
            let given = given.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
            check(given.collect())?;
        }

        // Most of what the test above tries is a conflict; this never is.
        #[test]
        fn equal_duplicates(given in prop::collection::vec("[A-Z]", 0..99)) {
            check(given.iter().map(|name| (name.as_bytes(), name.as_bytes())).collect())?;
        }
    }

    #[test]
    fn the_name_in_conflict() {
        let name = |pairs: &[(&'static str, &str)]| {
            in_conflict(pairs.iter().map(|(name, value)| (name.as_bytes(), *value)))
        };
        assert_eq!(name(&[("A", "1"), ("B", "1"), ("A", "1")]), None);
        let twice = [("A", "1"), ("B", "1"), ("A", "1"), ("B", "2"), ("A", "2")];
        assert_eq!(name(&twice), Some(&b"B"[..]));
    }

    #[test]
    fn a_server_s_names_are_known_to_be_distinct() {
        let names = "CONTENT_LENGTH REQUEST_METHOD REQUEST_URI QUERY_STRING CONTENT_TYPE DOCUMENT_URI \
            DOCUMENT_ROOT SCGI SERVER_PROTOCOL REQUEST_SCHEME REMOTE_ADDR REMOTE_PORT SERVER_PORT SERVER_NAME \
            HTTP_HOST HTTP_USER_AGENT HTTP_ACCEPT HTTP_ACCEPT_LANGUAGE HTTP_ACCEPT_ENCODING HTTP_CONNECTION \
            HTTP_COOKIE HTTP_REFERER HTTP_SEC_FETCH_DEST HTTP_SEC_FETCH_MODE HTTP_SEC_FETCH_SITE A B";
        let names = || names.split_whitespace().map(str::as_bytes);
        assert!(are_distinct(names()));
        assert!(!are_distinct(names().chain([&b"B"[..]])));
    }

    fn check(mut meta: Meta<'_>) -> Result<(), TestCaseError> {
        let mut unique = Meta::new();
        let mut conflict = false;
        for &pair in &meta {
            match unique.iter().find(|seen| seen.0 == pair.0) {
                None => unique.push(pair),
                Some(seen) => conflict |= seen.1 != pair.1,
            }
        }
        let is_distinct = unique.len() == meta.len();
        prop_assert!(is_distinct || !are_distinct(meta.iter().map(|pair| pair.0)));
        if conflict {
            let given = meta.clone();
            prop_assert_eq!(merge_duplicates(&mut meta), Err(BadRequest::Duplicate));
            prop_assert!(in_conflict(given).is_some());
        } else {
            prop_assert_eq!(merge_duplicates(&mut meta), Ok(()));
            prop_assert_eq!(meta, unique);
        }
        Ok(())
    }
}
