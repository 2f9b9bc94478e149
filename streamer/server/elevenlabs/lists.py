"""The lists that ElevenLabs' clients read: voices, models, and what their user may do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final

from streamer.server.elevenlabs.requested import read_query
from streamer.server.http import Exchange, Request, json_answer
from streamer.server.routing import Handle
from streamer.server.service import Service
from streamer.server.voice_choice import find_voice
from streamer.voices.presets import language_of

Describe = Callable[[Service, Request], Any]
"""Makes the JSON of an answer."""
_NO_LIMIT: Final = 2**31 - 1
"""What is told of allowances that the server does not count."""
_LANGUAGE_NAMES: Final = {
    "de": "German",
    "en": "English",
    "es": "Spanish",
    "fr": "French",
    "hi": "Hindi",
    "it": "Italian",
    "ja": "Japanese",
    "ko": "Korean",
    "pl": "Polish",
    "pt": "Portuguese",
    "ru": "Russian",
    "tr": "Turkish",
    "zh": "Chinese",
}


def list_handle(service: Service, describe: Describe) -> Handle:
    """Return what answers a route with what `describe` tells."""

    async def handle(exchange: Exchange) -> None:
        await exchange.answer(json_answer(HTTPStatus.OK, describe(service, exchange.request)))

    return handle


def voices(service: Service, _request: Request) -> Mapping[str, Any]:
    """Describe `GET /v1/voices`."""
    return {"voices": [_voice(service, name) for name in service.synthesizer.info.voices]}


def found_voices(service: Service, request: Request) -> Mapping[str, Any]:
    """Describe `GET /v2/voices`, in one page: the voices whose name contains what is searched for."""
    wanted = read_query(request.query).get("search", "").lower()
    found = [name for name in service.synthesizer.info.voices if wanted in name.lower()]
    return {
        "voices": [_voice(service, name) for name in found],
        "has_more": False,
        "total_count": len(found),
        "next_page_token": None,
    }


def one_voice(service: Service, request: Request) -> Mapping[str, Any]:
    """Describe `GET /v1/voices/{voice}`. Raises `VoiceNotFoundError`."""
    info, speech = service.synthesizer.info, service.config.speech
    return _voice(service, find_voice(request.parameters["voice"], info, speech, "voice_id"))


def voice_settings(service: Service, request: Request) -> Mapping[str, Any]:
    """Describe `GET /v1/voices/{voice}/settings`: the one setting that is followed. Raises `VoiceNotFoundError`."""
    one_voice(service, request)
    return default_settings(service, request)


def default_settings(_service: Service, _request: Request) -> Mapping[str, Any]:
    """Describe `GET /v1/voices/settings/default`, which are those of each voice."""
    return {
        "stability": None,
        "similarity_boost": None,
        "style": None,
        "use_speaker_boost": None,
        "speed": 1.0,
    }


def models(service: Service, _request: Request) -> list[Mapping[str, Any]]:
    """Describe `GET /v1/models`: the server has one, which also stands in for each of ElevenLabs'."""
    info = service.synthesizer.info
    max_chars = service.config.limits.max_buffered_chars
    languages = [{"language_id": code, "name": _LANGUAGE_NAMES.get(code, code)} for code in info.languages]
    return [
        {
            "model_id": info.name,
            "name": info.name,
            "description": info.note,
            "can_be_finetuned": False,
            "can_do_text_to_speech": True,
            "can_do_voice_conversion": False,
            "can_use_style": False,
            "can_use_speaker_boost": False,
            "serves_pro_voices": False,
            "token_cost_factor": 1.0,
            "requires_alpha_access": False,
            "max_characters_request_free_user": max_chars,
            "max_characters_request_subscribed_user": max_chars,
            "maximum_text_length_per_request": max_chars,
            "languages": languages,
        }
    ]


def subscription(_service: Service, _request: Request) -> Mapping[str, Any]:
    """Describe `GET /v1/user/subscription`: nothing is counted, and no voice can be added."""
    return {
        "tier": "self_hosted",
        "character_count": 0,
        "character_limit": _NO_LIMIT,
        "max_credit_limit_extension": "unlimited",
        "can_extend_character_limit": False,
        "allowed_to_extend_character_limit": False,
        "voice_slots_used": 0,
        "professional_voice_slots_used": 0,
        "professional_voice_slots_used_in_workspace": 0,
        "voice_limit": 0,
        "voice_add_edit_counter": 0,
        "professional_voice_limit": 0,
        "can_extend_voice_limit": False,
        "can_use_instant_voice_cloning": False,
        "can_use_professional_voice_cloning": False,
        "current_overage": {"amount": "0", "currency": "usd"},
        "status": "active",
        "next_character_count_reset_unix": None,
        "open_invoices": [],
        "has_open_invoices": False,
    }


def user(service: Service, request: Request) -> Mapping[str, Any]:
    """Describe `GET /v1/user`: the key, if keys are needed, is all that is known of a user."""
    name = request.key_name or "anyone"
    return {
        "user_id": name,
        "workspace_id": "streamer",
        "subscription": subscription(service, request),
        "is_new_user": False,
        "can_use_delayed_payment_methods": False,
        "is_onboarding_completed": True,
        "is_onboarding_checklist_completed": True,
        "created_at": 0,
        "seat_type": "workspace_member",
    }


def _voice(service: Service, name: str) -> Mapping[str, Any]:
    language = language_of(name, service.synthesizer.info.languages)
    return {
        "voice_id": name,
        "name": name,
        "category": "premade",
        "labels": {"language": language} if language else {},
        "description": None,
        "preview_url": None,
        "samples": None,
        "settings": None,
        "available_for_tiers": [],
        "high_quality_base_model_ids": [service.synthesizer.info.name],
        "is_owner": False,
        "is_legacy": False,
    }
