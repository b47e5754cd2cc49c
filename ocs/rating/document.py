"""YAML documents with the place of every key: what is wrong is told with file and line, all of it at once.

Laws
1. Reading is pure: text in, Document or DocumentFault out. Files are opened by the roof.
2. A key that stands twice is a fault: YAML would keep the last one and lose the other in silence.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

Path = tuple[str | int, ...]
Shape = TypeVar("Shape", bound=BaseModel)


class DocumentFault(ValueError):
    """A document that cannot be used; ``problems`` holds one line per fault: file:line: what, and what would be right."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class Document(NamedTuple):
    """One YAML text: the name of its file for messages, its nodes with their lines, its content."""

    source: str
    root: yaml.Node | None
    content: Any

    def at(self, path: Path, message: str) -> str:
        """Put file and line before a message: the line of the deepest node that exists on the path."""
        node = self.root
        line = node.start_mark.line + 1 if node is not None else 1
        for part in path:
            found = _below(node, part)
            if found is None:
                break
            line, node = found
        return f"{self.source}:{line}: {message}"

    def shaped(self, shape: type[Shape]) -> Shape:
        """Return the content in its shape; DocumentFault tells all that does not fit."""
        try:
            return shape.model_validate(self.content)
        except ValidationError as fault:
            raise DocumentFault([self._problem(error) for error in fault.errors()]) from fault

    def _problem(self, error: Any) -> str:
        path = tuple(error["loc"])
        return self.at(path, f"{'.'.join(map(str, path)) or 'document'}: {error['msg']}")


def document(text: str, source: str) -> Document:
    """Read YAML; ``source`` is the file's name for messages."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        content = yaml.safe_load(text)
    except yaml.YAMLError as fault:
        mark = getattr(fault, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        raise DocumentFault([f"{source}:{line}: not YAML: {getattr(fault, 'problem', fault)}"]) from fault
    except (ValueError, RecursionError) as fault:
        # a date of no calendar (2026-02-31), a number of thousands of digits, brackets without an end
        raise DocumentFault([f"{source}:1: not YAML that can be read: {fault}"]) from fault
    if twice := [f"{source}:{line}: the key {key!r} stands twice; leave one" for line, key in _twice(root)]:
        raise DocumentFault(twice)
    return Document(source, root, content)


def _twice(root: yaml.Node | None) -> Iterator[tuple[int, str]]:
    """Give (line, key) of every key that a mapping has again."""
    waiting, met = [root], set[int]()
    while waiting:
        node = waiting.pop()
        if id(node) in met:
            continue
        met.add(id(node))
        if isinstance(node, yaml.MappingNode):
            keys = set()
            for key, value in node.value:
                if isinstance(key, yaml.ScalarNode) and key.value in keys:
                    yield key.start_mark.line + 1, key.value
                keys.add(key.value if isinstance(key, yaml.ScalarNode) else id(key))
                waiting.append(value)
        elif isinstance(node, yaml.SequenceNode):
            waiting += node.value


def _below(node: yaml.Node | None, part: str | int) -> tuple[int, yaml.Node] | None:
    """Return (line, node) of what lies below a node, a mapping's key or a sequence's place."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == str(part):
                return key.start_mark.line + 1, value
    elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part].start_mark.line + 1, node.value[part]
    return None
