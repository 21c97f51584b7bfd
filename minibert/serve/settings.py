"""What of the server can be set, beside how vectors are made."""

from dataclasses import dataclass

from minibert.system.settings import option


@dataclass(frozen=True)
class ServeSettings:
    """The options of `minibert serve`; the help says what each means."""

    host: str = option("127.0.0.1", "where to listen; 0.0.0.0: to the whole network")
    port: int = option(8125, "0: one that is free")
    allowed_hosts: str = option(
        "", "names of this machine, joined by commas, that clients may call it by"
    )
    queue: int = option(256, "requests at a time; more are answered 503")
    seconds: float = option(60.0, "that an answer may take")
    max_texts: int = option(2048, "texts in a request")
    max_characters: int = option(100_000, "characters in a text")
    max_megabytes: float = option(8.0, "size of a request")

    def __post_init__(self) -> None:
        for name in ("queue", "seconds", "max_texts", "max_characters", "max_megabytes"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be more than 0, got {getattr(self, name)}")
        if not 0 <= self.port < 65536:
            raise ValueError(f"port must lie in 0..65535, got {self.port}")
