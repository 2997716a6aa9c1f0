//! Puts the keys of a file of ours into a file of the user's, of which every byte stays.
//!
//! The text is edited, line by line, since a YAML library would drop comments and order. What came out is read again, and
//! holds all of both or is refused: then the user has to do it.

use crate::base::yaml::{self, Node};

/// Keys whose entries are added to those that are there. Of any other key, the one that is there stands.
const CONTAINERS: [&str; 6] = ["include", "variables", "orbs", "parameters", "jobs", "workflows"];

/// The user's text with what it lacks of ours; the same text where it lacks nothing. `Err`: why that cannot be done.
pub(super) fn merged(old: &str, ours: &str) -> Result<String, String> {
    let (before, added) = (document(old)?, document(ours)?);
    if before == Node::Null {
        return Ok(format!("{old}{ours}"));
    }
    let mut text = old.to_owned();
    let end = if old.contains("\r\n") { "\r\n" } else { "\n" };
    let mut expected = Vec::new();
    for (key, block) in blocks(ours) {
        let value = added.get(&key).unwrap_or(&Node::Null);
        match before.get(&key) {
            None => {
                if !text.ends_with('\n') {
                    text += end;
                }
                text += end;
                block.iter().for_each(|line| text += &format!("{line}{end}"));
                expected.push((key, value.clone()));
            }
            Some(_) if !CONTAINERS.contains(&key.as_str()) => {
                // A version of another form would not understand the rest.
                if key == "version" && before.get(&key).and_then(Node::scalar) != value.scalar() {
                    return Err(format!("its version is not {}", value.scalar().unwrap_or_default()));
                }
            }
            Some(there) => {
                let lines = missing(there, value, &block);
                if !lines.is_empty() {
                    text = with_entries(&text, &key, there, &lines, end)?;
                }
                expected.push((key, value.clone()));
            }
        }
    }
    let after = document(&text)?;
    let holds = |node: &Node| holds(&after, node);
    let has = |(key, value): &(String, Node)| after.get(key).is_some_and(|found| has_names(found, value));
    match holds(&before) && expected.iter().all(has) {
        true => Ok(text),
        false => Err("its form is not one that can be added to".to_owned()),
    }
}

fn document(text: &str) -> Result<Node, String> {
    let mut documents = yaml::documents(text).map_err(|error| error.to_string())?;
    match documents.len() {
        0 => Ok(Node::Null),
        1 => Ok(documents.remove(0)),
        _ => Err("it has more than one document".to_owned()),
    }
}

/// The top-level keys of a file of ours, each with its lines and the comments before it.
fn blocks(text: &str) -> Vec<(String, Vec<&str>)> {
    let mut blocks: Vec<(String, Vec<&str>)> = Vec::new();
    let mut comments = Vec::new();
    for line in text.lines() {
        if line.is_empty() || line.starts_with('#') {
            comments.push(line);
        } else if line.starts_with(' ') {
            if let Some((_, lines)) = blocks.last_mut() {
                lines.append(&mut comments);
                lines.push(line);
            }
        } else {
            let key = line.split(':').next().unwrap_or_default().to_owned();
            let mut lines: Vec<&str> = comments.drain(..).skip_while(|line| line.is_empty()).collect();
            lines.push(line);
            blocks.push((key, lines));
        }
    }
    blocks
}

/// The lines of those entries of a block of ours that a container does not have.
fn missing<'a>(there: &Node, ours: &Node, block: &[&'a str]) -> Vec<&'a str> {
    let is_entry = |line: &str| line.starts_with("  ") && !line[2..].starts_with([' ', '#']);
    let lines = block.iter().skip_while(|line| !line.starts_with("  "));
    let mut entries: Vec<Vec<&str>> = Vec::new();
    let mut comments = Vec::new();
    for line in lines {
        if is_entry(line) {
            entries.push(std::mem::take(&mut comments));
        } else if line.trim_start().starts_with('#') && !line.starts_with("   ") {
            comments.push(*line);
            continue;
        }
        if let Some(entry) = entries.last_mut() {
            entry.push(line);
        }
    }
    let is_missing = |index: &usize| match ours {
        Node::Map(map) => map.get(*index).is_some_and(|(name, _)| there.get(name).is_none()),
        _ => ours.items().get(*index).is_some_and(|item| !there.items().contains(item)),
    };
    entries
        .into_iter()
        .enumerate()
        .filter(|(index, _)| is_missing(index))
        .flat_map(|(_, lines)| lines)
        .collect()
}

