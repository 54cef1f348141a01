"""Reports of what is wrong with a training run."""

from keras_concepts.recording import Recording
from keras_concepts.reports.doctor.figure import plot_doctor
from keras_concepts.reports.doctor.notebook import verdict_html
from keras_concepts.reports.doctor.table import (
    doctor_table,
    findings_table,
    print_doctor,
    print_findings,
)
from keras_concepts.reports.doctor.verdict import EMPTY, verdict_on
from keras_concepts.reports.drawing.blocks import MAX_ROWS
from keras_concepts.reports.report import Report

__all__ = [
    "REPORT",
    "doctor_table",
    "findings_table",
    "plot_doctor",
    "print_doctor",
    "print_findings",
]


class _DoctorReport(Report):
    """Rows of all monitors for any doctor, since rules need them all."""

    def of(self, monitor: str) -> Report:
        return self

    def _text_html(self, recording: Recording) -> str:
        found = verdict_on(recording)
        return "" if found is None else verdict_html(found[0], MAX_ROWS)


REPORT = _DoctorReport(EMPTY, doctor_table, plot_doctor)
