"""Deeds that ask something: refused, they come back as a page with the question, the problem and what was typed.

A dialog on a page and the page that `answered` shows are the same question; so a dialog needs no way back into its page,
and everything works without scripts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from core.errors import BreakwaterError, Denied, Missing, Unauthenticated
from frontend.forms import PortalForm


@dataclass(frozen=True)
class Question:
    """What a person is asked before a deed: its consequence in words, and the button that says yes."""

    title: str | Promise
    button: str | Promise
    text: str | Promise = ""
    danger: bool = False


class ReasonForm(PortalForm):
    """Why somebody does it."""

    reason = forms.CharField(
        label=_("Reason"),
        max_length=500,
        widget=forms.Textarea(attrs={"rows": 2}),
        error_messages={"required": _("Say why.")},
    )


class WordForm(ReasonForm):
    """Why somebody does it, if they want to say so."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["reason"].required = False


def answered(
    request: HttpRequest,
    form: PortalForm,
    question: Question,
    *,
    act: Callable[..., Any],
    back: str,
    done: str = "",
) -> HttpResponseBase:
    """Do the deed with what was typed, say `done` and go `back`; or show the question again with what is wrong.

    `act` gets the clean values as keywords; when it returns an answer of its own, that is given. What may not be seen or
    done at all (404, 403) is left to the error pages.
    """
    if not form.is_valid():
        return asked_again(request, form, question, back=back)
    try:
        made = act(**form.cleaned_data)
    except (Missing, Denied, Unauthenticated):
        raise
    except BreakwaterError as error:
        form.blame(error)
        return asked_again(request, form, question, back=back, status=error.status)
    if done:
        messages.success(request, done)
    return made if isinstance(made, HttpResponseBase) else redirect(back)


def asked_again(
    request: HttpRequest, form: PortalForm, question: Question, *, back: str, status: int = 400
) -> HttpResponse:
    """Return the question as a page, with the problems of the form and what was typed."""
    context = {"form": form, "question": question, "back": back}
    return render(request, "frontend/asked_again.html", context, status=status)
