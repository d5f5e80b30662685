"""Refusals that say the same whatever was asked for."""

from __future__ import annotations

from bot.errors import RefusalCode
from bot.ui.language import Words

PLAIN = Words(
    {
        RefusalCode.NO_ATTACHMENT: (
            "Attach the pictures to learn from: up to ten as options, or one zip with all of them (PNG, JPEG, WebP, MP4, MOV or WebM)."
        ),
        RefusalCode.NOTHING_TO_REMIX: "There is no picture or clip in this message; choose one that has one.",
        RefusalCode.FORM_STALE: "This form is too old to be sent; use the message's menu again.",
        RefusalCode.MEDIA_CHECK_FAILED: "These files could not be checked; send them again, a few at a time, and leave out unusual ones.",
        RefusalCode.DATASET_UNKNOWN: "This data set is gone; start again with `/train`.",
        RefusalCode.LORA_GONE: "This LoRA is not here any more; `/loras browse` shows what you can use.",
        RefusalCode.NO_LORA_FILE: "Attach a safetensors file, or give a link from **Download** on a LoRA's card.",
        RefusalCode.TAKEN_DOWN: "This content was taken down after a report, so it cannot be used here; choose something else.",
        RefusalCode.VERSION_UNKNOWN: "This version is gone; press **Versions** on the LoRA's card again.",
        RefusalCode.VISIBILITY_NEEDS_GUILD: "This LoRA belongs to no server; choose **Only me** or **Everybody, everywhere**.",
        RefusalCode.LINK_NOT_OURS: (
            "This is no download link of mine; attach the file, or copy a link from **Download** on a LoRA's card."
        ),
        RefusalCode.LINK_EXPIRED: "This link has expired; ask for a new one with **Download** on the LoRA's card.",
        RefusalCode.PROMPT_EMPTY: "The prompt is empty; describe what should happen, such as `zoko walking left on a beach`.",
        RefusalCode.CONTROL_WITHOUT_GUIDE: "There is nothing to take that from; attach a video as `guide`, or leave `control` out.",
        RefusalCode.CHANGE_WITHOUT_CLIP: "There is no clip to change; attach one as `clip`, or leave `change` and `strength` out.",
        RefusalCode.STRENGTH_OUT_OF_RANGE: (
            "A strength is above 0 and at most 1: 0.3 keeps most of the clip, 0.8 little; choose one, or leave it out."
        ),
        RefusalCode.EFFECT_MISSING: (
            "A guide needs an effect LoRA that follows it; add one to `loras` (`/loras` shows them), or leave the guide out."
        ),
        RefusalCode.ALREADY_UPSCALED: "This clip has been upscaled already, and once is all; choose the one it was made from.",
        RefusalCode.RESULT_GONE: "The clip itself is gone, so nothing can be made from it; press **Again** or use `/generate`.",
        RefusalCode.NOTHING_TO_ANIMATE: "No still of this training is left; use `/generate` with a picture as `image`.",
        RefusalCode.BLOCK_REFUSED: "Neither you nor the people who run this bot can be blocked; choose somebody else.",
        RefusalCode.NOT_BLOCKED: "This person is not blocked here; choose somebody who is.",
        RefusalCode.NOT_GRANTED: "There is no grant to take back; plans that were bought end where they were bought, ask there.",
        RefusalCode.ROLE_NEEDED: "This server lets people with certain roles use me only; ask somebody who manages it for one of them.",
        RefusalCode.NOT_ADMIN: "This is for people with the permission Manage Server; ask one of them.",
        RefusalCode.NOT_OPERATOR: "This is for the people who run this bot; ask one of them.",
        RefusalCode.JOB_UNKNOWN: "This job is not known any more; start a new one with `/generate` or `/train`.",
        RefusalCode.JOB_NOT_REPEATABLE: "Only clips can be made again; to train once more, use `/train`.",
        RefusalCode.BEING_FORGOTTEN: "You asked me to forget you and I am still at it; try again in a few minutes.",
        RefusalCode.TERMS_NEEDED: "Before your first clip or training, read what you agree to, press **I agree**, and try again.",
        RefusalCode.RULE_UNKNOWN: "This rule is gone; `/rules list` shows those that hold.",
        RefusalCode.REPORTED_ALREADY: "You have reported this already; wait, it is looked at within 48 hours.",
        RefusalCode.REPORT_UNKNOWN: "This report is settled; `/reports open` shows those that wait.",
        RefusalCode.CONSENT_NEEDED: (
            "The person you named has to agree before a training with their likeness starts; ask them to press **I agree** "
            "in the channel, then start again."
        ),
        RefusalCode.CONSENT_UNKNOWN: "This question is for somebody else, or it is settled; use `/privacy likeness` to see yours.",
        RefusalCode.NOT_SHAREABLE: "Only clips that are still there can be shared; make one with `/generate`.",
        RefusalCode.NOT_OWNER: "This belongs to somebody else; make your own with `/generate` or `/train`.",
        RefusalCode.NOT_IN_GUILD: "This works in a server only; use it in a channel there.",
        RefusalCode.QUEUE_UNAVAILABLE: (
            "The queue is out of reach right now, so nothing was started or charged; try again in a few minutes."
        ),
        RefusalCode.STORE_UNAVAILABLE: (
            "The file store is out of reach right now, so nothing was started or charged; try again in a few minutes."
        ),
    }
)
