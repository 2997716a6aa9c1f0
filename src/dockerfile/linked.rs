//! A copy of a Dockerfile in which some `COPY`s and `ADD`s have `--link`, and some `WORKDIR`s stand above them.
//!
//! The flag is put into the line that the instruction begins on, so that every line keeps its number. A `WORKDIR` takes the
//! place of a blank line or a comment there, and leaves a blank line; where there is none, all lines from there to where it
//! stood are one further down.

use super::instruction::{Flag, Instruction, Kind};
use super::line::Span;
use super::stage::Dockerfile;
use crate::model::parent_state::Link;

/// Puts ` --link` behind the name of the instructions that begin on these lines, and those that rise above the
/// instruction that they are to rise above, in their order. `text` is what `dockerfile` was read from; nothing else in it
/// changes. `None` where one of the lines begins no such instruction, or the copy would mean something else.
pub fn linked(text: &[u8], dockerfile: &Dockerfile, links: &[Link]) -> Option<Vec<u8>> {
    let mut lines: Vec<Vec<u8>> = text.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    let mut expected = dockerfile.clone();
    for link in links.iter().filter(|link| link.above.is_none()) {
        give_flag(lines.get_mut(link.line.checked_sub(1)?)?)?;
        expect_flag(&mut expected, link.line);
    }
    let risen: Vec<(usize, usize)> = links.iter().filter_map(|link| Some((link.line, link.above?))).collect();
    let ways = [Way::IntoFreeLines, Way::DownByOne];
    ways.into_iter().find_map(|way| {
        let (mut lines, mut expected) = (lines.clone(), expected.clone());
        for (count, (line, above)) in risen.iter().enumerate() {
            let to = match way {
                Way::IntoFreeLines => (above + count).checked_sub(risen.len())?,
                Way::DownByOne => above + count,
            };
            way.raise(&mut lines, *line, to)?;
            way.expect(&mut expected, *line, to, *above)?;
        }
        let copy = lines.concat();
        (Dockerfile::parse(&copy).ok()? == expected).then_some(copy)
    })
}

fn give_flag(line: &mut Vec<u8>) -> Option<()> {
    let begin = line.iter().position(u8::is_ascii_alphabetic)?;
    let name = line.get(begin..)?.split(|byte| !byte.is_ascii_alphabetic()).next()?;
    if !["COPY", "ADD"].iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes())) {
        return None;
    }
    let end = begin + name.len();
    line.splice(end..end, *b" --link");
    Some(())
}

/// What the copy must be read as.
fn expect_flag(expected: &mut Dockerfile, line: usize) {
    let instructions = expected.stages.iter_mut().flat_map(|stage| &mut stage.instructions);
    for instruction in instructions.filter(|instruction| instruction.span.first == line) {
        if let Kind::Copy(transfer) | Kind::Add(transfer) = &mut instruction.kind {
            transfer.link = true;
        }
        let at = instruction.text.find(|letter: char| !letter.is_ascii_alphabetic()).unwrap_or(0);
        instruction.text.insert_str(at, " --link");
        instruction.flags.insert(0, Flag { name: "link".to_owned(), value: None });
    }
}

/// How a line is put above others.
#[derive(Clone, Copy)]
enum Way {
    /// In the place of lines that say nothing.
    IntoFreeLines,
    /// All others come after it.
    DownByOne,
}

impl Way {
    /// Puts a line where another one is. Lines count from 1.
    fn raise(self, lines: &mut Vec<Vec<u8>>, line: usize, to: usize) -> Option<()> {
        if !(1..line).contains(&to) || line > lines.len() {
            return None;
        }
        let mut raised = std::mem::replace(&mut lines[line - 1], b"\n".to_vec());
        // The last line of the file need not be ended.
        if raised.last() != Some(&b'\n') {
            raised.push(b'\n');
        }
        match self {
            Way::IntoFreeLines => {
                let there = lines[to - 1].trim_ascii();
                if !there.is_empty() && !there.starts_with(b"#") {
                    return None;
                }
                lines[to - 1] = raised;
            }
            Way::DownByOne => {
                lines.remove(line - 1);
                lines.insert(to - 1, raised);
            }
        }
        Some(())
    }

