"""LightGBM's text format: a check that the trees of a file are trees, before the library reads them."""

from __future__ import annotations

MISSING_OR_DEFAULT = {0, 2, 4, 6, 8, 10}  # decision types of numerical splits


def check_trees(text: str, columns: int) -> None:
    """Refuses a model text whose trees would read outside their arrays, or never end.

    Parameters
    ----------
    text : str
        The text of a LightGBM model.
    columns : int
        Number of columns of the model's input.

    Raises
    ------
    ValueError
        If the number of columns differs, or a tree has another number of values than its leaves need, splits a column
        that does not exist, or points to a node that is not below it.

    Notes
    -----
    LightGBM numbers the nodes in the order of their splits, so a child has a larger number than its parent. A negative
    child -c - 1 is leaf c.

    Examples
    --------
    >>> check_trees("tree\\nmax_feature_idx=2\\n", 3)
    Traceback (most recent call last):
    ...
    ValueError: it has no trees
    """
    head, *trees = text.partition("\nend of trees")[0].split("\nTree=")
    if _fields(head).get("max_feature_idx") != str(columns - 1):
        raise ValueError(f"it is not a model of {columns} columns")
    if not trees:
        raise ValueError("it has no trees")
    for tree in trees:
        _check_tree(_fields(tree), columns)


def _fields(block: str) -> dict[str, str]:
    """The lines `name=value` of a block."""
    return dict(line.partition("=")[::2] for line in block.splitlines() if "=" in line)


def _check_tree(fields: dict[str, str], columns: int) -> None:
    leaves = int(fields["num_leaves"])
    if leaves < 1 or fields.get("num_cat") != "0" or fields.get("is_linear", "0") != "0":
        raise ValueError("a tree has categories, linear leaves or no leaf")
    _numbers(fields, "leaf_value", leaves)
    if leaves == 1:
        return
    nodes = leaves - 1
    _numbers(fields, "threshold", nodes)
    split, kind = _integers(fields, "split_feature", nodes), _integers(fields, "decision_type", nodes)
    if not all(0 <= column < columns for column in split) or not set(kind) <= MISSING_OR_DEFAULT:
        raise ValueError("a tree splits a column that does not exist")
    for name in ("left_child", "right_child"):
        for node, child in enumerate(_integers(fields, name, nodes)):
            if not (node < child < nodes or -leaves <= child < 0):
                raise ValueError("a tree points to a node that is not below")


def _numbers(fields: dict[str, str], name: str, size: int) -> list[float]:
    values = [float(each) for each in fields[name].split()]
    if len(values) != size:
        raise ValueError(f"a tree has {len(values)} values of {name} instead of {size}")
    return values


def _integers(fields: dict[str, str], name: str, size: int) -> list[int]:
    values = [int(each) for each in fields[name].split()]
    if len(values) != size:
        raise ValueError(f"a tree has {len(values)} values of {name} instead of {size}")
    return values
