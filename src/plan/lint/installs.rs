//! Which commands install what others have made, and which files they need for it.

/// A command that installs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Install {
    /// As one would say it: `npm ci`.
    pub(super) name: String,
    /// The names of the files that it needs, with `*` for anything; none: it needs no files at all.
    pub(super) needs: Vec<String>,
    /// What to do beside copying these files first.
    pub(super) hint: &'static str,
}

impl Install {
    fn new(name: &str, needs: &[&str]) -> Self {
        let needs = needs.iter().map(|name| (*name).to_owned()).collect();
        Install { name: name.to_owned(), needs, hint: "" }
    }

    /// Whether a file of this name is one that it needs.
    pub(super) fn wants(&self, path: &str) -> bool {
        let name = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        self.needs.iter().any(|pattern| match pattern.split_once('*') {
            Some((begin, end)) => {
                name.len() >= begin.len() + end.len() && name.starts_with(begin) && name.ends_with(end)
            }
            None => name == pattern,
        })
    }
}

const NODE: [&str; 3] = ["package.json", ".npmrc", "package-lock.json"];
const YARN: [&str; 4] = ["package.json", "yarn.lock", ".yarnrc", ".yarnrc.yml"];
const PNPM: [&str; 4] = ["package.json", "pnpm-lock.yaml", "pnpm-workspace.yaml", ".npmrc"];

/// The installations of a `RUN`, in their order.
pub(super) fn installs(command: &str) -> Vec<Install> {
    if let Ok(words) = serde_json::from_str::<Vec<String>>(command.trim()) {
        return install(&words.iter().map(String::as_str).collect::<Vec<_>>()).into_iter().collect();
    }
    let lines = command.replace("\\\n", " ");
    let parts = lines.split(['\n', ';', '&', '|', '(', ')', '{', '}']);
    parts.filter_map(|part| install(&words(part))).collect()
}

/// The words of a simple command, without assignments and programs that run others.
fn words(part: &str) -> Vec<&str> {
    const BEFORE: [&str; 12] =
        ["sudo", "exec", "time", "then", "do", "else", "if", "!", "env", "corepack", "nice", "command"];
    let is_before = |word: &&str| BEFORE.contains(word) || is_assignment(word);
    part.split_whitespace().skip_while(is_before).collect()
}

fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    })
}

fn install(words: &[&str]) -> Option<Install> {
    let (program, rest) = words.split_first()?;
    let program = program.rsplit('/').next().unwrap_or_default();
    if let ("python" | "python3", ["-m", "pip", rest @ ..]) = (program, rest) {
        return pip("pip", rest);
    }
    let plain: Vec<&str> = rest.iter().copied().filter(|word| !word.starts_with('-')).collect();
    let has = |flag: &str| rest.contains(&flag);
    Some(match (program, plain.as_slice()) {
        ("pip" | "pip3", _) => return pip(program, rest),
        ("uv", ["pip", ..]) => return pip("uv pip", rest.get(1..).unwrap_or_default()),
        ("npm", ["ci" | "clean-install"]) => Install::new("npm ci", &NODE),
        ("npm", ["install" | "i"]) if !has("-g") && !has("--global") => Install::new("npm install", &NODE),
        ("npm", ["install" | "i", names @ ..]) if are_names(names) && (has("-g") || has("--global")) => {
            Install::new("npm install --global", &[])
        }
        ("yarn", [] | ["install"]) if !has("--version") => Install::new("yarn install", &YARN),
        ("pnpm", ["install" | "i"]) => Install::new("pnpm install", &PNPM),
        ("bun", ["install" | "i"]) => Install::new("bun install", &["package.json", "bun.lock", "bun.lockb"]),
        ("go", ["mod", "download"]) => {
            Install::new("go mod download", &["go.mod", "go.sum", "go.work", "go.work.sum"])
        }
        ("cargo", ["chef", "cook", ..]) => Install::new("cargo chef cook", &["recipe.json"]),
        ("mvn" | "mvnw", goals)
            if goals.iter().any(|goal| goal.starts_with("dependency:") || goal.contains(":go-offline")) =>
        {
            Install::new("mvn dependency:go-offline", &["pom.xml", "mvnw", "maven-wrapper.*"])
        }
        ("gradle" | "gradlew", ["dependencies"]) => Install::new(
            "gradle dependencies",
            &["build.gradle*", "settings.gradle*", "gradle*", "libs.versions.toml", "gradle-wrapper.*"],
        ),
        ("bundle", ["install", ..]) => {
            Install::new("bundle install", &["Gemfile", "Gemfile.lock", "*.gemspec", ".ruby-version"])
        }
        ("composer", ["install"]) => Install {
            hint: " (with --no-scripts --no-autoloader, and `composer dump-autoload` after the sources)",
            ..Install::new("composer install", &["composer.json", "composer.lock"])
        },
        ("poetry", ["install"]) => Install {
            hint: " (with --no-root)",
            ..Install::new("poetry install", &["pyproject.toml", "poetry.lock", "poetry.toml"])
        },
        ("uv", ["sync"]) => Install {
            hint: " (with --no-install-project)",
            ..Install::new("uv sync", &["pyproject.toml", "uv.lock", ".python-version"])
        },
        ("pipenv", ["install" | "sync"]) => Install::new("pipenv install", &["Pipfile", "Pipfile.lock"]),
        ("dotnet", ["restore", ..]) => Install::new(
            "dotnet restore",
            &[
                "*.csproj",
                "*.fsproj",
                "*.sln",
                "*.slnx",
                "Directory.*",
                "packages.lock.json",
                "nuget.config",
                "NuGet.Config",
                "global.json",
            ],
        ),
        ("mix", ["deps.get"]) => Install::new("mix deps.get", &["mix.exs", "mix.lock"]),
        ("apt-get" | "apt" | "dnf" | "microdnf" | "yum" | "zypper", ["install", names @ ..])
        | ("apk", ["add", names @ ..]) => {
            // What is in files, or in other commands' output, may come from the context.
            if names.is_empty() || !are_names(names) {
                return None;
            }
            Install::new(&format!("{program} {}", plain[0]), &[])
        }
        _ => return None,
    })
}

