//! Quantities that quotas count, formatted for people.

use otlp_gate_core::quota::Dimension;

/// A quantity in the largest unit that divides it: `50k`, or for bytes `8MiB`.
pub(crate) fn quantity(number: u128, of: Dimension) -> String {
    let units = if of == Dimension::Bytes { BINARY } else { DECIMAL };
    match units.into_iter().find(|(unit, _)| number > 0 && number.is_multiple_of(*unit)) {
        Some((unit, name)) => format!("{}{name}", number / unit),
        None => number.to_string(),
    }
}

const DECIMAL: [(u128, &str); 3] = [(1_000_000_000, "G"), (1_000_000, "M"), (1000, "k")];
const BINARY: [(u128, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_exact_in_the_largest_unit() {
        for (number, of, expected) in [
            (0, Dimension::Items, "0"),
            (999, Dimension::Items, "999"),
            (400_000, Dimension::Spans, "400k"),
            (1_500_000, Dimension::Items, "1500k"),
            (2_000_000, Dimension::Requests, "2M"),
            (16 << 20, Dimension::Bytes, "16MiB"),
            (1000, Dimension::Bytes, "1000"),
        ] {
            assert_eq!(quantity(number, of), expected);
        }
    }
}
