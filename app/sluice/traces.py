"""Stack traces as their runtimes print them: what was raised, and through which functions. Python, Go, Java, JavaScript.

Pure and without a guess: a text in no form known here has no frames, and its reader falls back on the text itself. What differs
from one run or build to the next is folded into `#`: line numbers, addresses, ids, numbers.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

# A trace of 256 KiB is read at both ends: Python ends with where it broke, the others begin with it.
MAX_LINES, MAX_LINE = 400, 500
# Lines that are remembered: most traces of an hour are made of the same few.
CACHED = 1_024

# No pattern here looks at a character more than a few times, whatever the text: each may come from a client.
# An id is a word with a digit or an @ in it: 4711, 0x7f3a, order-9f1b, a UUID, a mailbox, Java's Cart@1b2c.
IDS = re.compile(r"(?<![\w.@+-])[\w.@+-]*[\d@][\w.@+-]*")
NUMBERS = re.compile(r"#(?:[,;:/ ]+#)+")
SPACE = re.compile(r"\s+")
ADDRESS = re.compile(r"0x[0-9a-fA-F]+|\d+")
# The hash of a build in the name of a file: index-B8yZ3xQk.js.
BUILD = re.compile(r"(?<![A-Za-z0-9])(?=[A-Za-z]*\d)[A-Za-z0-9]{6,}(?![A-Za-z0-9])")

PYTHON_FRAME = re.compile(r'\s*File "([^"]*)", line \d+(?:, in (.*))?')
# What a group of exceptions is drawn with.
DRAWING, RULE = re.compile(r"\s*[|+] ?"), re.compile(r"\s*\+[-+]")
MARKS = re.compile(r"\s*[~^]+\s*")
BETWEEN = ("Traceback ", "Exception Group Traceback ", "During handling ", "The above exception ")
GO_PLACE = re.compile(r"\s+(\S.*\.(?:go|s)):\d+(?: \+0x[0-9a-f]+)?")
GO_CALL = re.compile(r"(?:created by )?(.+?)(?:\([^()]*\)| in goroutine \d+)?")
GO_HEAD = re.compile(r"\s*(panic|fatal error): (.*?)(?: \[recovered.*\])?")
JAVA_FRAME = re.compile(r"\s*at (?:[^\s/(]*/)*([^\s/(]+)\(([^()]*)\)")
V8_FRAME = re.compile(r"\s*at (?:async |new )*([^(]*)(?:\((.*)\))?")
FIREFOX_FRAME = re.compile(r"\s*([^@\s]*)@(\S+)")
POSITION = re.compile(r"(?::\d+){1,2}$")
RAISED = re.compile(
    r'\s*(?:Exception in thread "[^"]*" |Uncaught |Caused by: |Suppressed: |\[cause\]: )*([^\s:\[]+)(?: \[\w+\])?(?:: (.*))?'
)
CAUSES = ("Caused by: ", "Suppressed: ", "[cause]: ")

LIBRARIES = re.compile(
    r"[\\/](?:site|dist)-packages[\\/]|[\\/]lib[\\/]python\d|\\Lib\\|^<frozen |"  # Python
    r"[\\/]go[\\/]src[\\/]|[\\/]pkg[\\/]mod[\\/]|@v\d|[\\/]vendor[\\/]|"  # Go
    r"[\\/]node_modules[\\/]|^node:|^internal[\\/]|^<anonymous>|^native$|^index \d"  # JavaScript
)
OF_JVM = ("java.", "javax.", "jakarta.", "jdk.", "sun.", "com.sun.", "kotlin.", "scala.")
# Functions are named by their import path, and only the standard library's begin with one of these.
OF_GO = re.compile(
    r"panic$|(?:bufio|bytes|compress|container|context|crypto|database|encoding|errors|fmt|html|image|internal|io|iter|log|maps|math|mime|net|"
    r"os|path|reflect|regexp|runtime|slices|sort|strconv|strings|sync|syscall|testing|text|time|unicode)[/.]"
)


class Frame(NamedTuple):
    """A function and the name of its file. `source`: the line of code, when the trace shows it, and what of it is marked."""

    file: str
    function: str
    in_app: bool
    source: str = ""


class Raised(NamedTuple):
    """One exception of a chain. `frames`: the innermost one last."""

    type: str
    message: str
    frames: Sequence[Frame]


def read(trace: str) -> list[Raised]:
    """The exceptions of a trace in the order in which they stand there; without frames in any of them: none."""
    lines = trace.splitlines()
    if len(lines) > MAX_LINES:
        lines = lines[: MAX_LINES // 2] + lines[-MAX_LINES // 2 :]
    lines = [line[:MAX_LINE] for line in lines]
    for marker, reader in (('File "', python), ("goroutine ", go), ("", javalike)):
        found = reader(lines) if marker in trace else []
        if any(raised.frames for raised in found):
            return found
    return []


def is_group(trace: str) -> bool:
    """Whether exceptions stand side by side in it, in an order of chance."""
    return "Exception Group Traceback" in trace


def folded(text: str) -> str:
    """A message without ids, numbers and differences of white space."""
    return SPACE.sub(" ", NUMBERS.sub("#", IDS.sub("#", text))).strip()


def python(lines: Sequence[str]) -> list[Raised]:
    found: list[Raised] = []
    frames: list[Frame] = []
    code = ""
    drawn = any("Exception Group Traceback" in line for line in lines)
    for line in lines:
        if drawn and line.lstrip().startswith(("|", "+")):
            if RULE.match(line):
                continue
            line = DRAWING.sub("", line, count=1)
        if frame := python_frame(line):
            frames.append(frame)
            code = ""
        elif line[:1].isspace():
            if frames and not code and not line.lstrip().startswith("[Previous line "):
                code = line
                frames[-1] = frames[-1]._replace(source=shown(line, ""))
            elif frames and MARKS.fullmatch(line):
                frames[-1] = frames[-1]._replace(source=shown(code, line))
        elif frames and line and not line.startswith(BETWEEN):
            kind, _, message = line.partition(": ")
            found.append(Raised(named(kind), message, frames))
            frames = []
    return [*found, Raised("", "", frames)] if frames else found


@functools.lru_cache(CACHED)
def shown(code: str, marks: str) -> str:
    """A line of code, and what of it is marked by ^ below it."""
    return folded(f"{code} | {code[marks.find('^') : marks.rfind('^') + 1]}")


@functools.lru_cache(CACHED)
def python_frame(line: str) -> Frame | None:
    match = PYTHON_FRAME.fullmatch(line)
    return match and Frame(file_of(match[1]), named(match[2] or ""), not LIBRARIES.search(match[1]))


def go(lines: Iterable[str]) -> list[Raised]:
    """The first goroutine, which is the one that broke."""
    heads: dict[tuple[str, str], None] = {}
    frames: list[Frame] = []
    started, call, last = False, "", ""
    for line in lines:
        if line.startswith("goroutine "):
            if started:
                break
            started = True
        elif not started:
            if head := GO_HEAD.fullmatch(line):
                heads[head[1], head[2]] = None
            last = line.strip() or last
        elif place := GO_PLACE.fullmatch(line):
            frames.append(go_frame(call, place[1]))
        else:
            call = line
    if not heads and last:
        # As net/http logs it: "http: panic serving 10.0.0.1:4711: ...".
        heads["panic", last] = None
    frames.reverse()
    *outer, (kind, message) = heads or {("", ""): None}
    return [*(Raised(*head, ()) for head in outer), Raised(kind, message, frames)]


@functools.lru_cache(CACHED)
def go_frame(call: str, path: str) -> Frame:
    match = GO_CALL.fullmatch(call)
    function = match[1] if match else call
    return Frame(file_of(path), named(function), not (LIBRARIES.search(path) or OF_GO.match(function)))


def javalike(lines: Iterable[str]) -> list[Raised]:
    """Java's form and the browsers': what was raised, and below it the frames from the innermost on."""
    found: list[Raised] = []
    head, frames, after_blank = "", list[Frame](), True

    def close() -> None:
        if frames:
            match = RAISED.fullmatch(head)
            kind, message = (named(match[1]), match[2] or "") if match else ("", head)
            found.append(Raised(kind, message, frames[::-1]))
            frames.clear()

    for line in lines:
        if frame := at_frame(line):
            frames.append(frame)
            continue
        text = line.strip()
        # The first line after frames or a blank one; what follows it is more of the message.
        if text and not text.startswith("...") and (frames or after_blank or text.startswith(CAUSES)):
            close()
            head = text
        after_blank = not text
    close()
    return found


@functools.lru_cache(CACHED)
def at_frame(line: str) -> Frame | None:
    if match := JAVA_FRAME.fullmatch(line):
        return Frame(file_of(match[2].partition(":")[0]), named(match[1]), not match[1].startswith(OF_JVM))
    if match := V8_FRAME.fullmatch(line.removesuffix(" {")):
        # Without a function the place stands alone.
        function, place = (match[1], match[2]) if match[2] is not None else ("", match[1])
    elif (match := FIREFOX_FRAME.fullmatch(line)) and "/" in match[2]:
        function, place = match[1], match[2]
    else:
        return None
    file = POSITION.sub("", place)
    if file == place and not place.startswith(("<anonymous>", "native", "index ")):
        return None
    return Frame(file_of(file.partition("?")[0]), named(function.partition(" [as ")[0]), not LIBRARIES.search(file))


def file_of(path: str) -> str:
    """The name of a file without the folder that it was deployed to, and without the hash of a build."""
    return ADDRESS.sub("#", BUILD.sub("#", re.split(r"[\\/]", path)[-1]))


def named(name: str) -> str:
    """A name of code, in which numbers are the compiler's: lambda$0, func1, $Proxy12."""
    return ADDRESS.sub("#", name.strip())
