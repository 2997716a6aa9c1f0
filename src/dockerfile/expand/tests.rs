use super::*;

fn lookup(name: &str) -> Option<String> {
    let known =
        [("PWD", "/home"), ("SHELL", "bash"), ("NULL", ""), ("FILE", "a/b.tar.gz"), ("SPACE", "abc  def")];
    known.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
}

fn text(source: &str) -> Result<String, ExpandError> {
    Lexer::new('\\').expand(source, &lookup, &mut Budget::new()).map(|expansion| expansion.text)
}

#[test]
fn values() {
    let cases = [
        ("hello", "hello"),
        ("he'll'o", "hello"),
        ("he\\'llo", "he'llo"),
        ("abc\\tdef", "abctdef"),
        ("\"abc\\tdef\"", "abc\\tdef"),
        ("'abc\\tdef'", "abc\\tdef"),
        ("hello\\", "hello"),
        ("\"hel'lo\"", "hel'lo"),
        ("$.", "$."),
        ("he$1x", "hex"),
        ("he$PWD", "he/home"),
        ("he\\$PWD", "he$PWD"),
        ("he\\\\$PWD", "he\\/home"),
        ("\"he\\$PWD\"", "he$PWD"),
        ("\\${}aaa", "${}aaa"),
        ("he${hi}xx", "hexx"),
        ("he${XXX:-${YYY:-yyy}}xx", "heyyyxx"),
        ("${NULL-x}", ""),
        ("${NULL:-x}", "x"),
        ("${NULL+x}", "x"),
        ("${NULL:+x}", ""),
        ("he${NULL?}", "he"),
        ("he${PWD:+${SHELL}}xx", "hebashxx"),
        ("'he${XX}'", "he${XX}"),
        ("\"he'$PWD'\"", "he'/home'"),
        ("he${PWD:+${PWD}:}xx", "he/home:xx"),
        ("he${XXX:-\\${PWD}z}xx", "he${PWDz}xx"),
        ("안\\'녕$PWD", "안'녕/home"),
        ("${aaa}}", "}"),
        ("${aaa:-bbb {foo}", "bbb {foo"),
        ("$999aaa", "aaa"),
        ("$@@@", "@@"),
        ("${@:-bbb}", "bbb"),
        ("${FILE#*/}", "b.tar.gz"),
        ("${FILE##*.}", "gz"),
        ("${FILE%.*}", "a/b.tar"),
        ("${FILE%%.*}", "a/b"),
        ("${FILE/./-}", "a/b-tar.gz"),
        ("${FILE//./-}", "a/b-tar-gz"),
        ("${FILE//a/}", "/b.tr.gz"),
        ("${FILE/\\//-}", "a-b.tar.gz"),
        ("${FILE//*/x}", "x"),
    ];
    for (source, expected) in cases {
        assert_eq!(text(source).as_deref(), Ok(expected), "{source}");
    }
    for source in [
        "he'llo",
        "\"hello",
        "${}",
        "he${.}",
        "he${XXX:YYY}",
        "he${XXX?}",
        "he${NULL:?}",
        "he${PWD",
        "he${PWD:=0}xx",
        "${{aaa}",
        "${:-bbb}",
        "${aaa:-bbb ${foo}",
        "${FILE:#x}",
        "${FILE#\\x}",
        "${FILE/x}",
    ] {
        assert!(text(source).is_err(), "{source}");
    }
    assert_eq!(text("${XXX:?no $PWD}").map_err(|error| error.to_string()), Err("XXX: no /home".to_owned()));
}

#[test]
fn words() {
    let words = |source: &str| {
        Lexer::new('\\')
            .expand(source, &lookup, &mut Budget::new())
            .map(|expansion| expansion.words.join(","))
    };
    assert_eq!(words("hello${SPACE}bye").as_deref(), Ok("helloabc,defbye"));
    assert_eq!(words("hello \"${SPACE}\"bye").as_deref(), Ok("hello,abc  defbye"));
    assert_eq!(words("hello\\ there").as_deref(), Ok("hello there"));
    assert_eq!(words("cat << EOF > x").as_deref(), Ok("cat,<< EOF,>,x"));
}

#[test]
fn what_is_unset_can_stay() {
    let lexer = Lexer { keep_unset: true, raw_quotes: true, ..Lexer::new('\\') };
    let expanded = lexer.expand("echo \"$A ${B:-x} $PWD\"", &lookup, &mut Budget::new()).expect("expansion");
    assert_eq!(expanded.text, "echo \"$A ${B:-x} /home\"");
    assert_eq!(expanded.unset.into_iter().collect::<Vec<_>>(), ["A", "B"]);
}

#[test]
fn nothing_grows_without_bound() {
    let nested = "${a:-".repeat(100_000);
    assert_eq!(text(&nested), Err(ExpandError::TooMuch));
    let mut budget = Budget(10);
    let mut expand = |source| Lexer::new('\\').expand(source, &lookup, &mut budget).map(|it| it.text);
    assert_eq!(expand("$PWD").as_deref(), Ok("/home"));
    assert_eq!(expand("$PWD$PWD"), Err(ExpandError::TooMuch));
}
