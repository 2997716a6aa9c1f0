//! The CI files themselves, filled in from `templates/`.
//!
//! A template has pieces, each after a line `%% name`. `%name%` is a place to be filled; a line whose place has no value is
//! left out.

use super::find::{Found, Image};
use super::there::There;
use super::{Provider, Setup};

const GITLAB: &str = include_str!("templates/gitlab.yml");
const GITHUB: &str = include_str!("templates/github.yml");
const CIRCLECI: &str = include_str!("templates/circleci.yml");

/// The release that the files fetch: that of this binary.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// A CI file as it would be without one that is there.
#[derive(Debug)]
pub(super) struct Rendered {
    pub(super) text: String,
    /// What the user has to do before it works.
    pub(super) left_to_do: Vec<String>,
}

/// Writes the file of a provider.
pub(super) fn file(found: &Found, setup: &Setup, there: &There) -> Rendered {
    let mut sheet = Sheet { found, setup, there, left_to_do: Vec::new() };
    let (text, own) = match setup.provider {
        Provider::GitLab => (sheet.gitlab(), "CI_"),
        Provider::GitHub => (sheet.github(), "GITHUB_"),
        Provider::CircleCi => (sheet.circleci(), "CIRCLE_"),
    };
    let names = found.variables.iter().map(String::as_str).filter(|name| !name.starts_with(own));
    let names = names.collect::<Vec<_>>().join(", ");
    if !names.is_empty() {
        sheet.todo(format!("set in the job what the services' images are named with: {names}"));
    }
    if !found.bake.is_empty() {
        sheet.todo("see that the bake file's tags name a registry that the job may push to");
    }
    Rendered { text, left_to_do: sheet.left_to_do }
}

/// A file that is being written.
struct Sheet<'a> {
    found: &'a Found,
    setup: &'a Setup,
    there: &'a There,
    left_to_do: Vec<String>,
}

