//! "Did you mean": the known name that is nearest to a mistyped one.

/// The candidate with the smallest edit distance to `word`, where that is small for the word's length.
pub(super) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let length = word.chars().count();
    let most = (length / 3).max(1);
    candidates
        .into_iter()
        .filter(|candidate| candidate.chars().count().abs_diff(length) <= most)
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= most)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// How many characters to add, drop, change or swap with their neighbour (optimal string alignment); case counts for
/// nothing.
pub(super) fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().flat_map(char::to_lowercase).collect();
    let b: Vec<char> = b.chars().flat_map(char::to_lowercase).collect();
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.iter().enumerate() {
        let mut next = Vec::with_capacity(row.len());
        let mut left = i + 1;
        next.push(left);
        for (j, ((to, diagonal), above)) in b.iter().zip(&row).zip(row.iter().skip(1)).enumerate() {
            left = (diagonal + usize::from(from != to)).min(above + 1).min(left + 1);
            let swapped = i > 0 && j > 0 && a.get(i - 1) == Some(to) && b.get(j - 1) == Some(from);
            if let (true, Some(two_back)) = (swapped, before.get(j.wrapping_sub(1))) {
                left = left.min(two_back + 1);
            }
            next.push(left);
        }
        before = core::mem::replace(&mut row, next);
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_count_edits_and_swaps() {
        for (a, b, expected) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("kitten", "sitting", 3),
            ("gold", "glod", 1),
            ("abcd", "badc", 2),
            ("CN", "cn", 0),
        ] {
            assert_eq!(distance(a, b), expected, "{a} {b}");
        }
    }

    #[test]
    fn only_what_is_near_is_suggested() {
        assert_eq!(nearest("sitte", ["org", "site", "sites"]), Some("site"));
        assert_eq!(nearest("glod", ["slow", "gold"]), Some("gold"));
        assert_eq!(nearest("tenant", ["org", "site"]), None);
        assert_eq!(nearest("x", []), None);
    }
}
