"""How the server is: its model, its health, and what it has done."""

from __future__ import annotations

import platform
import time
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

import minibert
from minibert.serve.guard import Json
from minibert.serve.service import Service


async def models(service: Service, request: Request, body: Mapping[str, Any]) -> Response:
    created = int(service.started)
    model = {"id": service.name, "object": "model", "created": created, "owned_by": "minibert"}
    return Json({"object": "list", "data": [model]})


async def status(service: Service, request: Request, body: Mapping[str, Any]) -> Response:
    """As far as they apply, the fields of bert-as-service's."""
    assert service.guard
    done = dict.fromkeys(("answered", "refused"), 0)
    for (_, code), count in service.metrics.requests.items():
        done["answered" if code < 400 else "refused"] += count
    states = service.bert.config.num_hidden_layers + 1
    return Json(
        {
            "model_dir": service.name,
            "server_version": minibert.__version__,
            "python_version": platform.python_version(),
            "server_start_time": time.ctime(service.started),
            "server_current_time": time.ctime(),
            "pooling_strategy": "+".join(service.plan.pools) or "NONE",
            "pooling_layer": [number - states for number in service.plan.layers],
            "max_seq_len": service.plan.limit,
            "max_batch_size": service.settings.max_texts,
            "hidden_size": service.plan.width(service.bert.config),
            "show_tokens_to_client": True,
            "num_worker": 1,
            "status": 200,
            "statistic": {
                "num_data_request": done["answered"],
                "num_refused_request": done["refused"],
                "num_total_seq": service.metrics.texts,
                "num_waiting_request": service.guard.waiting - 1,
            },
        }
    )


async def health(service: Service, request: Request, body: Mapping[str, Any]) -> Response:
    alive = service.batcher.thread.is_alive()
    return Json(
        {"status": "ok" if alive else "the model's thread has ended"}, 200 if alive else 503
    )


async def show_metrics(service: Service, request: Request, body: Mapping[str, Any]) -> Response:
    assert service.guard
    text = service.metrics.text(
        tokens_total=service.batcher.tokens,
        batches_total=service.batcher.batches,
        busy_seconds_total=service.batcher.busy,
        requests_waiting=service.guard.waiting - 1,
    )
    return PlainTextResponse(text, media_type="text/plain; version=0.0.4")