fn pip(name: &str, words: &[&str]) -> Option<Install> {
    let mut files = Vec::new();
    let mut packages = Vec::new();
    let mut words = words.iter().copied();
    let subcommand = words.by_ref().find(|word| !word.starts_with('-'))?;
    if !["install", "wheel", "download", "sync"].contains(&subcommand) {
        return None;
    }
    while let Some(word) = words.next() {
        let long = word.strip_prefix("--requirement=").or_else(|| word.strip_prefix("--constraint="));
        match word {
            "-r" | "--requirement" | "-c" | "--constraint" => files.push(words.next()?),
            // They may hold wheels, or are the project itself.
            "-e" | "--editable" | "--find-links" | "-f" => return None,
            _ if word.starts_with("--find-links=") => return None,
            "--target" | "-t" | "--prefix" | "--root" | "--index-url" | "-i" | "--extra-index-url" | "-d"
            | "-w" | "--platform" | "--python-version" | "--timeout" | "--retries" | "--trusted-host"
            | "--dest" | "--wheel-dir" | "--python" | "-p" | "--cache-dir" => {
                words.next();
            }
            _ if long.is_some() => files.extend(long),
            _ if word.starts_with("-r") && word.len() > 2 => files.push(&word[2..]),
            _ if word.starts_with('-') => {}
            _ if subcommand == "sync" => files.push(word),
            _ => packages.push(word.trim_matches(['"', '\''])),
        }
    }
    let said = format!("{name} {subcommand}");
    if files.is_empty() {
        return (!packages.is_empty() && are_names(&packages)).then(|| Install::new(&said, &[]));
    }
    if !are_names(&packages) || files.iter().any(|file| file.contains('$')) {
        return None;
    }
    let names = files.iter().map(|file| file.trim_matches(['"', '\'']).rsplit('/').next().unwrap_or(file));
    let mut install = Install::new(&said, &[]);
    install.needs = names.map(str::to_owned).collect();
    install.name = format!("{said} -r {}", install.needs.join(" -r "));
    Some(install)
}

/// Whether these are names of packages, not files, addresses or what other commands say.
fn are_names(words: &[&str]) -> bool {
    words.iter().all(|word| {
        !word.starts_with('.')
            && !word.contains(['/', '$', '`', '<', '*'])
            && !word.ends_with(".deb")
            && !word.ends_with(".whl")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_that_install() {
        let cases = [
            ("npm ci", "npm ci: package.json .npmrc package-lock.json"),
            (
                "cd web && NODE_ENV=production npm ci --omit=dev && npm run build",
                "npm ci: package.json .npmrc package-lock.json",
            ),
            (r#"["npm", "ci"]"#, "npm ci: package.json .npmrc package-lock.json"),
            ("npm install express", ""),
            ("npm install -g pnpm@9", "npm install --global: "),
            ("npm install -g .", ""),
            ("npm run install", ""),
            ("yarn --frozen-lockfile", "yarn install: package.json yarn.lock .yarnrc .yarnrc.yml"),
            ("yarn build", ""),
            ("pip install --no-cache-dir -r requirements/prod.txt", "pip install -r prod.txt: prod.txt"),
            (
                "python -m pip install -U pip && pip3 install -rreq.txt",
                "pip install: |pip3 install -r req.txt: req.txt",
            ),
            ("pip install --no-index --find-links=/wheels -r requirements.txt", ""),
            ("pip install .", ""),
            ("pip install -e . -r requirements.txt", ""),
            ("pip install 'flask==3.1' gunicorn", "pip install: "),
            ("pip --version", ""),
            ("uv sync --frozen", "uv sync: pyproject.toml uv.lock .python-version"),
            ("apt-get update \\\n && apt-get install -y --no-install-recommends curl", "apt-get install: "),
            ("apt-get install -y ./tool.deb", ""),
            ("apt-get install -y $(cat packages.txt)", ""),
            ("xargs apt-get install -y < packages.txt", ""),
            ("apk add --no-cache git", "apk add: "),
            ("go mod download -x", "go mod download: go.mod go.sum go.work go.work.sum"),
            ("go build ./...", ""),
            ("if true; then npm ci; fi", "npm ci: package.json .npmrc package-lock.json"),
            (
                "set -eux\nbundle install --jobs 4\n",
                "bundle install: Gemfile Gemfile.lock *.gemspec .ruby-version",
            ),
            ("echo 'npm ci'", ""),
        ];
        for (command, expected) in cases {
            let found: Vec<String> =
                installs(command).iter().map(|it| format!("{}: {}", it.name, it.needs.join(" "))).collect();
            assert_eq!(found.join("|"), expected, "{command}");
        }
    }

    #[test]
    fn files_that_it_needs() {
        let install = Install::new("x", &["*.csproj", "Gemfile", "build.gradle*"]);
        for path in ["src/App/App.csproj", "Gemfile", "build.gradle.kts"] {
            assert!(install.wants(path), "{path}");
        }
        for path in ["src/App/", "Gemfile.lock", "x.csproj.user"] {
            assert!(!install.wants(path), "{path}");
        }
    }
}
