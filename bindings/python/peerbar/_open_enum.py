# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""Enumerations of the library, which a newer library may extend."""
from __future__ import annotations

import enum


class OpenEnum(enum.IntEnum):
    """An enumeration that also takes numbers that have no name here: a member OTHER_n stands for such a number."""

    @classmethod
    def _missing_(cls, value: object) -> OpenEnum | None:
        if not isinstance(value, int):
            return None
        member = int.__new__(cls, value)
        member._name_ = f'OTHER_{value:#x}'
        member._value_ = value
        return member

    def __str__(self) -> str:
        return self.name
