"""Changes of a project, each of one kind. Some matter for the image, some never do, most do for some projects only."""

import random
from typing import Callable

from .grammar import EXCLUDES, IGNORED, NAMES, WORDS, Grammar
from .project import Line, Node, Project

Mutation = Callable[[Project, Grammar], None]


def some(project: Project, grammar: Grammar, *kinds: str) -> str | None:
    """A path of these kinds."""
    paths = project.paths(*kinds)
    return grammar.chance.choice(paths) if paths else None


def edit_file(project: Project, grammar: Grammar) -> None:
    if path := some(project, grammar, "file"):
        project.nodes[path].content += grammar.word() + "\n"


def edit_file_same_size(project: Project, grammar: Grammar) -> None:
    if path := some(project, grammar, "file"):
        project.nodes[path].content = project.nodes[path].content[::-1]


def touch_file(project: Project, grammar: Grammar) -> None:
    if path := some(project, grammar, "file"):
        project.nodes[path].version += 1


def change_mode(project: Project, grammar: Grammar) -> None:
    if path := some(project, grammar, "file"):
        node = project.nodes[path]
        node.mode = grammar.chance.choice([mode for mode in (0o644, 0o755, 0o640, 0o4755) if mode != node.mode])


def edit_file_unseen(project: Project, grammar: Grammar) -> None:
    """Size and time stay as they are."""
    if path := some(project, grammar, "file"):
        node = project.nodes[path]
        node.content, node.kept = node.content[::-1], node.kept + 1


def change_folder_mode(project: Project, grammar: Grammar) -> None:
    if path := some(project, grammar, "folder"):
        node = project.nodes[path]
        node.mode = grammar.chance.choice([mode for mode in (0o755, 0o700, 0o775, 0o1777) if mode != node.mode])


def change_attribute(project: Project, grammar: Grammar) -> None:
    """An extended attribute and nothing else."""
    if path := some(project, grammar, "file", "folder"):
        project.nodes[path].attribute = grammar.chance.choice(["", "this", "that"])


def add_pipe(project: Project, grammar: Grammar) -> None:
    grammar.add_pipe(project)


def add_file(project: Project, grammar: Grammar) -> None:
    project.put(grammar.path(), grammar.file())


def add_folder(project: Project, grammar: Grammar) -> None:
    project.put(grammar.chance.choice(["new", "a/new", "src/lib/new", "docs/new"]), Node("folder", mode=0o755))


def remove(project: Project, grammar: Grammar) -> None:
    if path := some(project, grammar, "file", "folder", "link", "pipe"):
        project.drop(path)


def rename_file(project: Project, grammar: Grammar) -> None:
    if path := some(project, grammar, "file"):
        node = project.nodes.pop(path)
        folder = path.rpartition("/")[0]
        project.put(f"{folder}/{grammar.chance.choice(NAMES)}".lstrip("/"), node)


def rename_folder(project: Project, grammar: Grammar) -> None:
    if path := some(project, grammar, "folder"):
        moved = {other: node for other, node in project.nodes.items() if other == path or other.startswith(f"{path}/")}
        project.drop(path)
        for other, node in sorted(moved.items()):
            project.put(path + "2" + other[len(path) :], node)


def swap_files(project: Project, grammar: Grammar) -> None:
    files = project.paths("file")
    if len(files) > 1:
        one, other = grammar.chance.sample(files, 2)
        project.nodes[one].content, project.nodes[other].content = project.nodes[other].content, project.nodes[one].content


def retarget_link(project: Project, grammar: Grammar) -> None:
    if path := some(project, grammar, "link"):
        project.nodes[path].content = grammar.chance.choice(["a", "src", "../src", "x.txt", "../x.txt", "/src/lib", "b"])


def file_to_link(project: Project, grammar: Grammar) -> None:
    if path := some(project, grammar, "file"):
        project.nodes[path] = Node("link", grammar.chance.choice(["x.txt", "/a/x.txt", "../src/x.txt"]), 0o777)


def add_link(project: Project, grammar: Grammar) -> None:
    grammar.add_link(project)


def change_ignore(project: Project, grammar: Grammar) -> None:
    if project.ignore and grammar.chance.random() < 0.5:
        project.ignore.pop(grammar.chance.randrange(len(project.ignore)))
    else:
        project.ignore.insert(grammar.chance.randint(0, len(project.ignore)), grammar.chance.choice(IGNORED))


def comment_ignore(project: Project, grammar: Grammar) -> None:
    project.ignore.insert(0, f"# {grammar.word()}")


def shuffle_ignore(project: Project, grammar: Grammar) -> None:
    grammar.chance.shuffle(project.ignore)


def change_build_arg(project: Project, grammar: Grammar) -> None:
    name = grammar.chance.choice(["USED", "UNUSED", "PLACE", "TAG", "GLOBAL", "A", "B", "NEVER", "http_proxy"] + ["SOURCE_DATE_EPOCH"] * ("contexts" in grammar.knows))
    values = {"TAG": ["one", "two"], "PLACE": ["x.txt", "src", "a"], "http_proxy": ["http://127.0.0.1:9", "http://127.0.0.1:8"], "SOURCE_DATE_EPOCH": ["1", "2"]}
    if name in project.build_args and grammar.chance.random() < 0.3:
        del project.build_args[name]
    else:
        project.build_args[name] = grammar.chance.choice(values.get(name, WORDS))


