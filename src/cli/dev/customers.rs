//! The invented customers of the scenario, and the class of each of their fields.

use anyhow::{Context, Result};

/// Columns of `customers.csv` with the classes of their values.
const COLUMNS: [(&str, &str); 11] = [
    ("name", "pii/account/name"),
    ("address", "pii/account/address"),
    ("timezone", "pii/account/timezone"),
    ("ip_address", "pii/account/ip_address"),
    ("email", "pii/account/email"),
    ("phone", "pii/account/phone"),
    ("tax_id", "pii/billing/tax_id"),
    ("payment", "pii/billing/payment"),
    ("billing_address", "pii/billing/address"),
    ("activity", "pii/usage/activity"),
    ("geolocation", "pii/usage/geolocation"),
];

/// One value of one customer. Empty values are left out: there is nothing to protect.
#[derive(Clone, Debug)]
pub(super) struct Field {
    pub(super) subject: String,
    pub(super) class: &'static str,
    pub(super) value: String,
}

/// All customers' fields, customer after customer, and how many customers there are.
pub(super) fn read() -> Result<(Vec<Field>, usize)> {
    parse(include_str!("../../../tests/data/customers.csv"))
}

fn parse(text: &str) -> Result<(Vec<Field>, usize)> {
    let mut rows = csv::Reader::from_reader(text.as_bytes());
    let headers = rows.headers()?.clone();
    let position = |column: &str| headers.iter().position(|header| header == column).context("a column is missing");
    let id = position("id")?;
    let columns = COLUMNS.map(|(column, class)| position(column).map(|at| (at, class)));
    let columns = columns.into_iter().collect::<Result<Vec<_>>>()?;
    let mut fields = Vec::new();
    let mut customers = 0;
    for row in rows.records() {
        let row = row?;
        customers += 1;
        for (at, class) in &columns {
            let value = row.get(*at).unwrap_or_default();
            if !value.is_empty() {
                let subject = row.get(id).unwrap_or_default().to_owned();
                fields.push(Field { subject, class, value: value.to_owned() });
            }
        }
    }
    Ok((fields, customers))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn there_are_thousands_of_customers_with_values_of_every_class() {
        let (fields, customers) = read().unwrap();
        assert!(customers >= 2_000);
        let classes: HashSet<_> = fields.iter().map(|field| field.class).collect();
        assert_eq!(classes.len(), COLUMNS.len());
        let subjects: HashSet<_> = fields.iter().map(|field| &field.subject).collect();
        assert_eq!(subjects.len(), customers);
        assert!(fields.iter().all(|field| !field.value.is_empty()));
        assert!(fields.iter().any(|field| !field.value.is_ascii()));
    }
}
