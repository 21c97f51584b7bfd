"""Arithmetic that hides an `if`: a condition times a text, list or number, and -(-a // b)."""

import ast

TEXT_OR_LIST = (ast.List, ast.Tuple, ast.JoinedStr)


def boolean_names(tree: ast.AST) -> set[str]:
    """Arguments, variables and fields that are declared `bool` anywhere in the file."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.arg):
            name = node.arg
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            name = node.target.id
        else:
            continue
        if isinstance(node.annotation, ast.Name) and node.annotation.id == "bool":
            names.add(name)
    return names


def is_condition(node: ast.expr, booleans: set[str]) -> bool:
    if isinstance(node, ast.Constant):
        return isinstance(node.value, bool)
    if isinstance(node, ast.Name):
        return node.id in booleans
    if isinstance(node, ast.Attribute):
        return node.attr in booleans
    if isinstance(node, ast.UnaryOp):
        return isinstance(node.op, ast.Not)
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id == "bool"
    return isinstance(node, (ast.Compare, ast.BoolOp))


def rounds_up(node: ast.AST) -> bool:
    """True for -(-a // b)."""
    if not (isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub)):
        return False
    quotient = node.operand
    return (
        isinstance(quotient, ast.BinOp)
        and isinstance(quotient.op, ast.FloorDiv)
        and isinstance(quotient.left, ast.UnaryOp)
        and isinstance(quotient.left.op, ast.USub)
    )


def clever_arithmetic(tree: ast.AST) -> list[str]:
    """Every such place, as `line N: what`."""
    booleans = boolean_names(tree)
    places = []
    for node in ast.walk(tree):
        if rounds_up(node):
            places.append(f"line {node.lineno}: -(-a // b), where math.ceil(a / b) says it")
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
            for side, other in ((node.left, node.right), (node.right, node.left)):
                literal = isinstance(other, (ast.Constant, *TEXT_OR_LIST))
                if literal and is_condition(side, booleans):
                    places.append(f"line {node.lineno}: a condition is multiplied: use an if")
    return places
