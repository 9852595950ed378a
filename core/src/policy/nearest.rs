//! "Did you mean": the known name that is most similar to a mistyped one.

/// The candidate with the smallest edit distance to `name`, if that is at most a third of the name's length.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let length = name.chars().count();
    let most = (length / 3).max(1);
    candidates
        .into_iter()
        .filter(|candidate| candidate.chars().count().abs_diff(length) <= most)
        .map(|candidate| (distance(name, candidate), candidate))
        .filter(|(distance, _)| *distance <= most)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// The number of characters to add, drop, change or swap with their neighbour (optimal string alignment), ignoring
/// case.
pub(super) fn distance(a: &str, b: &str) -> usize {
    strsim::osa_distance(&lower_case(a), &lower_case(b))
}

/// Character by character: `str::to_lowercase` has tables for the final sigma, 2 KB in the module.
fn lower_case(text: &str) -> String {
    text.chars().flat_map(char::to_lowercase).collect()
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
