"""The golden packs themselves: JSON, arrays and fingerprints; `SOURCES.md` says whence."""
