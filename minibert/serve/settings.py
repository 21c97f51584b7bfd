"""What of the server can be set, beside how vectors are made."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class ServeSettings:
    """The options of `minibert serve`; the help says what each means."""

    host: str = field(
        default="127.0.0.1", metadata={"help": "where to listen; 0.0.0.0: to the whole network"}
    )
    port: int = field(default=8125, metadata={"help": "0: one that is free"})
    allowed_hosts: str = field(
        default="",
        metadata={"help": "names of this machine, joined by commas, that clients may call it by"},
    )
    queue: int = field(default=256, metadata={"help": "requests at a time; more are answered 503"})
    seconds: float = field(default=60.0, metadata={"help": "that an answer may take"})
    max_texts: int = field(default=2048, metadata={"help": "texts in a request"})
    max_characters: int = field(default=100_000, metadata={"help": "characters in a text"})
    max_megabytes: float = field(default=8.0, metadata={"help": "size of a request"})

    def __post_init__(self) -> None:
        for name in ("queue", "seconds", "max_texts", "max_characters", "max_megabytes"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be more than 0, got {getattr(self, name)}")
        if not 0 <= self.port < 65536:
            raise ValueError(f"port must lie in 0..65535, got {self.port}")
