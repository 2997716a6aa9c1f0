//! What `ARG` and `ENV` have set so far, in BuildKit's order: that of the environment of a `RUN`, which is part of its
//! cache key.

use std::collections::BTreeMap;

use super::operation::Word;

/// The variables of a stage.
#[derive(Debug, Clone, Default)]
pub(super) struct Variables {
    by_name: BTreeMap<String, Entry>,
    /// How many were set, those that were set again included.
    count: usize,
}

#[derive(Debug, Clone)]
struct Entry {
    place: usize,
    variable: Variable,
}

/// One variable of a `RUN`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    /// Its value.
    pub value: Word,
    /// Set by `ARG`, not by `ENV`.
    pub is_argument: bool,
}

impl Variables {
    /// The value, if there is one that is known.
    pub(super) fn get(&self, name: &str) -> Option<String> {
        let value = &self.by_name.get(name)?.variable.value;
        value.unclear.is_none().then(|| value.text.clone())
    }

    /// Sets one. It becomes the last, as in BuildKit's `EnvList.AddOrReplace`.
    pub(super) fn set(&mut self, name: &str, variable: Variable) {
        self.count += 1;
        self.by_name.insert(name.to_owned(), Entry { place: self.count, variable });
    }

    /// Characters, to be copied.
    pub(super) fn size(&self) -> usize {
        let length = |(name, entry): (&String, &Entry)| name.len() + entry.variable.value.text.len();
        self.by_name.iter().map(length).sum()
    }

    /// All, in their order.
    pub(super) fn in_order(&self) -> Vec<(String, Variable)> {
        let mut entries: Vec<(&String, &Entry)> = self.by_name.iter().collect();
        entries.sort_unstable_by_key(|(_, entry)| entry.place);
        entries.into_iter().map(|(name, entry)| (name.clone(), entry.variable.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_again_is_the_last() {
        let mut variables = Variables::default();
        for (name, value) in [("a", "1"), ("b", "2"), ("a", "3")] {
            variables.set(name, Variable { value: Word::plain(value), is_argument: false });
        }
        let names: Vec<String> = variables.in_order().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["b", "a"]);
        assert_eq!(variables.get("a").as_deref(), Some("3"));
    }
}
