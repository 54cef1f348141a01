"""The doctor on every `fit` in a block, wherever it is called."""

import gc
import io
import pathlib
import re
import threading
import time
import weakref
import zipfile

import keras
import numpy as np
import pytest
from keras import layers
from rich.console import Console

import keras_concepts as kc
from keras_concepts import quantities as q
from keras_concepts.callbacks import GradientMonitor, TrainingDoctor

X = np.random.default_rng(0).normal(size=(48, 6)).astype("float32")
Y = X @ np.arange(1.0, 7.0, dtype="float32")[:, None] / 6.0
BACKEND = keras.backend.backend()


def network(loss="mse", name="net"):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(8, "relu", name="hidden"),
            layers.Dense(1, name="head"),
        ],
        name=name,
    )
    model.compile(keras.optimizers.SGD(0.05), loss)
    return model


def fit(model, epochs=2, x=X, y=Y, **arguments):
    return model.fit(x, y, batch_size=16, epochs=epochs, verbose=0, **arguments)


def watch(**arguments):
    return kc.watch(
        on_finding=lambda finding: None, time_budget=None, **arguments
    )


def fit_of_keras():
    return [vars(each).get("fit") for each in keras.Model.__mro__]


def curve(doctor, quantity, owner):
    selected = doctor.recording.select(quantity=quantity, owner=owner)
    return [
        (series.epoch, step)
        for series in selected
        for step in series.steps.tolist()
    ]


class TestAttached:
    def test_sees_the_data_of_fit_and_finds_what_is_wrong(self):
        model = network("binary_crossentropy")  # of logits, unknowingly
        with watch() as doctor:
            history = fit(model, y=(Y > 0).astype("float32"))
        assert list(history.history) == ["loss"]
        assert doctor.findings[0].rule == "head_loss_mismatch"
        (run,) = doctor.doctors
        assert run.recording.facts["data"]["of"] == 48
        assert run.recording.select(quantity=q.PROBE_INFERENCE_LOSS)

    def test_weights_and_logs_are_those_without(self):
        plain, watched = network(), network()
        keras.utils.set_random_seed(1)
        expected = fit(plain, validation_data=(X[:16], Y[:16]))
        keras.utils.set_random_seed(1)
        with watch():
            got = fit(watched, validation_data=(X[:16], Y[:16]))
        assert got.history == expected.history
        for a, b in zip(plain.weights, watched.weights, strict=True):
            np.testing.assert_array_equal(a, b)

    def test_callbacks_in_all_forms(self):
        seen = []
        own = keras.callbacks.LambdaCallback(
            on_epoch_end=lambda epoch, logs: seen.append(epoch)
        )
        model = network()
        ready = keras.callbacks.CallbackList(
            [own], add_history=True, model=model
        )
        with watch() as doctor:
            for callbacks in (
                None,
                own,
                [own],
                (own, [keras.callbacks.TerminateOnNaN()]),
                ready,
            ):
                seen.clear()
                trained = model if callbacks is ready else network()
                _ = fit(trained, callbacks=callbacks)
                assert seen == ([] if callbacks is None else [0, 1])
        assert len(doctor.doctors) == 5
        assert ready.callbacks == [own, model.history]

    def test_a_doctor_of_ones_own_is_kept(self):
        own = TrainingDoctor(on_finding=lambda finding: None)
        with watch() as doctor:
            _ = fit(network(), callbacks=[own])
        assert doctor.doctors == [own]

    def test_a_generator_loses_no_batch(self):
        given = []

        def batches():
            for i in range(6):
                given.append(i)
                yield X[i * 8 : i * 8 + 8], Y[i * 8 : i * 8 + 8]

        model, plain = network(), network()
        with watch() as doctor:
            _ = model.fit(
                batches(), shuffle=False, steps_per_epoch=6, verbose=0
            )
        assert given == list(range(6))
        _ = plain.fit(batches(), shuffle=False, steps_per_epoch=6, verbose=0)
        for a, b in zip(plain.weights, model.weights, strict=True):
            np.testing.assert_array_equal(a, b)
        assert doctor.recording.facts["data"]["rows"] == 48

    def test_fit_of_a_subclass_that_calls_the_one_above(self):
        class Own(keras.Model):
            def __init__(self):
                super().__init__()
                self.dense = layers.Dense(1)

            def call(self, x):
                return self.dense(x)

            def fit(self, *args, **kwargs):
                return super().fit(*args, **kwargs)

        model = Own()
        model.compile("sgd", "mse")
        with watch() as doctor:
            _ = fit(model)
        assert len(doctor.doctors) == 1
        assert doctor.doctors[0].recording.select(quantity=q.LOG)

    def test_wrong_arguments_of_fit_are_told_by_keras(self):
        with watch() as doctor, pytest.raises(TypeError, match="epoch_count"):
            network().fit(X, Y, epoch_count=3)
        assert doctor.doctors == []

    def test_wrong_arguments_of_watch_are_told_at_once(self):
        with (
            pytest.raises(ValueError, match="on_finding"),
            kc.watch(on_finding="shout"),
        ):
            pass
        with (
            pytest.raises(TypeError, match="probability"),
            kc.watch(probability=1),
        ):
            pass
        assert fit_of_keras() == FIT_OF_KERAS

    def test_a_fit_that_does_not_begin_is_no_run(self):
        model = keras.Sequential([keras.Input((6,)), layers.Dense(1)])
        with watch() as doctor, pytest.raises(ValueError, match="compile"):
            _ = fit(model)
        assert doctor.doctors == []

    def test_a_file_that_cannot_be_written_is_told_at_once(self, tmp_path):
        with (
            pytest.raises(OSError, match="record_to"),
            watch(record_to=tmp_path),
        ):
            _ = fit(network())
        assert fit_of_keras() == FIT_OF_KERAS


