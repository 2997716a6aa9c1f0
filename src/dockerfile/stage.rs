//! The file as a whole: directives, global arguments, stages with their instructions.

use super::directive;
use super::error::{ParseError, ParseFault};
use super::instruction::{Argument, Instruction, Kind, Parsed, announced_heredocs, parse};
use super::line::{Lines, Span};

/// More than any Dockerfile, written or generated, and little enough to be kept in memory several times. BuildKit's own
/// bound is its gRPC message, 16 MiB.
const LARGEST: usize = 1 << 20;

/// A Dockerfile that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dockerfile {
    /// The frontend image of the `# syntax=` directive.
    pub syntax: Option<String>,
    /// `\`, or the backtick of an `# escape=` directive.
    pub escape: char,
    /// The `ARG`s before the first `FROM`, with their lines.
    pub global_args: Vec<(Argument, usize)>,
    /// At least one.
    pub stages: Vec<Stage>,
    /// What is not known, by line. Nothing that depends on these lines may be taken for understood.
    pub opaque: Vec<Opaque>,
}

/// One stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// Its place in the file, from 0.
    pub index: usize,
    /// In lower case, as BuildKit keeps it.
    pub name: Option<String>,
    /// As written after `FROM`.
    pub base: String,
    /// As written after `--platform=`.
    pub platform: Option<String>,
    /// Without the `FROM`.
    pub instructions: Vec<Instruction>,
    /// The `FROM` instruction's own lines.
    pub from: Span,
    /// From its `FROM` to the end of its last instruction.
    pub span: Span,
}

/// Something that layerlift does not know; the engine may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opaque {
    /// Its line, from 1; 0 where it is the file as a whole.
    pub line: usize,
    /// What it is, for messages: ``flag `--colour` of RUN``.
    pub what: String,
}

impl Dockerfile {
    /// Reads a Dockerfile. Bytes that are no UTF-8 are replaced and told in `opaque`.
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        let failed = |line, certain, fault| ParseError { line, word: String::new(), certain, fault };
        if bytes.len() > LARGEST {
            return Err(failed(1, false, ParseFault::TooLarge { limit: LARGEST }));
        }
        let text = String::from_utf8_lossy(bytes);
        let directives = directive::read(&text)?;
        let foreign = directives.syntax.as_deref().filter(|syntax| !is_docker_frontend(syntax));
        let mut file = Dockerfile {
            syntax: directives.syntax.clone(),
            escape: directives.escape,
            global_args: Vec::new(),
            stages: Vec::new(),
            opaque: Vec::new(),
        };
        if let Some(frontend) = foreign {
            file.opaque.push(Opaque { line: 0, what: format!("frontend `{frontend}`") });
        }
        if let std::borrow::Cow::Owned(_) = text {
            file.opaque.push(Opaque { line: 0, what: "bytes that are no UTF-8".to_owned() });
        }
        let mut lines = Lines::new(&text);
        let last = file
            .read(&mut lines, foreign.is_some())
            .map_err(|error| ParseError { certain: error.certain && foreign.is_none(), ..error })?;
        match (last, file.stages.is_empty()) {
            (None, _) => Err(failed(lines.number().max(1), foreign.is_none(), ParseFault::Empty)),
            (Some(line), true) => Err(failed(line, foreign.is_none(), ParseFault::NoStage)),
            (Some(_), false) => Ok(file),
        }
    }

    /// Reads all instructions; gives the line of the last one.
    fn read(&mut self, lines: &mut Lines<'_>, foreign_frontend: bool) -> Result<Option<usize>, ParseError> {
        let mut last = None;
        while let Some((text, line)) = lines.logical(self.escape)? {
            last = Some(line);
            let Parsed { mut instruction, unknown, foreign } = parse(&text, line, self.escape)?;
            if let Some(fault) = foreign {
                if !foreign_frontend {
                    let word = text.split_whitespace().next().unwrap_or_default().to_owned();
                    return Err(ParseError { line, word, certain: true, fault });
                }
                self.opaque.push(Opaque { line, what: format!("instruction `{}`", instruction.name) });
            }
            self.opaque.extend(unknown.into_iter().map(|what| Opaque { line, what }));
            instruction.read_heredocs(lines, self.escape)?;
            if let Kind::Onbuild(trigger) = &instruction.kind {
                let unknown = Instruction::of_trigger(trigger, instruction.span).map_or_else(
                    || vec!["trigger that is no instruction".to_owned()],
                    |(_, unknown)| unknown,
                );
                self.opaque.extend(unknown.into_iter().map(|what| Opaque { line, what }));
            }
            self.push(instruction, foreign_frontend)?;
        }
        Ok(last)
    }

    fn push(&mut self, instruction: Instruction, foreign_frontend: bool) -> Result<(), ParseError> {
        let span = instruction.span;
        match (instruction.kind, self.stages.last_mut()) {
            (Kind::From(from), _) => self.stages.push(Stage {
                index: self.stages.len(),
                name: from.name,
                base: from.base,
                platform: from.platform,
                instructions: Vec::new(),
                from: span,
                span,
            }),
            (Kind::Arg(arguments), None) => {
                self.global_args.extend(arguments.into_iter().map(|argument| (argument, span.first)));
            }
            (_, None) if foreign_frontend => {}
            (_, None) => {
                let fault = ParseFault::NoStage;
                return Err(ParseError { line: span.first, word: instruction.name, certain: true, fault });
            }
            (kind, Some(stage)) => {
                stage.span.last = span.last;
                stage.instructions.push(Instruction { kind, ..instruction });
            }
        }
        Ok(())
    }
}