impl Sheet<'_> {
    fn gitlab(&mut self) -> String {
        let stage = self.there.stage().map(|stage| scalar(&stage)).unwrap_or_default();
        let mut text = fill(GITLAB, "head", &[]);
        match &self.setup.sha256 {
            Some(sum) => text += &fill(GITLAB, "sha256", &[("sha256", &quoted(sum))]),
            None => self
                .wants_sum("as the variable LAYERLIFT_SHA256 in the CI/CD settings of the project or group"),
        }
        let base = self.setup.image.as_deref().unwrap_or("$CI_REGISTRY_IMAGE");
        if !base.starts_with("$CI_REGISTRY") {
            self.todo("set DOCKER_AUTH_CONFIG, the login for the registry, in the CI/CD settings");
        }
        for image in &self.found.images {
            let values = [
                ("job", self.there.job(&job_name(image)).as_str()),
                ("stage", &stage),
                ("image", &scalar(&nested(base, image))),
                ("context", &context(image)),
                ("file", &if image.is_usual() { String::new() } else { scalar(&image.file) }),
            ]
            .map(|(name, value)| (name, value.to_owned()));
            text += &fill(GITLAB, "dockerfile", &borrowed(&values));
        }
        if !self.found.compose.is_empty() {
            let job = self.there.job("compose");
            text += &fill(
                GITLAB,
                "compose",
                &[("job", &job), ("stage", &stage), ("files", &self.compose_files())],
            );
        }
        if !self.found.bake.is_empty() {
            let (job, command) = (self.there.job("bake"), self.bake_command("\"$@\""));
            text += &fill(GITLAB, "bake", &[("job", &job), ("stage", &stage), ("command", &command)]);
        }
        text
    }

    fn github(&mut self) -> String {
        let base = self.setup.image.clone().unwrap_or_else(|| {
            self.todo(
                "set the repository's variable IMAGE to the image's name without a tag, or give --image",
            );
            "${{ vars.IMAGE }}".to_owned()
        });
        let login = match base.starts_with("ghcr.io/") {
            true => String::new(),
            false => {
                self.todo("set the repository's secrets REGISTRY_USER and REGISTRY_PASSWORD, the login for the registry");
                fill(GITHUB, "login", &[("image", &base)]).trim_end().to_owned()
            }
        };
        let sum = self.setup.sha256.as_deref().map(quoted).unwrap_or_else(|| {
            self.wants_sum("as the repository's variable LAYERLIFT_SHA256");
            "${{ vars.LAYERLIFT_SHA256 }}".to_owned()
        });
        let known = [("login", login.as_str()), ("sha256", &sum)];
        let mut jobs = Vec::new();
        match self.found.images.as_slice() {
            [] => {}
            [image] => {
                let values = [
                    ("job", "build"),
                    ("matrix", ""),
                    ("context", &context(image)),
                    ("file", &scalar(&image.file)),
                    ("image", &nested(&base, image)),
                ];
                jobs.push(fill(GITHUB, "dockerfile", &[known.as_slice(), &values].concat()));
            }
            several => {
                let mut matrix = fill(GITHUB, "matrix", &[]);
                for image in several {
                    let values = [
                        ("image", nested(&base, image)),
                        ("context", scalar(&image.context)),
                        ("file", scalar(&image.file)),
                    ];
                    matrix += &fill(GITHUB, "entry", &borrowed(&values));
                }
                let values = [
                    ("job", "build"),
                    ("matrix", matrix.trim_end()),
                    ("context", "${{ matrix.context }}"),
                    ("file", "${{ matrix.file }}"),
                    ("image", "${{ matrix.image }}"),
                ];
                jobs.push(fill(GITHUB, "dockerfile", &[known.as_slice(), &values].concat()));
            }
        }
        let mut group = |job: &str, command: &str, files: &str| {
            let values = [("job", job), ("command", command), ("files", files)];
            jobs.push(fill(GITHUB, "group", &[known.as_slice(), &values].concat()));
        };
        const PUSH: &str = "${PUSH:+--push}";
        if !self.found.compose.is_empty() {
            group("compose", &format!("layerlift compose build {PUSH}"), &self.compose_files());
        }
        if !self.found.bake.is_empty() {
            group("bake", &self.bake_command(PUSH), "");
        }
        let branches = self.setup.branch.as_deref().map(scalar).unwrap_or_else(|| {
            self.todo("say in `branches` whose pushes are built: the default branch is not known here");
            "main, master".to_owned()
        });
        fill(GITHUB, "head", &[("branches", &branches)]) + &jobs.join("\n")
    }

    fn circleci(&mut self) -> String {
        let mut parameters = String::new();
        let mut parameter = |name: &str, meaning: &str| {
            parameters += &fill(CIRCLECI, "parameter", &[("name", name), ("meaning", meaning)]);
            format!("<< pipeline.parameters.{name} >>")
        };
        let (registry, base) = match &self.setup.image {
            Some(image) => (image.split('/').next().unwrap_or_default().to_owned(), image.clone()),
            None => (
                parameter("registry", "Host of the images' registry."),
                parameter("image", "Repository of the images, with the host and without a tag."),
            ),
        };
        let meaning = format!("SHA-256 of layerlift-linux-amd64 {VERSION}, from its release's page.");
        let given = self.setup.sha256.as_deref().map(quoted);
        let sum = given.unwrap_or_else(|| parameter("layerlift-sha256", &meaning));
        if self.setup.sha256.is_none() {
            self.wants_sum("as the default of the parameter layerlift-sha256");
        }
        if self.setup.image.is_none() {
            self.todo("fill in the defaults of the parameters registry and image, or give --image");
        }
        self.todo(
            "set REGISTRY_USER and REGISTRY_PASSWORD, the login for the registry, in the project's settings",
        );
        self.todo(match self.setup.is_on_gitlab {
            true => {
                "put the orb itself under `orbs`: CircleCI fetches none by its address for code on GitLab"
            }
            false => {
                "allow orbs from https://raw.githubusercontent.com/layerlift/ in the organisation's settings"
            }
        });
        let known = [("registry", registry.as_str()), ("sha256", &sum)];
        let (mut jobs, mut calls) = (String::new(), String::new());
        for image in &self.found.images {
            let job = job_name(image);
            let values = [
                ("job", job.as_str()),
                ("image", &nested(&base, image)),
                ("context", &context(image)),
                ("file", &scalar(&image.file)),
            ];
            if !self.there.is_called(&job) {
                calls += &fill(CIRCLECI, "dockerfile", &[known.as_slice(), &values].concat());
            }
        }
        let files = format!("environment:\n      COMPOSE_FILE: {}", self.compose_files());
        let flags = self.bake_flags().join("\n");
        let args = if flags.is_empty() { String::new() } else { quoted(&flags) };
        for (tool, found, environment, args) in
            [("compose", &self.found.compose, files.as_str(), ""), ("bake", &self.found.bake, "", &args)]
        {
            if found.is_empty() {
                continue;
            }
            let job = self.there.job_of_circleci(tool);
            let values =
                [("job", job.as_str()), ("tool", tool), ("environment", environment), ("args", args)];
            jobs += &fill(CIRCLECI, "group", &[known.as_slice(), &values].concat());
            if !self.there.is_called(&job) {
                calls += &fill(CIRCLECI, "call", &[("job", &job)]);
            }
        }
        let workflow = self.there.workflow();
        let mut text = fill(CIRCLECI, "head", &[]);
        for (piece, entries) in [("parameters", parameters), ("jobs", jobs), ("workflows", calls)] {
            if !entries.is_empty() {
                text += &(fill(CIRCLECI, piece, &[("workflow", &workflow)]) + &entries);
            }
        }
        text
    }

    fn todo(&mut self, what: impl Into<String>) {
        self.left_to_do.push(what.into());
    }

    fn wants_sum(&mut self, place: &str) {
        self.todo(format!(
            "set the SHA-256 of layerlift-linux-amd64 {VERSION}, from its release's page, {place}"
        ));
    }

    /// As the variable of compose wants them.
    fn compose_files(&self) -> String {
        scalar(&self.found.compose.join(":"))
    }

    /// A shell's line, as YAML.
    fn bake_command(&self, end: &str) -> String {
        let flags = self.bake_flags();
        let words = flags.iter().map(|flag| shlex::try_quote(flag).unwrap_or_default());
        let line = format!("layerlift bake {}", words.chain([end.into()]).collect::<Vec<_>>().join(" "));
        if line.contains(": ") || line.contains(" #") || line.contains(char::is_control) {
            quoted(&line)
        } else {
            line
        }
    }

    /// What bake is told; nothing where it finds its files itself, a compose file and overrides among them.
    fn bake_flags(&self) -> Vec<String> {
        let files = self.found.bake.iter().filter(|_| self.found.named);
        files.map(|file| format!("--file={file}")).collect()
    }
}

