//! The figures, the bounds they are held to, and how they are shown.

use serde_json::{Value, json};

/// Bound of a figure.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Bound {
    /// Nothing: it is there to be read.
    None,
    /// At least this value.
    AtLeast(f64),
    /// Less than this.
    Under(f64),
}

/// One thing measured several times.
pub(crate) struct Figure {
    /// Measured figure.
    pub(crate) name: String,
    /// On which engine.
    pub(crate) engine: &'static str,
    /// In which unit.
    pub(crate) unit: &'static str,
    /// Every run's value, from the smallest on.
    runs: Vec<f64>,
    bound: Bound,
}

impl Figure {
    /// A figure with the value of each run; there has to be one.
    pub(crate) fn new(
        engine: &'static str,
        name: impl Into<String>,
        unit: &'static str,
        mut runs: Vec<f64>,
        bound: Bound,
    ) -> Self {
        assert!(!runs.is_empty(), "a figure has at least one run");
        runs.sort_by(f64::total_cmp);
        Self { name: name.into(), engine, unit, runs, bound }
    }

    /// The middle one of the runs.
    pub(crate) fn median(&self) -> f64 {
        quantile(&self.runs, 0.5)
    }

    /// Returns whether the bound is held.
    pub(crate) fn holds(&self) -> bool {
        match self.bound {
            Bound::None => true,
            Bound::AtLeast(least) => self.median() >= least,
            Bound::Under(limit) => self.median() < limit,
        }
    }

    fn verdict(&self) -> String {
        let held = if self.holds() { "held" } else { "**missed**" };
        match self.bound {
            Bound::None => String::new(),
            Bound::AtLeast(least) => format!("at least {least}: {held}"),
            Bound::Under(limit) => format!("under {limit}: {held}"),
        }
    }

    fn row(&self) -> String {
        let spread = match (self.runs.first(), self.runs.last()) {
            (Some(least), Some(most)) if self.runs.len() > 1 => {
                format!("{} to {}", short(*least), short(*most))
            }
            _ => String::new(),
        };
        let median = format!("{} {}", short(self.median()), self.unit);
        format!("| {} | {} | {} | {spread} | {} |", self.engine, self.name, median.trim(), self.verdict())
    }

    fn json(&self) -> Value {
        let bound = match self.bound {
            Bound::None => Value::Null,
            Bound::AtLeast(least) => json!({"at_least": least}),
            Bound::Under(limit) => json!({"under": limit}),
        };
        json!({"engine": self.engine, "figure": self.name, "unit": self.unit, "median": self.median(),
               "runs": self.runs, "bound": bound, "held": self.holds()})
    }
}

/// The smallest value that at least `share` of `sorted` do not exceed.
pub(crate) fn quantile(sorted: &[f64], share: f64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a few thousand values at the most")]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between nothing and the length"
    )]
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}

/// For people: a table in Markdown, under the machine.
pub(crate) fn table(machine: &Value, figures: &[Figure]) -> String {
    let about = ["cpu", "cores", "memory", "kernel", "filesystem"].map(|key| match &machine[key] {
        Value::String(text) => format!("{key}: {text}"),
        other => format!("{key}: {other}"),
    });
    let rows: Vec<_> = figures.iter().map(Figure::row).collect();
    let head = "| engine | figure | median | runs | bound |\n|---|---|---|---|---|";
    format!("{}\n\n{head}\n{}", about.join(" · "), rows.join("\n"))
}

/// For programs: the same.
pub(crate) fn document(machine: &Value, figures: &[Figure]) -> Value {
    json!({"machine": machine, "figures": figures.iter().map(Figure::json).collect::<Vec<_>>()})
}

/// Three digits that matter.
fn short(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        v if v >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}
