//! Two texts side by side.

/// Puts two texts beside each other, line by line.
pub(super) fn side_by_side(left: &str, right: &str) -> String {
    let (left, right): (Vec<&str>, Vec<&str>) = (left.trim_end().lines().collect(), right.trim_end().lines().collect());
    let width = left.iter().map(|line| line.chars().count()).max().unwrap_or(0);
    let rows = (0..left.len().max(right.len())).map(|row| {
        let (first, second) = (left.get(row).unwrap_or(&""), right.get(row).unwrap_or(&""));
        format!("{first:<width$}    {second}").trim_end().to_owned()
    });
    rows.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::side_by_side;

    #[test]
    fn keeps_every_line_of_texts_of_different_length() {
        assert_eq!(side_by_side("a\nlonger\n", "x\ny\nz\n"), "a         x\nlonger    y\n          z");
        assert_eq!(side_by_side("one\ntwo", "x"), "one    x\ntwo");
    }
}
