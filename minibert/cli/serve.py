"""`minibert serve`: a model behind HTTP, until it is stopped."""

import argparse
import os
from pathlib import Path
from typing import Any

from minibert.cli.options import DEFAULT_MODEL, add_command, load_model, say
from minibert.cli.settings import add_settings, read_settings
from minibert.cli.vectors import add_embed_settings, check_device, embed_settings
from minibert.serve.settings import ServeSettings

KEY = "MINIBERT_API_KEY"


def add_commands(commands: Any) -> None:
    """Add `serve` to the sub-parsers of `minibert`."""
    p = add_command(
        commands,
        serve,
        "serve",
        "a server for OpenAI's and bert-as-service's clients",
        "minibert serve sentence-transformers/all-MiniLM-L6-v2",
        'curl localhost:8125/embed --json \'{"inputs": ["A cat sat down."]}\'',
    )
    p.description = f"{p.description} Ctrl-C or SIGTERM stops it, after what it has begun."
    p.add_argument(
        "model",
        nargs="?",
        metavar="MODEL",
        default=os.environ.get("MINIBERT_MODEL", DEFAULT_MODEL),
        help="a folder, or a name on the hub (%(default)s)",
    )
    add_settings(p, ServeSettings)
    p.add_argument(
        "--api-key",
        metavar="KEY",
        help=f"that clients must know; better in the environment, as {KEY}, since others on this "
        f"machine can read a command line",
    )
    add_embed_settings(p)


def serve(arguments: argparse.Namespace) -> None:
    settings = read_settings(ServeSettings, arguments)
    key = arguments.api_key or os.environ.get(KEY)
    device = check_device(arguments.device)
    try:
        from minibert.serve.app import application
        from minibert.serve.run import listen, run
        from minibert.serve.service import Service
    except ModuleNotFoundError as error:
        raise ImportError(
            f"serve needs the package {error.name}, an extra of minibert: pip install "
            f"'minibert[serve]', in its repository pip install '.[serve]'"
        ) from None
    with listen(settings) as listener:
        bert = load_model(arguments).to(device)
        place = Path(arguments.model)
        name = place.resolve().name if place.exists() else arguments.model
        service = Service(bert, settings, name, embed_settings(arguments))
        host, port = listener.getsockname()[:2]
        where = f"[{host}]" if ":" in host else host
        say(f"{service.name} at http://{where}:{port} (Ctrl-C stops it)")
        if not key and not host.startswith("127.") and host != "::1":
            say(f"whoever reaches this port may use it: a key in {KEY} keeps others out")
        run(application(service, key), settings, listener)