/// Adds entries at the end of a key's block.
fn with_entries(text: &str, key: &str, there: &Node, added: &[&str], end: &str) -> Result<String, String> {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let heads = |line: &String| line.strip_prefix(key).is_some_and(|rest| rest.trim_start().starts_with(':'));
    let unknown = || format!("`{key}` has a form that cannot be added to");
    let head = lines.iter().position(heads).ok_or_else(unknown)?;
    let is_outside = |line: &String| !line.is_empty() && !line.starts_with([' ', '#', '\t']);
    let is_item = |line: &String| line == "-" || line.starts_with("- ");
    let stop = lines[head + 1..].iter().position(|line| is_outside(line) && !is_item(line));
    let mut stop = stop.map_or(lines.len(), |found| head + 1 + found);
    while stop > head + 1 && (lines[stop - 1].trim().is_empty() || lines[stop - 1].starts_with('#')) {
        stop -= 1;
    }
    let is_list = added.iter().any(|line| line.starts_with("  - "));
    if is_list && !matches!(there, Node::List(_)) {
        into_list(&mut lines[head..stop], key)?;
    }
    let is_content = |line: &&String| !line.trim().is_empty() && !line.trim_start().starts_with('#');
    let first = lines[head + 1..stop].iter().find(is_content);
    let value = lines[head].split_once(':').map_or("", |(_, value)| value.trim());
    if !value.is_empty() && !value.starts_with('#') && !lines[head].contains('\n') {
        return Err(unknown());
    }
    let indent = first.map_or(2, |line| line.len() - line.trim_start().len());
    let shifted =
        added.iter().map(|line| format!("{}{}", " ".repeat(indent), line.strip_prefix("  ").unwrap_or(line)));
    lines.splice(stop..stop, shifted);
    Ok(lines.iter().map(|line| line.replace('\n', end) + end).collect())
}

/// `include: a` and a mapping, as the single item of a list; the same to GitLab.
fn into_list(lines: &mut [String], key: &str) -> Result<(), String> {
    let value = lines[0].split_once(':').map(|(_, value)| value.trim().to_owned()).unwrap_or_default();
    if value.starts_with(['[', '{', '&', '*', '|', '>', '!']) {
        return Err(format!("`{key}` has a form that cannot be added to"));
    }
    if !value.is_empty() && !value.starts_with('#') {
        lines[0] = format!("{key}:\n  - {value}");
        return Ok(());
    }
    let mut is_first = true;
    for line in lines[1..].iter_mut().filter(|line| !line.trim().is_empty()) {
        let indent = line.len() - line.trim_start().len();
        let mark = match is_first && !line.trim_start().starts_with('#') {
            true => "- ",
            false => "  ",
        };
        is_first &= mark == "  ";
        line.insert_str(indent, mark);
    }
    Ok(())
}

/// Whether nothing of `old` is lost in `new`.
fn holds(new: &Node, old: &Node) -> bool {
    match (new, old) {
        (_, Node::Null) => true,
        (Node::Map(_), Node::Map(entries)) => {
            entries.iter().all(|(name, value)| new.get(name).is_some_and(|found| holds(found, value)))
        }
        (Node::List(_), old) => old.items().iter().all(|item| new.items().contains(item)),
        _ => new == old,
    }
}

/// Whether a container has the names, or the items, of another.
fn has_names(found: &Node, ours: &Node) -> bool {
    match ours {
        Node::Map(entries) => entries.iter().all(|(name, _)| found.get(name).is_some()),
        _ => ours.items().iter().all(|item| found.items().contains(item)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = "# ours\ninclude:\n  - remote: r\n\nvariables:\n  # a sum\n  SUM: x\n\n# a job\nbuild:\n  extends: .b\n  variables:\n    A: a\n";
    const JOB: &str = "\n# a job\nbuild:\n  extends: .b\n  variables:\n    A: a\n";

    #[test]
    fn what_is_lacking_is_added_and_all_else_stays() {
        let sum = "\nvariables:\n  # a sum\n  SUM: x\n";
        for (old, new) in [
            ("", OURS.to_owned()),
            ("# theirs\n", format!("# theirs\n{OURS}")),
            ("test: {script: x}", format!("test: {{script: x}}\n\n{OURS}")),
            (
                "include:\n  - local: a # why\n\n# a test\ntest:\n  script: x\n",
                format!(
                    "include:\n  - local: a # why\n  - remote: r\n\n# a test\ntest:\n  script: x\n{sum}{JOB}"
                ),
            ),
            ("include:\n- local: a\n", format!("include:\n- local: a\n- remote: r\n{sum}{JOB}")),
            ("include: a.yml\n", format!("include:\n  - a.yml\n  - remote: r\n{sum}{JOB}")),
            (
                "include:\n    project: p\n    file: f\nx: {}\n",
                format!("include:\n    - project: p\n      file: f\n    - remote: r\nx: {{}}\n{sum}{JOB}"),
            ),
            (
                "variables:\n    # theirs\n    B: b\nbuild: {script: theirs}\n",
                "variables:\n    # theirs\n    B: b\n    # a sum\n    SUM: x\nbuild: {script: theirs}\n\n# ours\ninclude:\n  - remote: r\n"
                    .to_owned(),
            ),
        ] {
            assert_eq!(merged(old, OURS).as_deref(), Ok(new.as_str()), "{old}");
            assert_eq!(merged(&new, OURS).as_deref(), Ok(new.as_str()), "again: {old}");
        }
    }

    #[test]
    fn lines_end_as_theirs_do() {
        let new = merged("include: a.yml\r\nx: {}\r\n", OURS).unwrap();
        assert!(!new.replace("\r\n", "").contains('\n'), "{new:?}");
    }

    #[test]
    fn what_cannot_be_added_to_is_refused() {
        for old in [
            "include: [a]\n",
            "a: [\n",
            "a: b\n---\nc: d\n",
            "- a\n",
            "include: {local: a}\n",
            "variables: {A: b}\n",
        ] {
            assert!(merged(old, OURS).is_err(), "{old}");
        }
        assert_eq!(merged("version: 2\n", "version: 2.1\n").unwrap_err(), "its version is not 2.1");
    }
}
