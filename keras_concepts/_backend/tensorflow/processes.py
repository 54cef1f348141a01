"""Processes, each of which runs the strategy's program."""

from typing import Any

from keras_concepts._backend import stand_ins

process_count = stand_ins.process_count
gathered = stand_ins.gathered
summed_over_ranks = stand_ins.summed_over_ranks
gathered_from_ranks = stand_ins.gathered_from_ranks


def is_main_process(model: Any) -> bool:
    strategy = getattr(model, "distribute_strategy", None)
    resolver = getattr(strategy, "cluster_resolver", None)
    if resolver is None or resolver.task_type is None:
        return True
    if resolver.task_type == "chief":
        return True
    has_chief = "chief" in resolver.cluster_spec().as_dict()
    return not has_chief and resolver.task_id == 0
