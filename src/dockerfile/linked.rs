//! A copy of a Dockerfile in which some `COPY`s and `ADD`s have `--link`.
//!
//! The flag is put into the line that the instruction begins on, so that every line keeps its number.

use super::instruction::Kind;
use super::stage::Dockerfile;

/// Puts ` --link` behind the name of the instructions that begin on these lines. `text` is what `dockerfile` was read from;
/// nothing else in it changes. `None` where one of the lines begins no `COPY` or `ADD`, or the copy would mean something
/// else.
pub fn linked(text: &[u8], dockerfile: &Dockerfile, lines: &[usize]) -> Option<Vec<u8>> {
    let mut copy: Vec<Vec<u8>> = text.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    for line in lines {
        let raw = copy.get_mut(line.checked_sub(1)?)?;
        let begin = raw.iter().position(u8::is_ascii_alphabetic)?;
        let name = raw.get(begin..)?.split(|byte| !byte.is_ascii_alphabetic()).next()?;
        if !["COPY", "ADD"].iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes())) {
            return None;
        }
        let end = begin + name.len();
        raw.splice(end..end, *b" --link");
    }
    let copy = copy.concat();
    let again = Dockerfile::parse(&copy).ok()?;
    (again == expected(dockerfile, lines)).then_some(copy)
}

/// What the copy must be read as.
fn expected(dockerfile: &Dockerfile, lines: &[usize]) -> Dockerfile {
    let mut expected = dockerfile.clone();
    for instruction in expected.stages.iter_mut().flat_map(|stage| &mut stage.instructions) {
        if !lines.contains(&instruction.span.first) {
            continue;
        }
        if let Kind::Copy(transfer) | Kind::Add(transfer) = &mut instruction.kind {
            transfer.link = true;
        }
        let at = instruction.text.find(|letter: char| !letter.is_ascii_alphabetic()).unwrap_or(0);
        instruction.text.insert_str(at, " --link");
        instruction.flags.insert(0, super::instruction::Flag { name: "link".to_owned(), value: None });
    }
    expected
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_links(text: &str, lines: &[usize]) -> Option<String> {
        let file = Dockerfile::parse(text.as_bytes()).expect("Dockerfile");
        linked(text.as_bytes(), &file, lines).map(|copy| String::from_utf8(copy).expect("UTF-8"))
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
