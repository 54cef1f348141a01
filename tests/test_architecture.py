"""Imports run one way, as docs/architecture.md draws them."""

import ast
import pathlib

import pytest

import keras_concepts

PACKAGE = pathlib.Path(keras_concepts.__file__).parent
NAME = "keras_concepts"

# Every part may import these, which import only each other of the package.
SMALL = {
    "_documentation",
    "_extras",
    "_figures",
    "_registration",
    "_shadow",
    "_shown_as_text",
    "_types",
    "_validation",
    "_whole_file",
}
KEEP = {"quantities", "recording", "_recording"}
JUDGE = {"derived", "thresholds"}
COMPUTE = {"_backend", "_labels", "_numerics"}
PARTS = {
    "constraints",
    "initializers",
    "layers",
    "losses",
    "metrics",
    "regularizers",
}
# What each part may import besides itself and SMALL.
ALLOWED = {
    "_after_keras": set(),
    "_backend": {"_after_keras"},
    "_labels": COMPUTE,
    "_numerics": COMPUTE,
    "quantities": set(),
    "recording": KEEP,
    "_recording": {"quantities"},
    "derived": {"quantities"},
    "thresholds": set(),
    "rules": KEEP | JUDGE,
    "reports": KEEP | JUDGE | {"rules"},
    "instruments": COMPUTE
    | PARTS
    | {"quantities", "rules", "thresholds", "_batches", "_dropout_family"},
    "callbacks": COMPUTE
    | KEEP
    | JUDGE
    | {"instruments", "reports", "rules", "_batches", "_check_masks"},
    "_script": set(),
    "_watch": {
        "_after_keras",
        "_wrapped_fit",
        "callbacks",
        "recording",
        "reports",
        "rules",
    },
    "_wrapped_fit": set(),
    "_run_folder": {
        "_after_keras",
        "_backend",
        "_recording",
        "_watch",
        "callbacks",
    },
    "cli": {
        "__version__",
        "_run_folder",
        "_script",
        "recording",
        "reports",
        "rules",
    },
    **dict.fromkeys(PARTS, COMPUTE | PARTS | {"_dropout_family"}),
}
# The report of a model, not of a recording.
OF_A_MODEL = {
    "keras_concepts.reports.sparsity": {"_backend", "_batches", "instruments"}
}
KERAS_FREE = KEEP | JUDGE | {"rules", "reports", "_after_keras", "__init__"}
BACKENDS = {"jax", "tensorflow", "torch"}


def modules():
    return {
        ".".join([NAME, *path.relative_to(PACKAGE).with_suffix("").parts]): path
        for path in sorted(PACKAGE.rglob("*.py"))
    }