impl Image {
    /// Whether the Dockerfile is the one that is looked for in the context.
    fn is_usual(&self) -> bool {
        let folder = if self.context == "." { String::new() } else { format!("{}/", self.context) };
        self.file == format!("{folder}Dockerfile")
    }
}

fn job_name(image: &Image) -> String {
    if image.name.is_empty() { "build".to_owned() } else { format!("build-{}", image.name) }
}

/// Empty where it is the root, as by default.
fn context(image: &Image) -> String {
    if image.context == "." { String::new() } else { scalar(&image.context) }
}

fn nested(base: &str, image: &Image) -> String {
    if image.name.is_empty() { base.to_owned() } else { format!("{base}/{}", image.name) }
}

fn borrowed<'a, const N: usize>(values: &'a [(&'a str, String); N]) -> [(&'a str, &'a str); N] {
    values.each_ref().map(|(name, value)| (*name, value.as_str()))
}

/// A piece with its places filled. The version is known to all.
fn fill(template: &str, piece: &str, values: &[(&str, &str)]) -> String {
    let head = format!("%% {piece}");
    let lines = template.lines().skip_while(|line| *line != head).skip(1);
    let mut text = String::new();
    'lines: for line in lines.take_while(|line| !line.starts_with("%% ")) {
        let mut filled = line.to_owned();
        for (name, value) in values.iter().chain(&[("version", VERSION)]) {
            let place = format!("%{name}%");
            if line.contains(&place) {
                if value.is_empty() {
                    continue 'lines;
                }
                filled = filled.replace(&place, value);
            }
        }
        text += &filled;
        text.push('\n');
    }
    text
}

/// A text as YAML: as it is where that means the same.
fn scalar(text: &str) -> String {
    const WORDS: [&str; 9] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "._/$-:@".contains(letter);
    let starts_well = text.starts_with(|letter: char| letter.is_ascii_alphabetic() || "./$".contains(letter));
    let is_word = WORDS.contains(&text.to_ascii_lowercase().as_str());
    match text.chars().all(plain) && starts_well && !text.ends_with(':') && !is_word {
        true => text.to_owned(),
        false => quoted(text),
    }
}

/// In double quotes; what JSON escapes is escaped in YAML too.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_mean_the_same_in_yaml() {
        use crate::base::yaml::{Node, documents};
        for text in [
            "a/b.c", "$CI_X/a", "a b", "a: b", "- a", "#a", "1.20", "on", "No", "a:", "'a'", "a\"b\\c",
            "a\tb", "*a", "ä",
        ] {
            let read = documents(&format!("x: {}\n", scalar(text))).expect(text);
            assert_eq!(read[0].get("x"), Some(&Node::Text(text.to_owned())), "{}", scalar(text));
        }
    }

    #[test]
    fn a_line_without_its_value_is_left_out() {
        let template = "%% one\na: %a%\nb: %b% %a%\n%% two\nc\n";
        assert_eq!(fill(template, "one", &[("a", "x"), ("b", "")]), "a: x\n");
        assert_eq!(fill(template, "two", &[]), "c\n");
    }
}
