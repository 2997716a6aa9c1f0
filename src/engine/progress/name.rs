//! What a vertex's name says: `[build 2/4] RUN make` is step 2 of 4 of stage `build`.
//!
//! The names are made by BuildKit (dockerfile2llb `prefixCommand`): `[<platform> <stage> i/n] CMD`, where the platform
//! stands only in builds for several, and the stage is left out of files that have one. buildx puts a bake target's name
//! in front of what is in the brackets. *n* counts `FROM`, `ADD`, `COPY`, `RUN` and `WORKDIR`.

/// A step's place, as its vertex's name gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StepName<'a> {
    /// The stage; empty in a file that has one.
    pub(super) stage: String,
    /// `linux/arm64`, or `linux/amd64->arm64` where it is built by another.
    pub(super) platform: Option<&'a str>,
    pub(super) number: u32,
    pub(super) of: u32,
    pub(super) instruction: &'a str,
}

/// Reads a step's name; `None` for what is no step, such as `[internal] load build context`.
pub(super) fn step(name: &str) -> Option<StepName<'_>> {
    let (inside, instruction) = name.strip_prefix('[')?.split_once("] ")?;
    let (before, place) = inside.rsplit_once(' ').unwrap_or(("", inside));
    let (number, of) = place.split_once('/')?;
    let (number, of): (u32, u32) = (number.parse().ok()?, of.parse().ok()?);
    let mut platform = None;
    let mut stage = Vec::new();
    for word in before.split(' ').filter(|word| !word.is_empty()) {
        if word.contains('/') && platform.is_none() {
            platform = Some(word);
        } else {
            stage.push(word);
        }
    }
    // The second vertex of a `COPY --link`; the step is called by the instruction in the file.
    let instruction = instruction.strip_prefix("LINK ").unwrap_or(instruction);
    Some(StepName { stage: stage.join(" "), platform, number, of, instruction })
}

/// A step's stage, which is empty in a file that has one, and its number; `None` for what is no step.
pub fn place(name: &str) -> Option<(String, usize)> {
    let StepName { stage, number, .. } = step(name)?;
    Some((stage, number as usize))
}

/// Whether it is the vertex of a `COPY --link` that puts what was copied on what is below.
pub(super) fn is_link(name: &str) -> bool {
    without_target(name).starts_with("LINK ")
}

/// The name without a bake target's: `[app] exporting to image` is `exporting to image`.
pub(super) fn without_target(name: &str) -> &str {
    name.strip_prefix('[').and_then(|rest| rest.split_once("] ")).map_or(name, |(_, rest)| rest)
}

/// The name that a vertex of a bake target would have without the target's; `None` for one of another target.
pub(super) fn of_target(name: &str, target: &str) -> Option<String> {
    let rest = name.strip_prefix('[')?.strip_prefix(target)?;
    match rest.strip_prefix(' ') {
        Some(inside) => Some(format!("[{inside}")),
        None => rest.strip_prefix("] ").map(str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_forms_of_a_step() {
        let cases = [
            ("[build 2/4] RUN make", ("build", None, 2, 4, "RUN make")),
            ("[2/3] COPY a b", ("", None, 2, 3, "COPY a b")),
            ("[stage-0 2/3] RUN --mount=type=cache x", ("stage-0", None, 2, 3, "RUN --mount=type=cache x")),
            ("[linux/amd64 build 2/4] RUN x", ("build", Some("linux/amd64"), 2, 4, "RUN x")),
            ("[linux/amd64->arm64 build 2/4] RUN x", ("build", Some("linux/amd64->arm64"), 2, 4, "RUN x")),
            ("[linux/arm/v7 2/4] RUN x", ("", Some("linux/arm/v7"), 2, 4, "RUN x")),
            ("[app prod 1/1] RUN x", ("app prod", None, 1, 1, "RUN x")),
            ("[b 2/3] LINK COPY --link a b", ("b", None, 2, 3, "COPY --link a b")),
            ("[b 2/3] ONBUILD RUN [\"a\"] ", ("b", None, 2, 3, "ONBUILD RUN [\"a\"] ")),
        ];
        for (name, (stage, platform, number, of, instruction)) in cases {
            let expected = StepName { stage: stage.to_owned(), platform, number, of, instruction };
            assert_eq!(step(name), Some(expected), "{name}");
        }
    }

    #[test]
    fn leaves_everything_else() {
        for name in [
            "[internal] load build context",
            "exporting to image",
            "[auth] library/busybox:pull token for registry",
            "[",
            "[1/2]RUN",
            "[a 1/99999999999] RUN x",
            "",
        ] {
            assert_eq!(step(name), None, "{name}");
        }
        assert_eq!(without_target("[app] exporting to image"), "exporting to image");
        assert_eq!(without_target("exporting to image"), "exporting to image");
    }
}