FIT_OF_KERAS = fit_of_keras()


class TestAfterwards:
    def test_keras_is_as_before(self):
        with watch():
            assert fit_of_keras() != FIT_OF_KERAS
        assert fit_of_keras() == FIT_OF_KERAS

    def test_also_by_an_exception(self):
        with pytest.raises(KeyError, match="mine"), watch():
            raise KeyError("mine")
        assert fit_of_keras() == FIT_OF_KERAS

    def test_an_exception_in_fit(self):
        class Stop(keras.callbacks.Callback):
            def on_epoch_end(self, epoch, logs=None):
                if epoch == 1:
                    raise KeyboardInterrupt

        model, plain = network(), network()
        with pytest.raises(KeyboardInterrupt), watch() as doctor:
            _ = fit(model, epochs=5, shuffle=False, callbacks=[Stop()])
        assert fit_of_keras() == FIT_OF_KERAS
        assert curve(doctor, q.LOG, "loss") == [(0, 3), (1, 6)]
        with pytest.raises(KeyboardInterrupt):
            _ = fit(plain, epochs=5, shuffle=False, callbacks=[Stop()])
        _ = fit(model, shuffle=False), fit(plain, shuffle=False)
        for a, b in zip(plain.weights, model.weights, strict=True):
            np.testing.assert_array_equal(a, b)

    def test_nobody_keeps_the_model(self):
        model = network()
        with watch() as doctor:
            fit(model)
        alive = weakref.ref(model)
        del model
        _ = gc.collect()
        assert alive() is None
        assert doctor.findings == []
        doctor.summary(Console(file=io.StringIO()))

    def test_nobody_keeps_the_models_of_a_long_search(self):
        alive = []
        with watch() as doctor:
            for _ in range(3):
                model = network()
                alive.append(weakref.ref(model))
                fit(model)
            model = None
            _ = gc.collect()
            assert [each() for each in alive] == [None] * 3
        assert [d.recording.facts["model"] for d in doctor.doctors] == (
            ["net"] * 3
        )

    def test_a_model_is_as_before_and_saved_as_before(self, tmp_path):
        model, plain = network(), network()
        with watch():
            fit(model)
            model.save(tmp_path / "model.keras")
            names = zipfile.ZipFile(tmp_path / "model.keras").namelist()
        fit(plain)
        plain.save(tmp_path / "plain.keras")
        assert names == zipfile.ZipFile(tmp_path / "plain.keras").namelist()
        assert [*vars(model)] == [*vars(plain)]

    def test_an_error_of_the_user_is_not_hidden_by_the_verdict(self):
        def sink(text):
            raise OSError("no space left")

        with (
            pytest.warns(UserWarning, match="no space left"),
            pytest.raises(KeyError, match="mine"),
            kc.watch(sink=sink),
        ):
            raise KeyError("mine")

    def test_somebody_else_has_wrapped_fit_before(self, monkeypatch):
        """With any signature; arguments reach it as they were given."""
        owner = next(c for c in keras.Model.__mro__ if "fit" in vars(c))
        original, given = owner.fit, []

        def theirs(self, *args, **kwargs):
            given.append((len(args), sorted(kwargs)))
            return original(self, *args, **kwargs)

        monkeypatch.setattr(owner, "fit", theirs)
        own = keras.callbacks.LambdaCallback()
        with watch() as doctor:
            _ = network().fit(X, y=Y, verbose=0)
            _ = network().fit(X, Y, 16, 1, 0, [own], shuffle=False)
        assert given == [
            (1, ["callbacks", "verbose", "y"]),
            (6, ["shuffle"]),
        ]
        assert len(doctor.doctors) == 2
        assert owner.fit is theirs

    def test_somebody_else_has_wrapped_fit_meanwhile(self):
        owner = next(c for c in keras.Model.__mro__ if "fit" in vars(c))
        calls = []
        with watch():
            ours = owner.fit

            def theirs(self, *args, **kwargs):
                calls.append(type(self))
                return ours(self, *args, **kwargs)

            owner.fit = theirs
        try:
            _ = fit(network())
            with watch() as doctor:
                _ = fit(network())
            assert len(calls) == 2
            assert len(doctor.doctors) == 1
            assert owner.fit is theirs
        finally:
            owner.fit = next(f for f in FIT_OF_KERAS if f is not None)


