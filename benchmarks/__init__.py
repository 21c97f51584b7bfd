"""minibert side by side with its peers: `python -m benchmarks`, or one thing: `... benchmarks.gpu`.

To read, in this order: `measure.py` takes the times, `apart.py` gives each candidate a process of
its own, `measured_models.py` and `peers.py` are who runs; `fixed_shapes.py`, `end_to_end.py`,
`process_start.py` and `training_step.py` are the parts of `python -m benchmarks`. By themselves
stand `tokenizer.py`, `wordpiece_trainer.py`, `gpu.py`, `serving.py`, `tasks.py` (fine-tuning) and
`diagnosis_leave_one_out.py`. What was measured is in `results/`.
"""
