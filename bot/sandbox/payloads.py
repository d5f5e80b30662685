"""World values as the JSON objects Discord sends: the keys discord.py needs, and those people read in logs."""

from __future__ import annotations

from typing import Any

from bot.sandbox.permissions import ALL_PERMISSIONS
from bot.sandbox.world import Attachment, Channel, ChannelType, Entitlement, Guild, Member, Message, MessageFlag, Role, Sku, User, World

Json = dict[str, Any]


def user_json(user: User) -> Json:
    """A user object."""
    return {
        "id": str(user.id),
        "username": user.name,
        "discriminator": "0",
        "global_name": None if user.bot else user.name.capitalize(),
        "avatar": None,
        "bot": user.bot,
        "public_flags": 0,
    }


def member_json(member: Member, world: World, guild: Guild, *, permissions: int | None = None) -> Json:
    """A guild member; `permissions` only inside interactions."""
    body: Json = {
        "user": user_json(member.user),
        "nick": None,
        "avatar": None,
        "roles": [str(role) for role in member.role_ids],
        "joined_at": world.clock.iso(),
        "premium_since": None,
        "deaf": False,
        "mute": False,
        "flags": 0,
        "pending": False,
    }
    if permissions is not None:
        body["permissions"] = str(permissions)
    del guild
    return body


def role_json(role: Role) -> Json:
    """A role object."""
    return {
        "id": str(role.id),
        "name": role.name,
        "color": 0,
        "colors": {"primary_color": 0, "secondary_color": None, "tertiary_color": None},
        "hoist": False,
        "position": 0 if role.name == "@everyone" else 1,
        "permissions": str(int(role.permissions)),
        "managed": False,
        "mentionable": False,
        "flags": 0,
    }


def channel_json(channel: Channel, world: World) -> Json:
    """A channel, thread or DM object."""
    body: Json = {"id": str(channel.id), "type": int(channel.type), "name": channel.name, "flags": 0}
    if channel.type is ChannelType.DM:
        recipient = channel.recipient
        return body | {"name": None, "last_message_id": None, "recipients": [user_json(recipient)] if recipient else []}
    body |= {"guild_id": str(channel.guild_id), "nsfw": channel.nsfw, "rate_limit_per_user": 0, "last_message_id": None}
    if channel.type is ChannelType.PUBLIC_THREAD:
        return body | {
            "parent_id": str(channel.parent_id),
            "owner_id": str(world.bot.id),
            "message_count": 0,
            "member_count": 1,
            "thread_metadata": {
                "archived": channel.archived,
                "locked": channel.locked,
                "auto_archive_duration": 1440,
                "archive_timestamp": world.clock.iso(),
            },
        }
    return body | {
        "position": 0,
        "topic": None,
        "parent_id": None,
        "permission_overwrites": [
            {"id": str(o.target_id), "type": 0 if o.for_role else 1, "allow": str(int(o.allow)), "deny": str(int(o.deny))}
            for o in channel.overwrites
        ],
    }


def guild_json(guild: Guild, world: World) -> Json:
    """GUILD_CREATE and GET /guilds: the guild with its channels, and the bot as the only cached member."""
    channels = [c for c in world.channels.values() if c.guild_id == guild.id and not c.deleted]
    return {
        "id": str(guild.id),
        "name": guild.name,
        "icon": None,
        "owner_id": str(guild.owner_id),
        "afk_timeout": 300,
        "verification_level": 0,
        "default_message_notifications": 1,
        "explicit_content_filter": 0,
        "roles": [role_json(role) for role in guild.roles.values()],
        "emojis": [],
        "stickers": [],
        "features": [],
        "mfa_level": 0,
        "system_channel_flags": 0,
        "premium_tier": guild.premium_tier,
        "premium_subscription_count": 0,
        "preferred_locale": guild.locale,
        "nsfw_level": 0,
        "premium_progress_bar_enabled": False,
        "joined_at": world.clock.iso(),
        "large": False,
        "unavailable": False,
        "member_count": len(guild.members),
        "voice_states": [],
        "members": [member_json(guild.members[world.bot.id], world, guild)] if world.bot.id in guild.members else [],
        "channels": [channel_json(c, world) for c in channels if c.type is ChannelType.TEXT],
        "threads": [channel_json(c, world) for c in channels if c.type is ChannelType.PUBLIC_THREAD],
        "presences": [],
        "stage_instances": [],
        "guild_scheduled_events": [],
        "soundboard_sounds": [],
    }