impl Instruction {
    fn read_heredocs(&mut self, lines: &mut Lines<'_>, escape: char) -> Result<(), ParseError> {
        for heredoc in announced_heredocs(&self.text, escape) {
            self.heredocs.push(heredoc.read(lines, self.span.first)?);
        }
        self.span.last = lines.number();
        if let Kind::Onbuild(trigger) = &mut self.kind {
            for heredoc in &self.heredocs {
                trigger.push('\n');
                trigger.push_str(&heredoc.content);
                trigger.push_str(&heredoc.name);
            }
        }
        Ok(())
    }

    /// Reads the trigger of an `ONBUILD` as an instruction that stands at `span`, and what is not known about it.
    pub(super) fn of_trigger(trigger: &str, span: Span) -> Option<(Self, Vec<String>)> {
        // BuildKit reads triggers with the default escape character, whatever the file says.
        let mut lines = Lines::new(trigger);
        let (text, line) = lines.logical('\\').ok()??;
        let parsed = parse(&text, line, '\\').ok().filter(|parsed| parsed.foreign.is_none())?;
        let (mut instruction, unknown) = (parsed.instruction, parsed.unknown);
        instruction.read_heredocs(&mut lines, '\\').ok()?;
        instruction.span = span;
        lines.logical('\\').ok()?.is_none().then_some((instruction, unknown))
    }
}

