use super::*;
use crate::dockerfile::{Dockerfile, Graph, Inputs as GraphInputs, graph};
use crate::model::inputs::FileKind;
use crate::plan::wanted::wanted;

/// A build as far as its digest depends on it.
#[derive(Clone)]
struct Build {
    text: String,
    arguments: Vec<(&'static str, &'static str)>,
    images: BTreeMap<&'static str, &'static str>,
    files: BTreeMap<&'static str, &'static str>,
    run_options: Vec<(&'static str, &'static str)>,
    image_options: Vec<(&'static str, &'static str)>,
}

fn build(text: &str) -> Build {
    Build {
        text: text.to_owned(),
        arguments: Vec::new(),
        images: BTreeMap::from([("img", "1"), ("other", "2")]),
        files: BTreeMap::from([("/a", "1"), ("/b", "2"), ("/", "3")]),
        run_options: Vec::new(),
        image_options: Vec::new(),
    }
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn graph_of(build: &Build, platform: &Platform) -> Graph {
    let file = Dockerfile::parse(build.text.as_bytes()).expect("Dockerfile");
    let arguments =
        build.arguments.iter().map(|(name, value)| ((*name).to_owned(), Some((*value).to_owned())));
    let inputs = GraphInputs {
        build_args: arguments.collect(),
        target: None,
        platform: platform.clone(),
        build_platform: platform.clone(),
        contexts: BTreeMap::from([("ctx".to_owned(), "git".to_owned())]),
    };
    graph(&file, &inputs).expect("graph")
}

impl Build {
    fn inputs(&self) -> Inputs {
        let platform = Platform::new("linux", "amd64", None);
        let graph = graph_of(self, &platform);
        let contexts = BTreeMap::from([("ctx".to_owned(), NamedContext::Unknown("it is in git".to_owned()))]);
        let asked = Asked { graph: &graph, platform: &platform, contexts: &contexts };
        let wanted = wanted(asked);
        let mut known = Known {
            options: Options { run: pairs(&self.run_options), image: pairs(&self.image_options) },
            ..Known::default()
        };
        for (image, platform) in wanted.images {
            let found = self.images.get(image.as_str()).map(|content| Digest::of(content.as_bytes()));
            known.images.insert((image, platform), found.ok_or_else(|| "nobody has it".to_owned()));
        }
        for selector in wanted.files {
            let content = self.files.get(selector.source.as_str()).copied();
            known.files.extend(content.map(|digest| File {
                context: None,
                path: selector.source.clone(),
                kind: FileKind::File,
                mode: 0o644,
                size: 1,
                digest: digest.to_owned(),
                link: None,
            }));
            let places = content.map(|_| vec![known.files.len() - 1]).unwrap_or_default();
            known.selected.insert(selector, Ok(places));
        }
        inputs(asked, known)
    }

    /// `stage number` of the steps whose digest is another one, and whether the image's is.
    fn against(&self, other: &Build) -> (Vec<String>, bool) {
        let (one, other) = (self.inputs(), other.inputs());
        let mut changed = Vec::new();
        for (stage, theirs) in one.stages.iter().zip(&other.stages) {
            let same = |number: usize, digest: &Digest| {
                theirs.steps.iter().any(|step| step.number == number && step.digest == *digest)
            };
            let differ = stage.steps.iter().filter(|step| !same(step.number, &step.digest));
            changed.extend(differ.map(|step| format!("{} {}", stage.name, step.number)));
        }
        (changed, one.digest != other.digest)
    }
}

const MULTI: &str = "FROM img AS tools\nARG V\nRUN one\nCOPY a /a\nRUN two\nFROM other AS final\n\
    COPY --from=tools /a /a\nCOPY --link b /b\nRUN three\nLABEL x=1\n";

/// What a change of the text does: the steps that it changes, and the image.
#[track_caller]
fn rewritten(from: &str, to: &str, steps: &[&str], image: bool) {
    let before = build(MULTI);
    let after = build(&MULTI.replace(from, to));
    assert_ne!(before.text, after.text);
    let (changed, differs) = after.against(&before);
    assert_eq!(changed, steps, "{from} -> {to}");
    assert_eq!(differs, image, "{from} -> {to}");
}

#[test]
fn a_step_changes_with_what_it_says_and_with_those_before_it() {
    rewritten("RUN one", "# why\nRUN   one", &[], false);
    rewritten("RUN one", "RUN \\\n  one", &[], false);
    rewritten("RUN two", "RUN too", &["tools 4", "final 2", "final 4"], true);
    rewritten("LABEL x=1", "LABEL x=2", &[], true);
    rewritten("ARG V", "ARG V\nLABEL y=1", &[], false);
    // The image's history tells between which steps it stands.
    rewritten("RUN three\nLABEL x=1", "LABEL x=1\nRUN three", &[], true);
    // A stage's name is nobody's business.
    rewritten("tools", "instruments", &[], false);
}

/// The digest under an image's tag is that of an index, which has all platforms.
#[test]
fn the_platform_of_a_base_counts_without_any_run() {
    let of = |text: &str, platform: &'static str| Build { arguments: vec![("P", platform)], ..build(text) };
    for text in [
        "ARG P\nFROM --platform=$P img\nCOPY a /a\n",
        "ARG P\nFROM --platform=$P img\nCMD a\n",
        "ARG P\nFROM --platform=$P scratch\nCOPY a /a\n",
        "ARG P\nFROM --platform=$P img AS helper\nFROM other\nCOPY --from=helper /a /a\n",
    ] {
        let (amd64, arm64) = (of(text, "linux/amd64"), of(text, "linux/arm64"));
        assert!(arm64.against(&amd64).1, "{text}");
    }
    // The engine makes what stands on nothing once, for all platforms.
    let scratch = "ARG P\nFROM --platform=$P scratch\nCOPY a /a\n";
    let (changed, differs) = of(scratch, "linux/amd64").against(&of(scratch, "linux/arm64"));
    assert_eq!((changed, differs), (Vec::new(), true));
}

#[test]
fn a_linked_copy_depends_on_nothing_below_it() {
    let before = build(MULTI);
    let mut after = before.clone();
    after.images.insert("other", "moved");
    assert_eq!(after.against(&before).0, ["final 1", "final 2", "final 4"]);
    let mut after = before.clone();
    after.files.insert("/b", "changed");
    assert_eq!(after.against(&before).0, ["final 3", "final 4"]);
    let relative = |destination: &str| build(&format!("FROM img\nCOPY --link a {destination}\n"));
    let moved = |build: &Build| {
        let mut moved = build.clone();
        moved.images.insert("img", "moved");
        moved.against(build).0
    };
    assert_eq!(moved(&relative("/x")), ["stage-0 1"]);
    // Where that is depends on the image's working folder.
    assert_eq!(moved(&relative("x")), ["stage-0 1", "stage-0 2"]);
    // It is another step all the same than one without the flag.
    let plain = build("FROM img\nCOPY a x\n");
    assert_eq!(relative("x").against(&plain).0, ["stage-0 2"]);
}

#[test]
fn a_build_argument_counts_from_its_declaration() {
    let before = Build { arguments: vec![("V", "1")], ..build(MULTI) };
    let after = Build { arguments: vec![("V", "2")], ..build(MULTI) };
    assert_eq!(after.against(&before).0, ["tools 2", "tools 3", "tools 4", "final 2", "final 4"]);
    let other = Build { arguments: vec![("V", "1"), ("http_proxy", "x"), ("UNUSED", "y")], ..build(MULTI) };
    assert_eq!(other.against(&before), (vec![], false));
    // A path that names it has its value; one that does not, has not.
    let text = "FROM img\nARG V\nCOPY $V /x\nCOPY b /y\n";
    let with = |value| Build { arguments: vec![("V", value)], ..build(text) };
    assert_eq!(with("a").against(&with("a")).0, [""; 0]);
    let (changed, _) = with("a").against(&with("b"));
    assert_eq!(changed, ["stage-0 2", "stage-0 3"]);
    let text = "FROM img\nARG V\nCOPY a /x\nRUN one\n";
    let with = |value| Build { arguments: vec![("V", value)], ..build(text) };
    assert_eq!(with("1").against(&with("2")).0, ["stage-0 3"]);
}

#[test]
fn a_file_in_the_dockerfile_has_the_values_that_it_names() {
    for text in ["it's $V", "'$V'", "${V:-x}", "\\$V"] {
        let with = |value| Build {
            arguments: vec![("V", value)],
            ..build(&format!("FROM img\nARG V\nARG W=1\nCOPY <<E /e\n{text}\nE\n"))
        };
        assert_eq!(with("1").against(&with("2")).0, ["stage-0 2"], "{text}");
    }
    let with = |value| Build {
        arguments: vec![("V", value)],
        ..build("FROM img\nARG V\nCOPY <<'E' <<F /e/\n$V\nE\nnone\nF\n")
    };
    assert_eq!(with("1").against(&with("2")).0, [""; 0]);
}

#[test]
fn what_a_trigger_sets_counts_for_the_stage_on_it() {
    let with = |user: &str| {
        build(&format!(
            "FROM img AS b\nONBUILD USER {user}\nFROM b AS c\nRUN one\nFROM img AS d\nCOPY --from=c /a /a\n"
        ))
    };
    assert_eq!(with("x").against(&with("y")).0, ["c 1", "d 2"]);
    let with = |shell: &str| build(&format!("FROM img AS b\nONBUILD SHELL [\"{shell}\"]\nFROM b\nRUN one\n"));
    assert_eq!(with("sh").against(&with("bash")), (vec!["stage-1 1".to_owned()], true));
}

#[test]
fn values_that_depend_on_the_base_bring_their_text() {
    let with = |text: &str| build(&format!("FROM img\nENV P=$UNKNOWN/{text}\nRUN one\n"));
    assert_eq!(with("a").against(&with("b")).0, ["stage-0 2"]);
    for instruction in ["USER", "WORKDIR"] {
        let with = |name: &str| build(&format!("FROM img\n{instruction} ${name}\nRUN one\n"));
        let (changed, _) = with("ONE").against(&with("OTHER"));
        assert_eq!(changed, ["stage-0 2"], "{instruction}");
    }
    let with = |text: &str| build(&format!("FROM img\nARG A={text}\nCOPY ${{UNKNOWN:+$A}} /x\n"));
    assert_eq!(with("a").against(&with("b")).0, ["stage-0 2"]);
}

#[test]
fn options_of_the_build_count_where_they_act() {
    let before = build(MULTI);
    let after = Build { run_options: vec![("network", "none")], ..build(MULTI) };
    assert_eq!(after.against(&before).0, ["tools 2", "tools 3", "tools 4", "final 2", "final 4"]);
    let after = Build { image_options: vec![("--label", "a=b")], ..build(MULTI) };
    assert_eq!(after.against(&before), (vec![], true));
}

#[test]
fn what_may_move_unseen_is_told_with_its_line() {
    let told = |text: &str| -> Vec<String> {
        let unknown = build(text).inputs().unknown;
        unknown.iter().map(|unknown| format!("{}: {}", unknown.line, unknown.what)).collect()
    };
    assert_eq!(told(MULTI), [""; 0]);
    assert_eq!(
        told("FROM img\nADD https://u:p@example.com/x /x"),
        ["2: ADD fetches https://example.com/x without --checksum"]
    );
    assert_eq!(told("FROM img\nADD --checksum=sha256:00 https://example.com/x /x"), [""; 0]);
    let commit = "0123456789abcdef0123456789abcdef01234567";
    assert_eq!(told(&format!("FROM img\nADD https://example.com/x.git#{commit}:sub /x")), [""; 0]);
    assert_eq!(told("FROM img\nADD https://example.com/x.git#main /x").len(), 1);
    assert_eq!(told("FROM img\nADD $UNKNOWN /x").len(), 1);
    assert_eq!(told("FROM nowhere"), ["0: the image nowhere is not known: nobody has it"]);
    assert_eq!(told("FROM ctx"), ["0: the build context ctx is not known: it is in git"]);
    assert_eq!(told("FROM img\nRUN --mount=type=nfs x"), ["2: mount type `nfs` is not known to layerlift"]);
    // What the target does not reach does not matter.
    assert_eq!(told("FROM nowhere AS x\nFROM img"), [""; 0]);
}

#[test]
fn values_are_not_told() {
    let build = Build {
        arguments: vec![("TOKEN", "hunter2")],
        ..build("FROM img\nARG TOKEN\nRUN login $TOKEN\nCOPY a /$TOKEN\nLABEL t=$TOKEN\n")
    };
    let text = serde_json::to_string(&build.inputs()).expect("JSON");
    assert!(!text.contains("hunter2"), "{text}");
}

#[test]
fn places_become_ranges() {
    assert_eq!(ranges(&[]), []);
    assert_eq!(ranges(&[4, 1, 2, 2]), [(1, 3), (4, 5)]);
}