def attachment_json(attachment: Attachment) -> Json:
    """An attachment object."""
    body: Json = {
        "id": str(attachment.id),
        "filename": attachment.filename,
        "size": attachment.size,
        "url": attachment.url,
        "proxy_url": attachment.url.replace("cdn.discordapp.com", "media.discordapp.net"),
        "content_type": attachment.content_type,
    }
    if attachment.ephemeral:
        body["ephemeral"] = True
    if attachment.description is not None:
        body["description"] = attachment.description
    if attachment.width is not None:
        body |= {"width": attachment.width, "height": attachment.height}
    return body


def message_json(message: Message, world: World) -> Json:
    """A message object. Files of a Components V2 message are found in its components, not in `attachments`."""
    channel = world.channels[message.channel_id]
    body: Json = {
        "id": str(message.id),
        "channel_id": str(message.channel_id),
        "type": 20 if message.interaction_id is not None else 19 if message.reference_id is not None else 0,
        "author": user_json(message.author),
        "content": message.content,
        "timestamp": world.clock.iso(message.created_at),
        "edited_timestamp": None if message.edited_at is None else world.clock.iso(message.edited_at),
        "tts": False,
        "mention_everyone": False,
        "mentions": [user_json(world.users[i]) for i in message.pinged if i in world.users],
        "mention_roles": [],
        "attachments": [] if message.v2 else [attachment_json(a) for a in message.attachments],
        "embeds": message.embeds,
        "components": message.components,
        "pinned": False,
        "flags": int(message.flags),
    }
    if message.author.bot:
        body |= {"application_id": str(world.application_id), "webhook_id": str(world.application_id)}
    if message.interaction_id is None:
        body.pop("webhook_id", None)
    if message.nonce is not None:
        body["nonce"] = message.nonce
    if message.reference_id is not None:
        body["message_reference"] = {"type": 0, "channel_id": str(message.channel_id), "message_id": str(message.reference_id)}
    if channel.guild_id is not None and MessageFlag.EPHEMERAL not in message.flags:
        body["guild_id"] = str(channel.guild_id)
    return body


def application_json(world: World) -> Json:
    """The application object of GET /oauth2/applications/@me."""
    owner = next(iter(world.guilds.values())).owner_id if world.guilds else world.bot.id
    return {
        "id": str(world.application_id),
        "name": world.bot.name,
        "icon": None,
        "description": "",
        "bot_public": True,
        "bot_require_code_grant": False,
        "owner": user_json(world.users[owner]),
        "verify_key": "0" * 64,
        "flags": 0,
        "team": None,
        "approximate_guild_count": len(world.guilds),
    }


def entitlement_json(entitlement: Entitlement, world: World) -> Json:
    """An entitlement object; type 8 is an application subscription."""
    return {
        "id": str(entitlement.id),
        "sku_id": str(entitlement.sku_id),
        "application_id": str(world.application_id),
        "user_id": None if entitlement.user_id is None else str(entitlement.user_id),
        "guild_id": None if entitlement.guild_id is None else str(entitlement.guild_id),
        "type": 8,
        "deleted": entitlement.deleted,
        "consumed": entitlement.consumed,
        "starts_at": world.clock.iso(entitlement.starts_at),
        "ends_at": None if entitlement.ends_at is None else world.clock.iso(entitlement.ends_at),
    }


def sku_json(sku: Sku, world: World) -> Json:
    """A SKU object."""
    return {
        "id": str(sku.id),
        "type": sku.type,
        "application_id": str(world.application_id),
        "name": sku.name,
        "slug": sku.name.lower().replace(" ", "-"),
        "flags": 1 << 2 | 1 << 8,
    }


def app_permissions(world: World, channel: Channel) -> int:
    """What the bot may do in `channel`, as interactions say it."""
    return int(ALL_PERMISSIONS if channel.guild_id is None else world.permissions(channel, world.bot))
