//! What the cases have shown, as a table.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

static ROWS: Mutex<BTreeSet<[String; 4]>> = Mutex::new(BTreeSet::new());

/// Notes that a kind of caller did something in a mode, and what came of it.
pub(crate) fn note(client: &str, mode: &str, what: &str, outcome: &str) {
    let row = [client, mode, what, outcome].map(str::to_owned);
    ROWS.lock().unwrap_or_else(PoisonError::into_inner).insert(row);
}

/// Prints it, if there is anything in it.
pub(crate) fn print() {
    let rows = ROWS.lock().unwrap_or_else(PoisonError::into_inner);
    if rows.is_empty() {
        return;
    }
    let head = ["CALLER", "MODE", "WHAT", "OUTCOME"].map(str::to_owned);
    let widths = [0, 1, 2].map(|column| {
        rows.iter().chain([&head]).map(|row| row[column].chars().count()).max().unwrap_or_default()
    });
    for [client, mode, what, outcome] in [&head].into_iter().chain(rows.iter()) {
        let [first, second, third] = widths;
        println!("{client:first$}  {mode:second$}  {what:third$}  {outcome}");
    }
}
