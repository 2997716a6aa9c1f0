//! `RUN --mount=...`: comma-separated fields, as BuildKit's `instructions/commands_runmount.go` reads them.

use super::instruction::Kind;

/// One mount, its values as written: all but `from` may hold variables.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mount {
    /// `bind` where nothing is said, `cache`, `tmpfs`, `secret`, `ssh`, in lower case.
    pub kind: String,
    /// Stage, image or named context.
    pub from: Option<String>,
    /// Path in it, or in the build context.
    pub source: Option<String>,
    /// Path in the step's container.
    pub target: Option<String>,
    /// Name of a cache or a secret, where given: else a cache is named by its target, a secret by its source.
    pub id: Option<String>,
    /// Every field in its order, keys in lower case; a field without `=` has no value.
    pub fields: Vec<(String, Option<String>)>,
}

const KEYS: [&str; 19] = [
    "type",
    "from",
    "source",
    "src",
    "target",
    "dst",
    "destination",
    "readonly",
    "ro",
    "readwrite",
    "rw",
    "id",
    "sharing",
    "required",
    "size",
    "mode",
    "uid",
    "gid",
    "env",
];

impl Mount {
    /// Reads the value of the flag. What it does not know is told beside the mount.
    pub(super) fn read(value: &str) -> (Self, Vec<String>) {
        let mut mount = Mount { kind: "bind".to_owned(), ..Mount::default() };
        let mut unknown = Vec::new();
        for field in fields(value) {
            let (key, value) = match field.split_once('=') {
                Some((key, value)) => (key.to_lowercase(), Some(value.to_owned())),
                None => (field.to_lowercase(), None),
            };
            match key.as_str() {
                "type" => mount.kind = value.clone().unwrap_or_default().to_lowercase(),
                "from" => mount.from = value.clone().filter(|from| !from.is_empty()),
                "source" | "src" => mount.source = value.clone(),
                "target" | "dst" | "destination" => mount.target = value.clone(),
                "id" => mount.id = value.clone(),
                other if !KEYS.contains(&other) => unknown.push(format!("mount option `{other}`")),
                _ => {}
            }
            mount.fields.push((key, value));
        }
        if !["bind", "cache", "tmpfs", "secret", "ssh"].contains(&mount.kind.as_str()) {
            unknown.push(format!("mount type `{}`", mount.kind));
        }
        (mount, unknown)
    }

    /// Whether files of the build context are seen through it.
    pub(super) fn reads_context(&self) -> bool {
        self.from.is_none() && !["cache", "tmpfs", "secret", "ssh"].contains(&self.kind.as_str())
    }
}

impl Kind {
    /// The mounts of a `RUN`.
    pub fn mounts(&self) -> &[Mount] {
        if let Kind::Run(mounts) = self { mounts } else { &[] }
    }
}

/// Fields between commas; a field in double quotes may hold commas, and `""` for a quote.
fn fields(value: &str) -> Vec<String> {
    let (mut fields, mut field, mut inside) = (Vec::new(), String::new(), false);
    let mut letters = value.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' if inside && letters.next_if_eq(&'"').is_some() => field.push('"'),
            '"' if inside || field.is_empty() => inside = !inside,
            ',' if !inside => fields.push(std::mem::take(&mut field)),
            _ => field.push(letter),
        }
    }
    fields.push(field);
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts() {
        let (mount, unknown) =
            Mount::read("TYPE=Cache,target=/root/.cache,id=go,sharing=locked,from=base,ro");
        assert_eq!((mount.kind.as_str(), mount.from.as_deref()), ("cache", Some("base")));
        assert_eq!((mount.target.as_deref(), mount.id.as_deref()), (Some("/root/.cache"), Some("go")));
        assert_eq!(mount.fields.last(), Some(&("ro".to_owned(), None)));
        assert!(unknown.is_empty());

        let (mount, unknown) = Mount::read("src=a,dst=/b");
        assert_eq!((mount.kind.as_str(), mount.source.as_deref()), ("bind", Some("a")));
        assert!(mount.reads_context() && unknown.is_empty());

        assert_eq!(Mount::read("type=nfs,colour=red").1, ["mount option `colour`", "mount type `nfs`"]);
    }

    #[test]
    fn quoted_fields() {
        assert_eq!(fields(r#"a,"b,c","d""e",f"#), ["a", "b,c", "d\"e", "f"]);
        assert_eq!(fields(""), [""]);
    }
}