def imported(path, everywhere=True):
    """Modules that a file imports; not those for types alone.

    Args:
        path: File.
        everywhere: Whether to look into functions, too.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = set()

    def look(body):
        for node in body:
            if isinstance(node, ast.Import):
                found.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                # `from package import module` names a module, too.
                found.update(f"{node.module}.{a.name}" for a in node.names)
            elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(
                node.test
            ):
                continue
            elif everywhere or not isinstance(
                node, ast.FunctionDef | ast.ClassDef
            ):
                look(ast.iter_child_nodes(node))

    look(tree.body)
    return found


def rooms_of(names):
    """Parts of this package among imported names."""
    own = [n.split(".") for n in names if n.startswith(f"{NAME}.")]
    return {parts[1] for parts in own}


@pytest.mark.parametrize("name", modules())
def test_imports_run_one_way(name):
    room = name.split(".")[1]
    if room in SMALL:
        assert rooms_of(imported(modules()[name])) <= SMALL
    elif room in ALLOWED:
        rooms = rooms_of(imported(modules()[name]))
        allowed = ALLOWED[room] | SMALL | OF_A_MODEL.get(name, set())
        assert rooms - allowed - {room} == set()


def test_monitors_meet_reports_in_one_place():
    """`summary` and `plot` of all monitors, and the files for TensorBoard."""
    users = {
        name
        for name, path in modules().items()
        if name.split(".")[1] == "callbacks"
        and "reports" in rooms_of(imported(path))
    }
    assert users == {
        f"{NAME}.callbacks._monitor",
        f"{NAME}.callbacks.gradient_monitor",
    }


@pytest.mark.parametrize(
    "name", [n for n in modules() if n.split(".")[1] in KERAS_FREE]
)
def test_no_keras_where_recordings_are_judged_and_drawn(name):
    heavy = {"keras", *BACKENDS}
    roots = {each.split(".")[0] for each in imported(modules()[name])}
    assert roots & heavy == set()


@pytest.mark.parametrize(
    "name", [n for n in modules() if n.split(".")[1] != "_backend"]
)
def test_one_door_to_the_backends(name):
    found = imported(modules()[name])
    assert not {each.split(".")[0] for each in found} & BACKENDS
    assert not [each for each in found if each.startswith("keras.src")]


KERAS_INTERNALS = f"{NAME}._backend.keras_internals"
# Private names that are not Keras', and whose they are.
NOT_OF_KERAS = {
    "_asdict": "a named tuple's",
    "_fields": "a named tuple's",
    "_replace": "a named tuple's",
    "_ipython_display_": "IPython's",
    "_repr_png_": "IPython's",
    "_getframe": "Python's: the frame of a caller",
    "_initializing": "Python's: whether a module is still being imported",
    "_index": "of rules.training.Training",
    "_series": "of recording.Recording",
    "_buffers": "PyTorch's: the buffers of a module, by name",
    "_foreach_norm": "PyTorch's: the norms of many tensors at once",
    "_version": "PyTorch's: counts the writes to a tensor",
    "_trace": "JAX's: the trace that a tracer belongs to",
    "_rng": "TensorFlow's: what eager operations take their seeds from",
    "_inputs": "TensorFlow's: the data sets that a data set reads",
    "_variant_tensor": "TensorFlow's: what stands for a data set in a graph",
}
OF_MODULES = {
    n: p for n, p in modules().items() if not n.startswith(KERAS_INTERNALS)
}


def private_names_of_others(path):
    """Private names that a file uses of objects and does not define itself."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    used, own = set(), set()
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name):
                own.add(name)
            case ast.Attribute(ast.Name("self" | "cls"), name, ast.Store()):
                own.add(name)
            case ast.Attribute(ast.Name("self" | "cls"), _):
                pass
            case ast.Attribute(ast.Call(ast.Name("super")), _):
                pass
            case ast.Attribute(_, name):
                used.add(name)
            # `getattr(x, "_name")`, `shadow(x, "_name", ...)`
            case ast.Call(ast.Name(), [_, ast.Constant(str(name)), *_]):
                used.add(name)
            case ast.Subscript(ast.Call(), ast.Constant(str(name))):
                used.add(name)  # `vars(x)["_name"]`
    return {x for x in used - own if x[:1] == "_" and x[:2] != "__"}


@pytest.mark.parametrize("name", OF_MODULES)
def test_private_keras_in_one_place(name):
    """As far as can be said without knowing what an object is."""
    path = OF_MODULES[name]
    assert "keras.src" not in path.read_text(encoding="utf-8")
    assert private_names_of_others(path) - set(NOT_OF_KERAS) == set()


def test_private_names_of_others_are_found(tmp_path):
    path = tmp_path / "module.py"
    _ = path.write_text(
        "x._a; getattr(x, '_b', 1); vars(x)['_c'] = 1; shadow(x, '_d', y)\n"
        "x._own; self._own = 1; self._e; super()._f; x.__g__; x.find('_h')"
    )
    assert private_names_of_others(path) == {"_a", "_b", "_c", "_d"}


def test_allowed_private_names_are_used():
    used = set().union(*map(private_names_of_others, OF_MODULES.values()))
    assert set(NOT_OF_KERAS) - used == set()


def test_no_import_cycles():
    """Among the imports that run when a module is imported."""
    known = modules()
    graph = {}
    for name, path in known.items():
        needs = set()
        for each in imported(path, everywhere=False):
            for target in (each, each.rpartition(".")[0]):
                for module in (target, f"{target}.__init__"):
                    if module in known and module != name:
                        needs.add(module)
        # A package is imported with each of its modules, and before them.
        graph[name] = {
            other
            for other in needs
            if not name.startswith(other.removesuffix("__init__"))
        }
    done, path = set(), []

    def visit(name):
        if name in path:
            cycle = [*path[path.index(name) :], name]
            pytest.fail(" -> ".join(cycle))
        if name not in done:
            path.append(name)
            for other in sorted(graph[name]):
                visit(other)
            _ = path.pop()
            done.add(name)

    for name in graph:
        visit(name)


def test_values_of_a_model_are_read_through_the_door():
    """`_backend.on_host` also reads what other processes hold parts of.

    Metrics may read their own results, which every process has, and functions
    what their users pass.
    """
    others = {
        "_check_gradients",
        "_labels",
        "_numerics",
        "instruments.data",
        "layers.temperature_scaling",
        "metrics",
    }
    users = {
        name.removeprefix("keras_concepts.")
        for name, path in modules().items()
        if "_backend" not in name
        and any(
            isinstance(node, ast.Attribute)
            and node.attr in ("convert_to_numpy", "numpy")
            for node in ast.walk(ast.parse(path.read_text("utf-8")))
        )
    }
    assert {
        user
        for user in users
        if not any(user.startswith(other) for other in others)
    } == set()