def change_label(project: Project, grammar: Grammar) -> None:
    project.labels["revision"] = grammar.word()


def change_target(project: Project, grammar: Grammar) -> None:
    project.target = grammar.chance.choice(["", *[stage.name for stage in project.stages]])


def change_other(project: Project, grammar: Grammar) -> None:
    if project.other:
        project.other[grammar.chance.choice(sorted(project.other))] = grammar.word()


def change_secret(project: Project, grammar: Grammar) -> None:
    project.secret = grammar.word()


def move_base(project: Project, grammar: Grammar) -> None:
    tag = grammar.chance.choice(["one", "two"])
    project.bases[tag] = grammar.chance.choice([variant for variant in range(5) if variant != project.bases[tag]])


def a_line(project: Project, grammar: Grammar) -> tuple[list[Line], int]:
    lines = grammar.chance.choice([stage for stage in project.stages if stage.lines]).lines
    return lines, grammar.chance.randrange(len(lines))


def add_line(project: Project, grammar: Grammar) -> None:
    stage = grammar.chance.choice(project.stages)
    stage.lines.insert(grammar.chance.randint(0, len(stage.lines)), grammar.line(project, stage))


def remove_line(project: Project, grammar: Grammar) -> None:
    lines, place = a_line(project, grammar)
    if len(lines) > 1:
        lines.pop(place)


def swap_lines(project: Project, grammar: Grammar) -> None:
    lines, place = a_line(project, grammar)
    lines[place], lines[place - 1] = lines[place - 1], lines[place]


def edit_line(project: Project, grammar: Grammar) -> None:
    """Another word in an instruction: an argument, a label, a destination."""
    lines, place = a_line(project, grammar)
    line = lines[place]
    there = [word for word in WORDS if word in line.text or any(word in text for text in line.body)]
    if there:
        old, new = grammar.chance.choice(there), grammar.word()
        line.text, line.body = line.text.replace(old, new), [text.replace(old, new) for text in line.body]


def change_option(project: Project, grammar: Grammar) -> None:
    """Another flag of a `COPY` or `ADD`, or one less."""
    lines, place = a_line(project, grammar)
    name, _, rest = lines[place].text.partition(" ")
    if name not in ("COPY", "ADD"):
        return
    flags = [f"--chown={grammar.chance.choice(['1:2', 'root', '7'])}", f"--chmod={grammar.chance.choice(['0750', '0644'])}"]
    flags += ["--link"] * ("link" in grammar.knows) + [f"--exclude={grammar.chance.choice(EXCLUDES)}"] * ("exclude" in grammar.knows)
    flags += ["--parents"] * ("parents" in grammar.knows and name == "COPY")
    flag = grammar.chance.choice(flags)
    words = rest.split(" ")
    left = [word for word in words if word.partition("=")[0] != flag.partition("=")[0]]
    lines[place].text = " ".join([name, *left] if left != words else [name, flag, rest])


def comment_line(project: Project, grammar: Grammar) -> None:
    lines, place = a_line(project, grammar)
    lines[place].comment = f"{grammar.word()} {grammar.word()}"


def change_spelling(project: Project, grammar: Grammar) -> None:
    """An instruction in small letters, with more blanks."""
    lines, place = a_line(project, grammar)
    name, _, rest = lines[place].text.partition(" ")
    if name.isupper() and not rest.startswith("\\"):
        lines[place].text = f"{name.lower()}   {rest}"


def change_global(project: Project, grammar: Grammar) -> None:
    project.globals[0] = f"ARG TAG={grammar.chance.choice(['one', 'two'])}"


def nothing(project: Project, _: Grammar) -> None:
    """A build as before."""


MUTATIONS: list[Mutation] = [
    edit_file, edit_file, edit_file, edit_file_same_size, edit_file_unseen, edit_file_unseen, touch_file, change_mode, change_folder_mode, change_attribute, add_pipe, add_file, add_file, add_folder,
    remove, remove, rename_file, rename_file, rename_folder, swap_files, retarget_link, file_to_link, add_link,
    change_ignore, change_ignore, comment_ignore, shuffle_ignore, change_build_arg, change_build_arg, change_build_arg,
    change_label, change_secret, change_target, change_other, move_base, move_base, add_line, add_line, remove_line, swap_lines, edit_line, edit_line,
    change_option, change_option, comment_line, change_spelling, change_global, nothing,
]  # fmt: skip


def mutate(project: Project, grammar: Grammar, history: list[Project], chance: random.Random) -> tuple[str, Project]:
    """What was done, and the project after it. One time in six an earlier state comes back, with other times."""
    if len(history) > 1 and chance.random() < 1 / 6:
        back = chance.choice(history[:-1]).copy()
        for path, node in back.nodes.items():
            node.version = project.nodes[path].version + 1 if path in project.nodes else node.version + 1
        return "back", back
    changed = project.copy()
    mutation = chance.choice(MUTATIONS)
    mutation(changed, grammar)
    return mutation.__name__, changed