class TestSeveral:
    def test_a_loop_of_fits_is_one_run(self):
        looped, whole = network(), network()
        with watch() as doctor:
            for _ in range(6):
                _ = fit(looped, epochs=1, shuffle=False)
        _ = fit(whole, epochs=6, shuffle=False)
        for a, b in zip(whole.weights, looped.weights, strict=True):
            np.testing.assert_array_equal(a, b)
        assert len(doctor.doctors) == 1
        assert curve(doctor, q.LOG, "loss") == [
            (e, 3 * e + 3) for e in range(6)
        ]
        checks = doctor.recording.select(quantity=q.CHECKED).value.tolist()
        assert checks[-1] == 2.0
        gradients = curve(doctor, q.GRADIENT_NORM, "")
        assert [step for _, step in gradients] == list(range(18))
        assert [epoch for epoch, _ in gradients] == [i // 3 for i in range(18)]

    def test_a_loop_that_breaks_off_is_resumed(self, tmp_path):
        class Break(keras.callbacks.Callback):
            def on_epoch_end(self, epoch, logs=None):
                if epoch == 3:
                    raise RuntimeError

        path, model = tmp_path / "run.jsonl", network()
        with watch(record_to=path):
            _ = fit(model, epochs=1)
            with pytest.raises(RuntimeError):
                _ = fit(model, epochs=6, initial_epoch=1, callbacks=[Break()])
        with watch(record_to=path):
            _ = fit(network(), epochs=6, initial_epoch=2)
        recording = kc.Recording.load(path)
        first, second = recording.runs
        assert not first.facts["ended"]
        assert second.facts["resumed"] == {"run": 0, "epoch": 2}
        logs = recording.select("loss", q.LOG)
        assert logs.epoch.tolist() == list(range(6))
        assert logs.step.tolist() == [3 * (e + 1) for e in range(6)]

    def test_a_first_fit_without_epochs(self, tmp_path):
        path = tmp_path / "run.jsonl"
        with watch(record_to=path):
            _ = fit(network())
        with watch(record_to=path) as doctor:
            model = network()
            _ = fit(model, epochs=0)
            _ = fit(model)
        logs = kc.Recording.load(path).select("loss", q.LOG, run=1)
        assert logs.epoch.tolist() == [2, 3]
        assert logs.step.tolist() == [9, 12]
        checks = doctor.recording.select(quantity=q.CHECKED)
        assert checks.epoch.tolist() == [-1, 2, 3, 3]
        names = doctor.recording.facts["doctor"]
        assert len(names) == len(doctor.recording.runs[-1].monitors) == 4

    def test_numbers_of_a_loop_are_those_of_one_fit(self):
        """The rows of one call of `fit` are the oracle."""
        recorded = []
        for epochs in ([6], [1] * 6, [2, 1, 3]):
            model = network()
            with watch() as doctor:
                begun = 0
                for each in epochs:
                    _ = model.fit(
                        X,
                        Y,
                        batch_size=16,
                        initial_epoch=begun,
                        epochs=begun + each,
                        verbose=0,
                        shuffle=False,
                    )
                    begun += each
            rows = {
                (series.quantity, series.owner, series.epoch, step, i): value
                for series in doctor.recording
                if series.quantity != q.CHECKED
                for step, i, value in zip(
                    series.steps.tolist(),
                    series.index.tolist(),
                    series.values.tolist(),
                    strict=True,
                )
            }
            recorded.append(rows)
        assert recorded[1] == recorded[0]
        assert recorded[2] == recorded[0]

    def test_a_file_grows_with_the_number_of_fits(self, tmp_path):
        """Each further `fit` adds as much as the one before."""
        path = tmp_path / "loop.jsonl"
        model = network("binary_crossentropy")  # takes no logits
        labels = (Y[:16] > 0).astype("float32")
        sizes = []
        # Where steps are compiled, a `fit` of one epoch takes long.
        each = 20 if BACKEND == "torch" else 5
        with kc.watch(
            record_to=path, on_finding=lambda finding: None
        ) as doctor:
            for number in range(1, 3 * each + 1):
                _ = fit(model, epochs=1, x=X[:16], y=labels)
                if number % each == 0:
                    lines = path.read_text().splitlines(keepends=True)
                    facts = [line for line in lines if '"facts"' in line]
                    sizes.append([sum(map(len, x)) for x in (lines, facts)])
        assert len(doctor.doctors) == 1
        loaded = kc.Recording.load(path)
        (run,) = loaded.runs
        assert sorted(run.monitors) == [
            "GradientMonitor",
            "NonFiniteGuard",
            "SignalMonitor",
            "TrainingDoctor",
        ]
        grown = np.diff(sizes, axis=0)
        assert (grown[1] < 1.2 * grown[0]).all()
        epochs = loaded.select("loss", q.LOG).epoch.tolist()
        assert epochs == [*range(3 * each)]
        assert kc.diagnose(loaded) == doctor.findings
        assert "head_loss_mismatch" in {f.rule for f in doctor.findings}

    def test_a_loop_with_a_monitor_of_the_same_name(self, tmp_path):
        path = tmp_path / "loop.jsonl"
        model = network()
        own = GradientMonitor(max_samples=None, record_to=path)
        with watch(record_to=path) as doctor:
            for _ in range(2):
                _ = fit(model, epochs=1, callbacks=[own])
        loaded = kc.Recording.load(path)
        run = loaded.runs[0]
        assert len({*run.monitors}) == len(run.monitors)
        names = run.facts["doctor"]
        assert len(names) == 4
        steps = [
            step
            for series in loaded.select("", q.GRADIENT_NORM)
            if series.run == 0 and series.monitor in names
            for step in series.steps.tolist()
        ]
        assert steps == [*range(6)]
        assert kc.diagnose(loaded, 0) == doctor.findings

    def test_a_replay_gives_the_same_findings(self, tmp_path):
        model = network()
        wild = X * 1e3
        with watch(record_to=tmp_path / "loop.jsonl") as doctor:
            for _ in range(8):
                _ = fit(model, epochs=1, x=wild, y=Y * np.nan)
        loaded = kc.Recording.load(tmp_path / "loop.jsonl")
        assert kc.diagnose(loaded) == doctor.findings
        assert doctor.findings

    @pytest.mark.parametrize("change", ["compiled", "trained", "frozen", "set"])
    def test_a_model_that_was_changed_begins_another_run(self, change):
        if change == "frozen" and BACKEND == "jax":
            pytest.skip("Keras on JAX fits it only if it is compiled again")
        model = network()
        begun = model.get_weights()
        with watch() as doctor:
            _ = fit(model)
            if change == "set":  # as for the next fold
                model.set_weights(begun)
            elif change == "compiled":
                model.compile(keras.optimizers.SGD(0.05), "mse")
            elif change == "trained":
                _ = model.train_on_batch(X[:16], Y[:16])
            else:
                model.get_layer("hidden").trainable = False
            _ = fit(model)
        assert len(doctor.doctors) == 2

    def test_two_models_by_turns(self):
        first, second = network(name="first"), network(name="second")
        with watch() as doctor:
            for _ in range(3):
                _ = fit(first, epochs=1), fit(second, epochs=1)
        assert [each.recording.facts["model"] for each in doctor.doctors] == [
            "first",
            "second",
        ]
        for each in doctor.doctors:
            assert curve(each, q.LOG, "loss") == [(0, 3), (1, 6), (2, 9)]

    def test_one_file_holds_them_all(self, tmp_path):
        path = tmp_path / "runs.jsonl"
        with watch(record_to=path):
            _ = fit(network(name="first"))
            _ = fit(network(name="second"))
        loaded = kc.Recording.load(path)
        assert [run.facts["model"] for run in loaded.runs] == [
            "first",
            "second",
        ]
        assert list(tmp_path.iterdir()) == [path]

    def test_a_fit_in_a_callback_has_a_doctor_of_its_own(self, tmp_path):
        path = tmp_path / "runs.jsonl"
        inner = network(name="inner")

        class Inside(keras.callbacks.Callback):
            def on_epoch_end(self, epoch, logs=None):
                _ = fit(inner, epochs=1)

        outer, plain = network(name="outer"), network()
        with watch(record_to=path) as doctor:
            _ = fit(outer, shuffle=False, callbacks=[Inside()])
        _ = fit(plain, shuffle=False)
        for a, b in zip(plain.weights, outer.weights, strict=True):
            np.testing.assert_array_equal(a, b)
        assert [each.recording.facts["model"] for each in doctor.doctors] == [
            "outer",
            "inner",
        ]
        assert curve(doctor.doctors[0], q.LOG, "loss") == [(0, 3), (1, 6)]
        assert curve(doctor.doctors[1], q.LOG, "loss") == [(0, 3), (1, 6)]
        names = ["runs-2.jsonl", "runs.jsonl"]
        assert sorted(each.name for each in tmp_path.iterdir()) == names
        for name, model in zip(names, ["inner", "outer"], strict=True):
            loaded = kc.Recording.load(tmp_path / name)
            assert loaded.facts["model"] == model

    def test_a_doctor_of_ones_own_that_is_used_again(self):
        """Many other fits come and go while it is in its second one."""
        others = [network() for _ in range(6)]
        own = TrainingDoctor(on_finding=lambda finding: None)

        class Inside(keras.callbacks.Callback):
            def on_epoch_end(self, epoch, logs=None):
                for other in others:
                    _ = fit(other, epochs=1)

        model = network()
        with watch() as doctor:
            for _ in range(2):
                _ = fit(model, callbacks=[own, Inside()])
        assert len(doctor.doctors) == 7
        assert own.model is model
        assert curve(own, q.LOG, "loss") == [(0, 3), (1, 6)]

    def test_fits_that_begin_at_once_have_files_of_their_own(self, tmp_path):
        with kc.Watch(
            tmp_path / "runs.jsonl",
            lambda finding: None,
            at_begin=lambda doctor: time.sleep(0.2),
        ) as doctor:
            models = [network(), network()]
            threads = [
                threading.Thread(target=fit, args=(each,)) for each in models
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(120)
        assert len({each.record_to for each in doctor.doctors}) == 2

    def test_nobody_waits_for_a_daemon(self):
        begun, end = threading.Event(), threading.Event()

        def wait(epoch, logs):
            begun.set()
            assert end.wait(60)

        stuck = keras.callbacks.LambdaCallback(on_epoch_end=wait)
        with watch() as doctor:
            thread = threading.Thread(
                target=fit,
                args=(network(),),
                kwargs={"callbacks": [stuck]},
                daemon=True,
            )
            thread.start()
            assert begun.wait(60)
            doctor.wait()
        end.set()
        thread.join(60)
        assert not doctor._waiting

    def test_blocks_inside_each_other(self):
        with watch() as outer:
            _ = fit(network())
            with watch() as inner:
                _ = fit(network())
            _ = fit(network())
        assert len(outer.doctors) == 2
        assert len(inner.doctors) == 1

    def test_two_threads(self, tmp_path):
        """Each with a block of its own sees its own `fit`, and no other."""
        seen, errors = {}, []
        together = threading.Barrier(2)

        def train(name):
            try:
                model = network(name=name)
                with watch(record_to=tmp_path / f"{name}.jsonl") as doctor:
                    _ = together.wait(60)
                    _ = fit(model, epochs=3)
                    _ = together.wait(60)
                seen[name] = [
                    each.recording.facts["model"] for each in doctor.doctors
                ]
            except Exception as error:  # a thread's own is lost: asserted below
                errors.append(error)
                together.abort()

        threads = [
            threading.Thread(target=train, args=(name,)) for name in "ab"
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        assert not errors
        assert seen == {"a": ["a"], "b": ["b"]}
        assert fit_of_keras() == FIT_OF_KERAS

    def test_a_thread_without_a_block_belongs_to_the_last_one(self):
        models = [network(name="a"), network(name="b")]
        with watch() as doctor:
            threads = [
                threading.Thread(target=fit, args=(model,)) for model in models
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(120)
        assert {each.recording.facts["model"] for each in doctor.doctors} == {
            "a",
            "b",
        }


class TestShown:
    def test_verdicts_are_printed_when_the_block_ends(self):
        said = []
        with kc.watch(sink=said.append, time_budget=None):
            _ = fit(network())
            assert said == []
        (text,) = said
        assert text.startswith("No problem found in 2 epochs.")

    def test_each_run_has_its_title(self):
        said = []
        with kc.watch(sink=said.append, time_budget=None):
            _ = fit(network(name="first"))
            _ = fit(network(name="second"))
        (text,) = said
        assert text == (
            "run 1: first: No problem found in 2 epochs.\n"
            "run 2: second: No problem found in 2 epochs."
        )

    def test_nothing_was_trained(self):
        said = []
        with kc.watch(sink=said.append):
            pass
        assert said == [
            "No call of `fit` was seen, so there is nothing to judge."
        ]

    def test_notebook_figure_and_report(self, tmp_path):
        with watch() as doctor:
            _ = fit(network("binary_crossentropy"), y=(Y > 0).astype("float32"))
        assert "head_loss_mismatch" in doctor._repr_html_()
        assert doctor.plot(tmp_path / "figure.png").axes
        doctor.report(tmp_path / "report.html")
        text = (tmp_path / "report.html").read_text(encoding="utf-8")
        assert "from_logits=True" in text


def test_the_examples_of_the_page(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    page = pathlib.Path(__file__).parents[1] / "docs" / "watch.md"
    text = page.read_text(encoding="utf-8")
    for code in re.findall(r"```python\n(.*?)```", text, re.S):
        exec(compile(code, str(page), "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    assert "1 problem found in 3 epochs." in lines
    assert lines[-1] == (
        "error: head_loss_mismatch in sequential/dense_1, before training."
    )
    assert (tmp_path / "report.html").exists()
