//! `strategy: matrix` (GitHub's docs, "Running variations of jobs in a workflow").

use super::contexts::Contexts;
use super::expression::{evaluated, shown};
use crate::base::yaml::Node;
use crate::ciconfig::{MOST_INSTANCES, product};

/// The values of one row, in order.
pub(super) type Row = Vec<(String, Node)>;

/// The rows of a job's matrix; `None`: it has no matrix. A matrix that only GitHub can compute is an error, which says why
/// it was not followed, and so is one of more than 256 rows.
pub(super) fn rows(job: &Node, contexts: &Contexts<'_>) -> Result<Option<Vec<Row>>, String> {
    let Some(matrix) = job.get("strategy").and_then(|strategy| strategy.get("matrix")) else {
        return Ok(None);
    };
    let matrix = evaluated(matrix, contexts);
    let list = |name: &str, node: &Node| match node {
        Node::List(items) => Ok(items.clone()),
        _ => Err(format!("`matrix: {name}` is computed by another job")),
    };
    if !matches!(matrix, Node::Map(_)) {
        return Err("`matrix` is computed by another job".to_owned());
    }
    let (mut axes, mut include, mut exclude) = (Vec::new(), Vec::new(), Vec::new());
    for (name, node) in matrix.entries() {
        match name.as_str() {
            "include" => include = list(name, node)?,
            "exclude" => exclude = list(name, node)?,
            _ => axes.push((name.clone(), list(name, node)?)),
        }
    }
    let too_many = || format!("its matrix has more than {MOST_INSTANCES} rows");
    let mut rows = if axes.is_empty() { Vec::new() } else { product(&axes).ok_or_else(too_many)? };
    rows.retain(|row| !exclude.iter().any(|entry| agrees(row, entry)));
    // An entry adds to every row whose own values it leaves as they are, else it is a row of its own.
    let own: Vec<Row> = rows.clone();
    for entry in &include {
        let mut fits = false;
        for (row, own) in rows.iter_mut().zip(&own) {
            let overwrites = entry
                .entries()
                .iter()
                .any(|(name, value)| own.iter().any(|(it, had)| it == name && had != value));
            if !overwrites {
                fits = true;
                row.retain(|(name, _)| own.iter().any(|(it, _)| it == name) || entry.get(name).is_none());
                let new = entry.entries().iter().filter(|(name, _)| !own.iter().any(|(it, _)| it == name));
                row.extend(new.cloned());
            }
        }
        if !fits {
            rows.push(entry.entries().to_vec());
        }
    }
    if rows.len() > MOST_INSTANCES { Err(too_many()) } else { Ok(Some(rows)) }
}

/// Whether a row has all the values of an entry of `exclude`.
fn agrees(row: &Row, entry: &Node) -> bool {
    let has = |(name, value): &(String, Node)| row.iter().any(|(it, own)| it == name && own == value);
    !entry.entries().is_empty() && entry.entries().iter().all(has)
}

/// The values of a row, as they stand in a job's name.
pub(super) fn name(row: &Row) -> String {
    fn scalars(node: &Node, all: &mut Vec<String>) {
        match node {
            Node::List(items) => items.iter().for_each(|item| scalars(item, all)),
            Node::Map(entries) => entries.iter().for_each(|(_, value)| scalars(value, all)),
            other => all.push(shown(other)),
        }
    }
    let mut all = Vec::new();
    row.iter().for_each(|(_, value)| scalars(value, &mut all));
    all.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::yaml::documents;

    fn names(matrix: &str) -> Result<Vec<String>, String> {
        let job = documents(&format!("strategy: {{matrix: {matrix}}}")).unwrap().remove(0);
        let known = std::collections::BTreeMap::new();
        let rows = rows(&job, &Contexts::new(&known, &[], Node::Null))?.unwrap_or_default();
        Ok(rows.iter().map(name).collect())
    }

    /// The example of GitHub's docs ("Expanding or adding matrix configurations"), and what they say it comes to.
    #[test]
    fn the_documentations_own_example() {
        let matrix = "{fruit: [apple, pear], animal: [cat, dog], include: [{color: green}, {color: pink, animal: cat}, \
                      {fruit: apple, shape: circle}, {fruit: banana}, {fruit: banana, animal: cat}]}";
        assert_eq!(
            names(matrix).unwrap(),
            [
                "apple, cat, pink, circle",
                "apple, dog, green, circle",
                "pear, cat, pink",
                "pear, dog, green",
                "banana",
                "banana, cat"
            ]
        );
    }

    #[test]
    fn rows_are_taken_out() {
        assert_eq!(names("{a: [1, 2], b: [x, y], exclude: [{a: 1, b: x}, {b: y}]}").unwrap(), ["2, x"]);
        assert_eq!(names("{include: [{a: 1}, {a: 2}]}").unwrap(), ["1", "2"]);
        assert_eq!(names("{image: [{name: api, port: 80}]}").unwrap(), ["api, 80"]);
        assert_eq!(names("{a: \"${{ fromJSON('[3]') }}\"}").unwrap(), ["3"]);
    }

    #[test]
    fn what_cannot_be_computed_is_said() {
        assert_eq!(
            names("\"${{ fromJSON(needs.x.outputs.m) }}\"").unwrap_err(),
            "`matrix` is computed by another job"
        );
        let axis = (0..17).map(|it| it.to_string()).collect::<Vec<_>>().join(",");
        assert!(names(&format!("{{a: [{axis}], b: [{axis}]}}")).unwrap_err().contains("256"));
    }
}