    /// What the copy must be read as.
    fn expect(self, expected: &mut Dockerfile, line: usize, to: usize, above: usize) -> Option<()> {
        let is_it = |it: &Instruction| {
            matches!(it.kind, Kind::Workdir(_)) && it.span == Span { first: line, last: line }
        };
        let stage = expected.stages.iter_mut().find(|stage| stage.instructions.iter().any(is_it))?;
        let at = stage.instructions.iter().position(is_it)?;
        let below = if matches!(self, Way::DownByOne) { to } else { above };
        let first = stage.instructions.iter().position(|it| it.span.first == below)?;
        let mut raised = stage.instructions.remove(at);
        raised.span = Span { first: to, last: to };
        for lower in stage.instructions[first..at].iter_mut().filter(|_| matches!(self, Way::DownByOne)) {
            lower.span = Span { first: lower.span.first + 1, last: lower.span.last + 1 };
        }
        stage.instructions.insert(first, raised);
        stage.span.last = stage.instructions.last()?.span.last;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::reference::Digest;

    /// `risen`: a line, and that of the instruction above which it is put.
    fn rewritten(text: &str, lines: &[usize], risen: &[(usize, usize)]) -> Option<String> {
        let file = Dockerfile::parse(text.as_bytes()).expect("Dockerfile");
        let link = |line, above| Link { line, step: Digest::of(b""), above };
        let links = lines.iter().map(|line| link(*line, None));
        let links: Vec<Link> =
            links.chain(risen.iter().map(|(line, above)| link(*line, Some(*above)))).collect();
        linked(text.as_bytes(), &file, &links).map(|copy| String::from_utf8(copy).expect("UTF-8"))
    }

    fn with_links(text: &str, lines: &[usize]) -> Option<String> {
        rewritten(text, lines, &[])
    }

    #[test]
    fn a_workdir_is_put_above_copies() {
        for (text, lines, risen, expected) in [
            (
                "FROM a\nCOPY b /c/\nWORKDIR /c\nCMD x\n",
                vec![2],
                vec![(3, 2)],
                "FROM a\nWORKDIR /c\nCOPY --link b /c/\nCMD x\n",
            ),
            (
                "FROM a\n\nCOPY b \\\n /c/\n# why\nENV d=e\n workdir /c\nCOPY f .\nWORKDIR /",
                vec![3, 8],
                vec![(7, 3)],
                "FROM a\n workdir /c\nCOPY --link b \\\n /c/\n# why\nENV d=e\n\nCOPY --link f .\nWORKDIR /",
            ),
            (
                "FROM a\nRUN b\n# c\n\nCOPY d /e/\nWORKDIR /e\nWORKDIR f\n",
                vec![5],
                vec![(6, 5), (7, 5)],
                "FROM a\nRUN b\nWORKDIR /e\nWORKDIR f\nCOPY --link d /e/\n\n\n",
            ),
            (
                "FROM a\r\nCOPY b /c/\r\nWORKDIR /c\r\nWORKDIR /d",
                vec![2],
                vec![(3, 2), (4, 2)],
                "FROM a\r\nWORKDIR /c\r\nWORKDIR /d\nCOPY --link b /c/\r\n",
            ),
        ] {
            assert_eq!(rewritten(text, &lines, &risen).as_deref(), Some(expected), "{text}");
        }
        for (text, risen) in [
            ("FROM a\nCOPY b /c/\nRUN d\n", (3, 2)),
            ("FROM a\nCOPY b /c/\nWORKDIR \\\n /c\n", (3, 2)),
            ("FROM a\nCOPY b /c/\nFROM d\nWORKDIR /c\n", (4, 2)),
            ("FROM a\nCOPY b /c/\nWORKDIR /c\n", (3, 1)),
            ("FROM a\nCOPY b /c/\nWORKDIR /c\n", (9, 2)),
            ("FROM a\nWORKDIR /c\n", (2, 2)),
        ] {
            assert_eq!(rewritten(text, &[], &[risen]), None, "{text}");
        }
    }

    #[test]
    fn lines_keep_their_numbers() {
        for (text, lines, expected) in [
            ("FROM a\nCOPY b c\nCOPY d e\n", vec![3], "FROM a\nCOPY b c\nCOPY --link d e\n"),
            (
                "FROM a\n\tcopy  --chown=1 \\\n b \\\n# why\n c",
                vec![2],
                "FROM a\n\tcopy --link  --chown=1 \\\n b \\\n# why\n c",
            ),
            ("FROM a\r\nADD [\"b\", \"c\"]\r\n", vec![2], "FROM a\r\nADD --link [\"b\", \"c\"]\r\n"),
            (
                "FROM a\nCOPY --from=b c d\nADD e f",
                vec![2, 3],
                "FROM a\nCOPY --link --from=b c d\nADD --link e f",
            ),
            ("# escape=`\nFROM a\nCOPY `\n b c", vec![3], "# escape=`\nFROM a\nCOPY --link `\n b c"),
        ] {
            assert_eq!(with_links(text, &lines).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_copy_is_left() {
        for (text, lines) in [
            ("FROM a\nRUN b\n", vec![2]),
            ("FROM a\nONBUILD COPY b c\n", vec![2]),
            ("FROM a\nRUN <<E\nCOPY b c\nE\n", vec![3]),
            ("FROM a\nCOPY --link=false b c\n", vec![2]),
            ("FROM a\nCOPY b c\n", vec![9]),
            ("FROM a\nCOPY b c\n", vec![0]),
        ] {
            assert_eq!(with_links(text, &lines), None, "{text}");
        }
    }
}
