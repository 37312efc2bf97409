//! All samples of a run, and their medians.

/// One figure: a row of the recorded CSV, in the words of its columns.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    /// The placement's name.
    pub(crate) setting: String,
    pub(crate) measure: String,
    /// Empty if the measure has only one.
    pub(crate) metric: String,
    pub(crate) unit: String,
    /// The competitor's name.
    pub(crate) peer: String,
    pub(crate) round: u32,
    pub(crate) figure: f64,
}

/// Figures in the order in which they were taken.
#[derive(Clone, Debug, Default)]
pub(crate) struct Results {
    pub(crate) rows: Vec<Row>,
    /// Cases that a competitor does not support: title of the case, competitor, reason.
    pub(crate) declined: Vec<(String, String, String)>,
}

/// The summary of a competitor's samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Summary {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
    pub(crate) count: usize,
}

impl Summary {
    pub(crate) fn of(figures: impl IntoIterator<Item = f64>) -> Option<Summary> {
        let mut sorted: Vec<f64> = figures.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let upper = *sorted.get(sorted.len() / 2)?;
        let lower = *sorted.get(sorted.len().saturating_sub(1) / 2)?;
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        Some(Summary { median: f64::midpoint(lower, upper), min, max, count: sorted.len() })
    }
}

impl Results {
    /// The summary of the samples of one competitor in one metric, if there are any.
    pub(crate) fn summary(
        &self,
        setting: &str,
        measure: &str,
        metric: &str,
        competitor: &str,
    ) -> Option<Summary> {
        let matches = |row: &&Row| {
            row.setting == setting && row.measure == measure && row.metric == metric && row.peer == competitor
        };
        Summary::of(self.rows.iter().filter(matches).map(|row| row.figure))
    }

    /// The competitors that have figures for this measure, in the order of the report.
    pub(crate) fn competitors(&self, setting: &str, measure: &str) -> Vec<&str> {
        let mut competitors = Vec::new();
        for row in self.rows.iter().filter(|row| row.setting == setting && row.measure == measure) {
            if !competitors.contains(&row.peer.as_str()) {
                competitors.push(row.peer.as_str());
            }
        }
        competitors
    }

    /// Placement, measure, metric and unit of each table, in order.
    pub(crate) fn tables(&self) -> Vec<[&str; 4]> {
        let mut tables = Vec::new();
        for row in &self.rows {
            let table = [row.setting.as_str(), &row.measure, &row.metric, &row.unit];
            if !tables.contains(&table) {
                tables.push(table);
            }
        }
        tables
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        let of = |figures: &[f64]| Summary::of(figures.iter().copied());
        assert_eq!(of(&[3.0, 1.0, 9.0]), Some(Summary { median: 3.0, min: 1.0, max: 9.0, count: 3 }));
        assert_eq!(of(&[4.0, 1.0, 9.0, 2.0]).map(|summary| summary.median), Some(3.0));
        assert_eq!(of(&[]), None);
    }
}
