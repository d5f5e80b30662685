"""Settings of the bot: read once in `__main__`, frozen, every mistake reported at once."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self

from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from engine.contracts.bases import BASES, BaseProfile, TrainingDefaults
from engine.contracts.lora import LoraKind
from engine.contracts.media import MAX_DATASET_ITEMS
from engine.contracts.wire import Keys

PREFIX = "CALLSHEET_"

_IDS = r"^(\d+(,\d+)*)?$"


class SettingsError(Exception):
    """Settings that cannot be used; the message lists every problem, one a line."""


def _plain(name: str) -> AliasChoices:
    """A variable known by a plain name everywhere (`REDIS_URL`), also accepted with our prefix."""
    return AliasChoices(PREFIX + name, name)


class BotSettings(BaseSettings):
    """Environment of the bot. `DISCORD_TOKEN` and `REDIS_URL` go without prefix, everything else is `CALLSHEET_…`."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore", populate_by_name=True)

    discord_token: SecretStr | None = Field(
        default=None, validation_alias=_plain("DISCORD_TOKEN"), description="Token of the Discord application's bot"
    )
    redis_url: SecretStr | None = Field(
        default=None,
        validation_alias=_plain("REDIS_URL"),
        description="Redis or Valkey, redis://… or rediss://…; one-machine mode starts its own when this is empty",
    )
    data_dir: Path = Field(default=Path("data"), description="Folder of everything the bot keeps: database, uploads, temporary files")
    store_url: str | None = Field(
        default=None,
        description="Object store shared with the workers: file:///… or s3://bucket/prefix; default: a folder in the data folder",
    )
    key_prefix: str = Field(default="callsheet", pattern=r"^[a-z0-9][a-z0-9-]*$", description="Prefix of every Redis key")
    base: str = Field(default="tiny", description="The base model this community trains on and renders with")
    log_format: Literal["text", "json"] = Field(default="text", description="json: one object a line, with job_id")
    log_level: str = Field(default="INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$", description="Least level that is logged")

    default_plan: Literal["free", "premium", "enterprise"] | None = Field(
        default=None, description="Plan of everybody who bought none; default: free where plans are sold, else premium"
    )
    operators: str = Field(default="", pattern=_IDS, description="Discord users who run this bot, ids with commas")
    premium_skus: str = Field(default="", pattern=_IDS, description="Discord SKUs that grant premium, ids with commas")
    enterprise_skus: str = Field(default="", pattern=_IDS, description="Discord SKUs that grant enterprise, ids with commas")
    free_daily_units: int = Field(default=200, ge=0, description="Units one person on the free plan may spend per day (UTC)")
    daily_units: int = Field(default=2000, ge=0, description="Units one person on the premium plan may spend per day (UTC)")
    enterprise_daily_units: int = Field(default=20_000, ge=0, description="Units one person on the enterprise plan may spend per day (UTC)")
    free_video_seconds: float = Field(default=6.0, gt=0, description="Longest clip on the free plan")
    premium_storage_bytes: int = Field(default=5 * 2**30, ge=0, description="LoRA files one person on the premium plan may keep")
    enterprise_storage_bytes: int = Field(default=50 * 2**30, ge=0, description="LoRA files one person on the enterprise plan may keep")
    frozen_expires_s: float = Field(default=30 * 24 * 3600.0, gt=0, description="LoRAs are kept frozen this long after their plan ended")
    max_open_jobs: int = Field(default=20, ge=1, description="Queued and running jobs one person may have")
    max_upload_bytes: int = Field(default=100 * 1024 * 1024, ge=1, description="Largest single upload")
    max_dataset_items: int = Field(default=200, ge=4, le=MAX_DATASET_ITEMS, description="Most pictures and clips in one data set")
    draft_expires_s: float = Field(default=24 * 3600.0, gt=0, description="A data set nobody started is dropped after this")
    terms_required: bool = Field(default=True, description="People agree to the terms before their first clip or training")
    screening: bool = Field(default=True, description="Check uploads, previews and results for adult content")
    adult_threshold: float = Field(
        default=0.8, ge=0, le=1, description="Score from which a picture counts as adult content; the classifier's makers call 0.8 unsafe"
    )
    upload_retention_s: float = Field(
        default=30 * 24 * 3600.0, ge=0, description="Uploads of a training are deleted this long after it ended"
    )
    training_steps: int | None = Field(
        default=None, ge=1, le=20_000, description="Steps of every training; default: what the base advises for its kind"
    )
    max_video_seconds: float = Field(default=10.0, gt=0, description="Longest clip a person may ask for")
    max_post_bytes: int = Field(default=10 * 1024 * 1024, ge=64 * 1024, description="File limit where Discord does not tell a better one")

    clip_expires_s: float | None = Field(
        default=None, gt=0, description="Clips and previews are deleted this long after their job; default: never"
    )
    garbage_interval_s: float = Field(default=6 * 3600.0, gt=0, description="Pause between two searches for files nothing refers to")
    garbage_grace_s: float = Field(default=24 * 3600.0, gt=0, description="Such a file is deleted once it is this old")
    dedicated_servers: dict[int, float | None] = Field(
        default={},
        description='Servers with workers of their own (--serve guild:ID), as JSON {"ID": seconds}: after so long a clip without LoRAs of '
        "such a server may run on shared workers, null: never",
    )

    card_edit_interval_s: float = Field(default=5.0, gt=0, description="Least time between two edits of a status card")
    dispatch_interval_s: float = Field(default=0.25, gt=0, description="Pause between two looks at the waiting jobs")
    reconcile_interval_s: float = Field(default=5.0, gt=0, description="Pause between two comparisons of SQLite and Redis")
    media_check_timeout_s: float = Field(default=60.0, gt=0, description="Time the check of one upload may take")
    media_fit_timeout_s: float = Field(default=120.0, gt=0, description="Time re-encoding one clip may take")

    web_host: str = Field(default="127.0.0.1", description="Address the download server binds to")
    web_port: int = Field(default=8080, ge=0, le=65535, description="Its port; 0 picks a free one")
    metrics_token: SecretStr | None = Field(
        default=None, description="Bearer token for /metrics; default: only this machine may read it, and not through a proxy"
    )
    public_url: str | None = Field(
        default=None, description="Address of the download server as people reach it; default: http://web_host:web_port"
    )
    link_secret: SecretStr | None = Field(
        default=None, description="Key that signs download links; default: generated once in the data folder"
    )
    link_expires_s: float = Field(default=7 * 24 * 3600.0, gt=0, description="Life of a download link")

    credentials_dir: Path | None = Field(
        default=None,
        description="Folder shared with the workers: certificate and key that sign every clip; default: a folder in the data folder",
    )

    discord_endpoint: str | None = Field(
        default=None, pattern=r"^[^:/]+:\d+$", description="HOST:PORT that stands in for every Discord host (sandbox)"
    )
    discord_ca_file: Path | None = Field(default=None, description="Certificate authority of that endpoint (sandbox)")
    clock_offset_file: Path | None = Field(default=None, description="File with seconds added to the clock (sandbox)")

    @field_validator("base")
    @classmethod
    def _known_base(cls, value: str) -> str:
        if value not in BASES:
            raise ValueError(f"unknown base {value!r}, known are {', '.join(BASES)}")
        return value

    @model_validator(mode="after")
    def _endpoint_has_authority(self) -> Self:
        if self.discord_endpoint is not None and self.discord_ca_file is None:
            raise ValueError("discord_endpoint needs discord_ca_file")
        return self

    @property
    def profile(self) -> BaseProfile:
        """What is known of the base without torch."""
        return BASES[self.base]

    def training_defaults(self, kind: LoraKind) -> TrainingDefaults:
        """What a training of `kind` starts from here: the base's advice, with this installation's number of steps."""
        advised = self.profile.training[kind]
        return advised if self.training_steps is None else advised.model_copy(update={"steps": self.training_steps})

    @property
    def plan_without_purchase(self) -> str:
        """`default_plan`, or what follows from whether plans are sold here."""
        return self.default_plan or ("free" if self.premium_skus or self.enterprise_skus else "premium")

    @property
    def operator_ids(self) -> frozenset[int]:
        """`operators` as numbers."""
        return _numbers(self.operators)

    @property
    def skus(self) -> dict[int, str]:
        """What is sold on Discord: SKU id to the plan it grants."""
        sold = {"premium": self.premium_skus, "enterprise": self.enterprise_skus}
        return {sku: plan for plan, ids in sold.items() for sku in sorted(_numbers(ids))}

    @property
    def keys(self) -> Keys:
        """Names of the Redis keys."""
        return Keys(self.key_prefix)

    @property
    def database_path(self) -> Path:
        """The SQLite file."""
        return self.data_dir / "callsheet.sqlite3"

    @property
    def object_store_url(self) -> str:
        """`store_url`, or the folder that stands in for it."""
        return self.store_url or (self.data_dir.resolve() / "store").as_uri()

    @property
    def credentials_folder(self) -> Path:
        """`credentials_dir`, or the folder that stands in for it."""
        return self.credentials_dir or self.data_dir / "credentials"

    @property
    def scratch_dir(self) -> Path:
        """Temporary files; emptied at start."""
        return self.data_dir / "scratch"


def _numbers(ids: str) -> frozenset[int]:
    return frozenset(int(part) for part in ids.split(",") if part)


def load_settings() -> BotSettings:
    """Settings from the environment.

    Raises:
        SettingsError: with one line per problem, misspelt names included.
    """
    problems = _misspelt(os.environ)
    try:
        settings = BotSettings()
    except ValidationError as error:
        problems += [f"{item['loc'][0] if item['loc'] else 'settings'}: {item['msg']}" for item in error.errors()]
        raise SettingsError("\n".join(problems)) from None
    if problems:
        raise SettingsError("\n".join(problems))
    return settings


def _misspelt(environ: Mapping[str, str]) -> list[str]:
    """Variables that nearly are ours. Others with our prefix belong to the worker, which reads the same environment."""
    known = {PREFIX + name.upper() for name in BotSettings.model_fields}
    unknown = [name for name in environ if name.startswith(PREFIX) and name not in known]
    near = {name: difflib.get_close_matches(name, known, n=1, cutoff=0.93) for name in unknown}
    return [f"{name}: unknown setting, did you mean {match[0]}?" for name, match in near.items() if match]
