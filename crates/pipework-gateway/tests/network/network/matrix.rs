//! The results of all cases as a table.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

static ROWS: Mutex<BTreeSet<[String; 4]>> = Mutex::new(BTreeSet::new());

/// Records what a client did in a mode, and the outcome.
pub(crate) fn note(client: &str, mode: &str, what: &str, outcome: &str) {
    let row = [client, mode, what, outcome].map(str::to_owned);
    ROWS.lock().unwrap_or_else(PoisonError::into_inner).insert(row);
}

/// Prints the table, unless it is empty.
pub(crate) fn print() {
    let rows = ROWS.lock().unwrap_or_else(PoisonError::into_inner);
    if rows.is_empty() {
        return;
    }
    let head = ["CLIENT", "MODE", "ACTION", "OUTCOME"].map(str::to_owned);
    let widths = [0, 1, 2].map(|column| {
        rows.iter().chain([&head]).map(|row| row[column].chars().count()).max().unwrap_or_default()
    });
    for [client, mode, what, outcome] in [&head].into_iter().chain(rows.iter()) {
        let [first, second, third] = widths;
        println!("{client:first$}  {mode:second$}  {what:third$}  {outcome}");
    }
}
