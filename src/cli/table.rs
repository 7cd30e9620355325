//! Lists and objects as text: one row an item with columns of fixed widths, or one field a line.
//!
//! The widths are fixed because rows are printed while further pages are fetched. A cell that is wider than its column
//! moves the rest of its row to the right; nothing is cut, so that scripts can split rows at white space.

use serde_json::{Map, Value as Json};

use super::output::{field, line};

/// Column of a [`TextTable`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Column {
    heading: &'static str,
    /// Minimum width in characters.
    width: usize,
    right: bool,
}

impl Column {
    /// Returns a column with text at its left.
    pub(super) const fn left(heading: &'static str, width: usize) -> Self {
        Self { heading, width, right: false }
    }

    /// Returns a column with numbers at its right.
    pub(super) const fn right(heading: &'static str, width: usize) -> Self {
        Self { heading, width, right: true }
    }

    /// Returns the last column of a table, which needs no width.
    pub(super) const fn last(heading: &'static str) -> Self {
        Self::left(heading, 0)
    }
}

/// Layout of a list of `N` columns.
#[derive(Debug, Clone, Copy)]
pub(super) struct TextTable<const N: usize>(pub(super) [Column; N]);

impl<const N: usize> TextTable<N> {
    /// Returns the row of headings.
    pub(super) fn headings(&self) -> String {
        self.row(&self.0.map(|column| column.heading.to_owned()))
    }

    /// Returns an item as one row.
    pub(super) fn row(&self, cells: &[String; N]) -> String {
        let padded = cells.iter().zip(&self.0).map(|(cell, column)| match *column {
            Column { width, right: true, .. } => format!("{cell:>width$}"),
            Column { width, .. } => format!("{cell:<width$}"),
        });
        padded.collect::<Vec<_>>().join("  ")
    }
}

/// Prints an object with one field a line, its values in one column.
pub(super) fn print_fields(object: &Map<String, Json>) -> anyhow::Result<()> {
    let width = object.keys().map(String::len).max().unwrap_or(0);
    for (name, value) in object {
        line(&format!("{name:<width$}  {}", field(value)))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wide_cell_moves_the_rest_and_is_not_cut() {
        let table = TextTable([Column::left("NAME", 6), Column::right("COUNT", 5), Column::last("URL")]);
        assert_eq!(table.headings(), "NAME    COUNT  URL");
        assert_eq!(table.row(&["a", "12", "/x"].map(str::to_owned)), "a          12  /x");
        assert_eq!(table.row(&["longer-name", "123456", ""].map(str::to_owned)), "longer-name  123456  ");
    }
}
