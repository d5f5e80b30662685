"""What the bot refuses: a code and typed facts. Only `bot/ui/text` turns them into a sentence a person reads."""

from __future__ import annotations

from enum import StrEnum


class RefusalCode(StrEnum):
    """A stable reason for saying no; the comment names the facts that come with it."""

    # pictures, clips and archives
    NO_ATTACHMENT = "no_attachment"  # -
    NO_USABLE_MEDIA = "no_usable_media"  # verdicts: tuple[ItemVerdict, ...] of engine.contracts.media, each with its problem
    ATTACHMENT_UNAVAILABLE = "attachment_unavailable"  # filename: not on Discord's file servers, or not delivered as announced
    FILE_TOO_LARGE = "file_too_large"  # filename, size, limit (bytes)
    TOO_MANY_ITEMS = "too_many_items"  # items, limit
    ARCHIVE_REFUSED = "archive_refused"  # filename, problem: MediaProblem, detail
    IMAGE_UNUSABLE = "image_unusable"  # filename, problem: MediaProblem, detail: the start picture of `/generate`
    MEDIA_CHECK_FAILED = "media_check_failed"  # the check itself crashed or ran out of time; -
    NOTHING_TO_REMIX = "nothing_to_remix"  # a message without a picture or clip; -
    FORM_STALE = "form_stale"  # the bot was restarted since the form was opened; -
    NOT_VERIFIABLE = "not_verifiable"  # filename: neither a picture nor a clip
    # data sets
    DATASET_TOO_SMALL = "dataset_too_small"  # items, minimum, advised, lora_kind
    DATASET_TEACHES_NOTHING = "dataset_teaches_nothing"  # assessment
    CONTROL_NEEDS_EFFECT = "control_needs_effect"  # lora_kind
    DATASET_UNKNOWN = "dataset_unknown"  # -
    DATASET_CLOSED = "dataset_closed"  # state
    # LoRA names and stacks
    NAME_INVALID = "name_invalid"  # name
    NAME_TAKEN = "name_taken"  # name, by_self: bool, training: bool
    TRIGGER_INVALID = "trigger_invalid"  # trigger
    LORA_UNKNOWN = "lora_unknown"  # name, nearest: list[str]
    LORA_NOT_READY = "lora_not_ready"  # name: its training still runs
    LORA_GONE = "lora_gone"  # a button of one that was deleted, or that the asker may not see; -
    LORA_WITHHELD = "lora_withheld"  # name, reason: Withheld of bot.storage.loras
    LORA_BUSY = "lora_busy"  # name: it is still being trained, so nothing about it can be changed
    NO_LORA_FILE = "no_lora_file"  # neither a file nor a link; -
    LORA_FILE = "lora_file"  # filename, problem: LoraProblem
    TAKEN_DOWN = "taken_down"  # an upload whose content was taken down; -
    VERSION_UNKNOWN = "version_unknown"  # -
    EXAMPLES_TOO_LONG = "examples_too_long"  # count, limit, length, max_length
    VISIBILITY_NEEDS_GUILD = "visibility_needs_guild"  # a LoRA made outside of a server cannot be a server's; -
    LINK_NOT_OURS = "link_not_ours"  # -
    LINK_EXPIRED = "link_expired"  # -
    CAST_UNKNOWN = "cast_unknown"  # name
    CAST_EMPTY = "cast_empty"  # name: nothing of it can be used here
    CASTS_FULL = "casts_full"  # limit
    LORA_DUPLICATE = "lora_duplicate"  # name
    LORA_OTHER_BASE = "lora_other_base"  # name, base, wanted
    STACK_TOO_LARGE = "stack_too_large"  # count, limit
    STACK_SYNTAX = "stack_syntax"  # text: an entry that is not `name` or `name:weight`
    WEIGHT_INVALID = "weight_invalid"  # name, text: not a finite number
    WEIGHT_OUT_OF_RANGE = "weight_out_of_range"  # name, text, limit
    # generation
    PROMPT_EMPTY = "prompt_empty"  # -
    PROMPT_TOO_LONG = "prompt_too_long"  # length, limit, field: "prompt" | "negative"
    SECONDS_OUT_OF_RANGE = "seconds_out_of_range"  # seconds, minimum, maximum
    ASPECT_UNKNOWN = "aspect_unknown"  # aspect, known: list[str]
    CLIP_UNUSABLE = "clip_unusable"  # filename, role: "guide" | "clip", problem: MediaProblem, detail, limit (seconds)
    SOURCES_CONFLICT = "sources_conflict"  # one, other: roles that do not go together
    CONTROL_WITHOUT_GUIDE = "control_without_guide"  # -
    CHANGE_WITHOUT_CLIP = "change_without_clip"  # -
    STRENGTH_OUT_OF_RANGE = "strength_out_of_range"  # strength
    GUIDE_MISSING = "guide_missing"  # name: of an effect that follows a video
    EFFECT_MISSING = "effect_missing"  # a guide, and no LoRA that follows it; -
    STACK_WEIGHTS = "stack_weights"  # total, limit
    SCENES_COUNT = "scenes_count"  # count, minimum, maximum
    SOURCE_TOO_LONG = "source_too_long"  # seconds, limit
    ALREADY_UPSCALED = "already_upscaled"  # -
    RESULT_GONE = "result_gone"  # the clip was deleted, or never came; -
    NOTHING_TO_ANIMATE = "nothing_to_animate"  # no still is left of this training; -
    SEED_OUT_OF_RANGE = "seed_out_of_range"  # seed, limit
    # quota and order
    QUOTA_EXCEEDED = "quota_exceeded"  # needed, left, limit, resets_at (unix seconds), scope: "person" | "member" | "server", window
    TOO_MANY_JOBS = "too_many_jobs"  # open, limit, here: True for a limit on waiting jobs in this server
    # plans
    PLAN_NEEDED = "plan_needed"  # feature, plan, needed, ended: a better plan they had, ended_at (unix seconds)
    LORA_FROZEN = "lora_frozen"  # name: its owner's plan has ended
    STORAGE_FULL = "storage_full"  # used, limit (bytes)
    # what people who manage a server set
    SETTING_OUT_OF_RANGE = "setting_out_of_range"  # name, value, minimum, maximum
    REASON_TOO_LONG = "reason_too_long"  # length, limit
    BLOCK_REFUSED = "block_refused"  # oneself, or somebody who runs this bot; -
    NOT_BLOCKED = "not_blocked"  # -
    NOTHING_TO_REFUND = "nothing_to_refund"  # open: bool, the job has not ended
    NOT_GRANTED = "not_granted"  # no grant to take back; -
    TOO_MANY_PLACES = "too_many_places"  # limit: channels or roles in one list
    # permission
    BLOCKED = "blocked"  # reason, everywhere: bool
    CHANNEL_CLOSED = "channel_closed"  # channels: list[int] where commands work
    ROLE_NEEDED = "role_needed"  # the server names roles, the person has none of them; -
    NOT_ADMIN = "not_admin"  # -
    NOT_OPERATOR = "not_operator"  # -
    # jobs
    JOB_UNKNOWN = "job_unknown"  # -
    JOB_OVER = "job_over"  # status
    JOB_NOT_REPEATABLE = "job_not_repeatable"  # only clips can be made again; -
    BEING_FORGOTTEN = "being_forgotten"  # the person asked for it, and it is not over yet; -
    TERMS_NEEDED = "terms_needed"  # the person has not agreed to the present terms; -
    PROMPT_FORBIDDEN = "prompt_forbidden"  # match, reason
    RULE_INVALID = "rule_invalid"  # problem: "syntax" | "length" | "matches_everything", limit
    RULE_UNKNOWN = "rule_unknown"  # -
    RULES_FULL = "rules_full"  # limit
    REPORTED_ALREADY = "reported_already"  # -
    REPORT_UNKNOWN = "report_unknown"  # decided, or of another server; -
    UPLOAD_ADULT = "upload_adult"  # filename
    CONSENT_NEEDED = "consent_needed"  # person_id: who has to agree first
    CONSENT_UNKNOWN = "consent_unknown"  # a question to somebody else, or one that is settled; -
    NOT_SHAREABLE = "not_shareable"  # no clip, or one that was deleted or withheld; -
    NOT_OWNER = "not_owner"  # -
    # surroundings
    NOT_IN_GUILD = "not_in_guild"  # the command only makes sense in a server; -
    CHANNEL_FORBIDDEN = "channel_forbidden"  # missing: list[str] of permission names
    NOBODY_SERVES = "nobody_serves"  # lack: Lack of bot.services.fleet, lane
    QUEUE_UNAVAILABLE = "queue_unavailable"  # Redis does not answer; -
    STORE_UNAVAILABLE = "store_unavailable"  # the object store does not answer; -


class Refusal(Exception):  # noqa: N818 - it is an answer, not an error
    """Raised by a service when a person asks for something that is not done; nothing was written and nothing charged."""

    def __init__(self, code: RefusalCode, **facts: object) -> None:
        super().__init__(f"{code}: {facts}")
        self.code = code
        self.facts: dict[str, object] = facts
