"""There are none: `DistributedDataParallel` reduces inside `backward`."""

from keras_concepts._backend import stand_ins

replica_count = stand_ins.replica_count
has_other_workers = stand_ins.has_other_workers
reduced_gradients = stand_ins.reduced_gradients
all_reduced = stand_ins.all_reduced
of_all_replicas = stand_ins.of_all_replicas
values_of_replicas = stand_ins.values_of_replicas
assign_to_first_replica = stand_ins.assign_to_first_replica