/// Whether a frontend image is Docker's own, also through a mirror: `mirror.example.com/docker/dockerfile:1`.
pub(super) fn is_docker_frontend(image: &str) -> bool {
    let name = image.split('@').next().unwrap_or_default();
    let mut parts = name.rsplit('/');
    let last = parts.next().unwrap_or_default().split(':').next().unwrap_or_default();
    ["dockerfile", "dockerfile-upstream"].contains(&last) && parts.next() == Some("docker")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fault(text: &str) -> String {
        Dockerfile::parse(text.as_bytes()).map_or_else(|error| error.to_string(), |_| "none".to_owned())
    }

    #[test]
    fn faults_name_line_and_cause() {
        let cases = [
            ("", "line 1: the file has no instructions"),
            ("# x\n\n", "line 2: the file has no instructions"),
            ("ARG a\n", "line 1: no `FROM` before this line"),
            ("ARG a\nRUN x\nFROM b", "line 2: no `FROM` before this line"),
            ("FROM a\nCOPY --chmod=1 --chmod=2 a b", "line 2: COPY has a flag twice that is taken once"),
            ("FROM a\nRUN --mount=type=tmpfs,target=/a --mount=type=tmpfs,target=/b x", "none"),
            ("FROM a\nCOPY --chown a b", "line 2: COPY has a flag without its value"),
            (
                "FROM a\nCOPY --link=1 a b",
                "line 2: COPY has a flag whose value is neither `true` nor `false`",
            ),
            ("FROM a\nCOPY --link=False a b", "none"),
            ("FROM a\nRUNN x", "line 2: unknown instruction `RUNN` (did you mean `RUN`?)"),
            ("FROM a\n\\\n", "line 2: unknown instruction ``"),
            ("FROM a\nINSTALL x", "line 2: unknown instruction `INSTALL`"),
            ("FROM a\nRUN <<A <<B\nA\nx\n", "line 2: the heredoc `B` is not ended"),
            ("FROM a AS", "line 1: FROM requires either one argument or three: base AS name"),
            ("FROM a IS b", "line 1: FROM requires either one argument or three: base AS name"),
            ("FROM", "line 1: FROM requires either one argument or three: base AS name"),
            (
                "FROM a AS 1a",
                "line 1: invalid stage name `1a`: it begins with a letter and has only letters, digits, `-`, `_` and `.`",
            ),
            ("FROM a\nCOPY x", "line 2: COPY requires at least two arguments, a source and a destination"),
            ("FROM a\nENV a=1 b", "line 2: ENV has an argument that is not name=value"),
            ("FROM a\nRUN [1]", "line 2: RUN has a JSON array that holds something else than strings"),
            ("FROM a\nONBUILD FROM b", "line 2: ONBUILD has an instruction that cannot be a trigger"),
            ("FROM a\nFROM b\nWORKDIR", "line 3: WORKDIR requires exactly one argument"),
            (
                "# escape=x\nFROM a",
                "line 1: the escape character is `x`, but only `\\` and `` ` `` are allowed",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(fault(text), expected, "{text:?}");
        }
    }

    #[test]
    fn what_is_unknown_is_kept() {
        let file = |text: &str| Dockerfile::parse(text.as_bytes()).expect("Dockerfile");
        let opaque = |text: &str| -> Vec<String> {
            file(text).opaque.iter().map(|it| format!("{}: {}", it.line, it.what)).collect()
        };
        assert_eq!(opaque("FROM a\nCOPY --fast=1 \\\n x /y"), ["2: flag `--fast` of COPY"]);
        assert_eq!(
            opaque("FROM a\nRUN --mount=type=nfs,x=1 y"),
            ["2: mount option `x`", "2: mount type `nfs`"]
        );
        assert_eq!(
            opaque("# syntax=example.com/x:1\nUSE y\nFROM a\nBAKE z"),
            ["0: frontend `example.com/x:1`", "2: instruction `USE`", "4: instruction `BAKE`"]
        );
        assert_eq!(opaque("# syntax=mirror.example.com/docker/dockerfile:1@sha256:00\nFROM a"), [""; 0]);
        assert!(Dockerfile::parse(b"# syntax=docker/dockerfile\nFROM a\nBAKE z").is_err());
        assert_eq!(
            Dockerfile::parse(b"FROM a\nRUN \xff").map(|file| file.opaque.len()),
            Ok(1),
            "bytes that are no UTF-8"
        );
    }

    #[test]
    fn an_error_says_whether_the_engine_agrees() {
        let certain = |text: &str| Dockerfile::parse(text.as_bytes()).map_err(|error| error.certain);
        assert_eq!(certain("RUN x"), Err(true));
        assert_eq!(certain("# syntax=example.com/x\nkey: value"), Err(false));
        assert_eq!(certain(&"#\n".repeat(LARGEST)), Err(false));
    }

    #[test]
    fn a_heredoc_is_part_of_its_instruction() {
        let text = "FROM a\nONBUILD RUN <<E\nFROM x\nE\nCOPY <<-F b /c/\n\tFROM y\n\tF\nFROM z\n";
        let file = Dockerfile::parse(text.as_bytes()).expect("Dockerfile");
        assert_eq!(file.stages.len(), 2);
        let [onbuild, copy] = file.stages[0].instructions.as_slice() else { panic!("two instructions") };
        assert_eq!(onbuild.kind, Kind::Onbuild("RUN <<E\nFROM x\nE".to_owned()));
        assert_eq!((onbuild.span, copy.span), (Span { first: 2, last: 4 }, Span { first: 5, last: 7 }));
        let Kind::Copy(transfer) = &copy.kind else { panic!("COPY") };
        assert_eq!((transfer.sources.join(","), transfer.destination.as_str()), ("b".to_owned(), "/c/"));
        assert_eq!(file.stages[0].span, Span { first: 1, last: 7 });
    }

    /// Texts made of the pieces that mean something to a parser.
    fn pieces() -> impl Strategy<Value = String> {
        let piece = prop::sample::select(vec![
            "FROM ",
            "RUN ",
            "COPY ",
            "ADD ",
            "ARG ",
            "ENV ",
            "ONBUILD ",
            "WORKDIR ",
            "busybox",
            " AS ",
            "a",
            "b",
            "0",
            "\n",
            "\n",
            "\n",
            "\r\n",
            "\\\n",
            "\\",
            "`",
            "#",
            "# escape=`\n",
            "# syntax=x\n",
            "--from=",
            "--mount=type=cache,from=",
            "--link ",
            "<<",
            "<<-E",
            "E",
            "'",
            "\"",
            "$a",
            "${a:-",
            "${a#",
            "${a/",
            "}",
            "*",
            "?",
            "/",
            "=",
            " ",
            "\t",
            "[",
            "]",
            ",",
            "\u{feff}",
            "é",
        ]);
        prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
    }

    fn holds_together(bytes: &[u8]) -> Result<(), TestCaseError> {
        let lines = String::from_utf8_lossy(bytes).split('\n').count();
        let file = match Dockerfile::parse(bytes) {
            Ok(file) => file,
            Err(error) => {
                prop_assert!((1..=lines).contains(&error.line), "{error}");
                return Ok(());
            }
        };
        let mut before = 0;
        for stage in &file.stages {
            prop_assert!(
                stage.span.first > before && stage.from.last <= stage.span.last && stage.span.last <= lines
            );
            before = stage.from.last;
            for instruction in &stage.instructions {
                let Span { first, last } = instruction.span;
                prop_assert!(before < first && first <= last && last <= stage.span.last);
                before = last;
            }
        }
        let platform = crate::model::platform::Platform::new("linux", "amd64", None);
        let inputs = crate::dockerfile::Inputs {
            build_args: [("a".to_owned(), Some("b b".to_owned()))].into(),
            target: None,
            build_platform: platform.clone(),
            platform,
            contexts: [].into(),
        };
        if let Ok(graph) = crate::dockerfile::graph(&file, &inputs) {
            for node in &graph.stages {
                prop_assert!(node.depends_on.iter().all(|read| *read < node.index));
                prop_assert!(node.steps.iter().all(|step| step.number <= step.total));
            }
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn no_text_breaks_it(text in pieces()) {
            holds_together(text.as_bytes())?;
            holds_together(format!("FROM busybox AS a\n{text}").as_bytes())?;
        }

        #[test]
        fn no_bytes_break_it(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            holds_together(&bytes)?;
        }
    }
}
